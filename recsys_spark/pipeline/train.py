"""Wiring of train: the training rows to the factors of both sides."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from math import floor, isfinite, log10
from typing import NamedTuple

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.als.execution_plan import Plan, Sizes
from recsys_spark.als.factors import Factors, SideFactors, factors_frame, read_factors
from recsys_spark.als.memory_estimate import needs, within_limits
from recsys_spark.als.trainer import Factorization, Loss, fit_factors
from recsys_spark.config import Config
from recsys_spark.kernels.als.spec import SIDES, WalsSpec
from recsys_spark.kernels.als.value_use import ValueRange, describe_values
from recsys_spark.kernels.als.weights import ratio_warning, weight_ratio
from recsys_spark.kernels.precompile import is_training_compiled
from recsys_spark.pipeline.checkpoints import Checkpoints
from recsys_spark.pipeline.context import Run, Summary, Workspace
from recsys_spark.pipeline.early_stopping import EarlyStopping, early_stopping
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.pipeline.fitted_tables import Scores
from recsys_spark.pipeline.folded_models import model_specs
from recsys_spark.pipeline.models import ModelInputs, fit_models, fitted_settings
from recsys_spark.pipeline.validation import ValidationTables
from recsys_spark.runtime.log import Log
from recsys_spark.schema import FACTORS

# Factors to begin with, and the run they come from.
Start = tuple[Factorization | None, str | None]

_FILE = 64 * 2**20  # bytes of factors in a file of their table, about


@dataclass(frozen=True)
class Inputs:
    """What training starts from.

    validation: its rows to learn from, and those that early stopping looks at. models: what the
    other models are fitted to. values: of the interactions, as ingest has counted them. newest: the
    factors of the last model and its run, where training begins with them; None: it does not.
    """

    validation: ValidationTables
    models: ModelInputs
    values: ValueRange
    newest: tuple[Scores, str] | None


class Job(NamedTuple):
    """A fit that is wanted.

    stopping: what may end it early. prefix: of the names of metrics in tracking.
    """

    rows: DataFrame
    spec: WalsSpec
    stopping: EarlyStopping
    prefix: str = ""


def train(run: Run) -> Summary:
    """Run the sweeps and write both factor tables."""
    config, work, inputs = run.config, run.workspace, _read(run)
    spec, preset, rows = config.objective.spec(), config.objective.preset, inputs.validation.train
    job = Job(rows, spec, early_stopping(config.train, inputs.validation, work))
    work.tracker.params({"preset": preset, **asdict(spec)})
    values = describe_values(spec, inputs.values)
    work.log.info(values)
    checkpoints = Checkpoints(run)
    trained, summary = fit(job, config, work, checkpoints, partial(_start, inputs, work.log))
    for name, frame in factor_tables(trained, work.spark):
        run.write(frame, name, FACTORS)
    checkpoints.clear()
    for table in fit_models(inputs.models, rows):
        run.write(*table)
    return {
        "preset": preset,
        "values": values,
        "models": fitted_settings(config),
        "model_specs": model_specs(config),
        **summary,
    }


def _read(run: Run) -> Inputs:
    config, work = run.config, run.workspace
    rows, held_out = run.read("train"), run.read("validation")
    user_ids, item_ids = (run.read(f"{side}_ids") for side in SIDES)
    least, count = config.evaluate.min_relevant_value, run.rows("validation")
    low, high = run.noted("ingest", "values")
    # Not the newest model's refit: that knows the rows that are held out.
    made = run.runs.newest("train") if config.train.warm_start else None
    return Inputs(
        ValidationTables(rows, held_out, count, least, user_ids, item_ids),
        ModelInputs(config, work, run.find("items"), user_ids, item_ids),
        ValueRange(low, high, run.noted("ingest", "interactions")),
        (run.factors(made.run_id), made.run_id) if made else None,
    )


def _start(inputs: Inputs, log: Log) -> Start:
    """The factors of the newest model, if that is wanted."""
    if inputs.newest is None:
        return None, None
    sides, run_id = inputs.newest
    log.info(f"beginning with the factors of run {run_id}")
    users, items = (read_factors(side) for side in sides)
    return Factorization(users, items), run_id


def fit(
    job: Job,
    config: Config,
    work: Workspace,
    checkpoints: Checkpoints,
    start: Callable[[], Start],
) -> tuple[Factorization, Summary]:
    """Train the weighted ALS; and what the record of the stage says of it.

    An interrupted attempt of the stage goes on where it was. start: what else to begin with, and
    the version it comes from.
    """
    begin, origin = _resumed(checkpoints, job.stopping, work.log) or start()
    _announce_compilation(work)
    work.log.progress("reading the training rows")
    # A killed attempt may have left its blocks there: the fingerprint says whether they serve.
    plan = within_limits(make_plan(config, work.training_blocks()), work.spark.sparkContext)
    watch = _Watch(job, config, work, checkpoints, plan)
    trained = fit_factors(job.rows, job.spec, plan, watch, begin, watch.begin)
    sweeps, first, last = len(trained.losses), trained.losses[0].total, trained.losses[-1].total
    if trained.stopped:
        work.log.warning(f"training ended after {sweeps} sweeps: {trained.stopped}")
    _warn_of_equal_items(trained.item, work.log)
    losses = f"loss {readable(first)} to {readable(last)}"
    work.log.info(f"rank {job.spec.rank}, {sweeps} iterations, {losses}")
    return trained, {
        "spec": asdict(job.spec),
        "weight_ratio": watch.ratio,
        "losses": [watch.row(loss) for loss in trained.losses],
        "started_from": origin,
        "stopped": trained.stopped,
        "solver": asdict(trained.solver),
        "rows": watch.pairs,
        "users": watch.users,
        "items": watch.items,
    }


def _announce_compilation(work: Workspace) -> None:
    """Say what the first training waits for; executors of a cluster keep code themselves."""
    if str(work.spark.sparkContext.master).startswith("local") and not is_training_compiled():
        work.log.info(
            "compiling kernels, once for an installation: about a minute (`recsys-spark warm` does "
            "so ahead of a run)"
        )


def _warn_of_equal_items(items: SideFactors, log: Log) -> None:
    """Warn where lists cannot be ranked; of factors on the driver alone, as those of small data."""
    if isinstance(items, Factors) and len(items.ids) > 1 and not np.ptp(items.vectors, 0).any():
        log.warning(
            "every item has the same factors, so that a user's scores are all equal: the same "
            "users interacted with every item, or too little differs between them"
        )


def factor_tables(trained: Factorization, spark: SparkSession) -> Iterator[tuple[str, DataFrame]]:
    """The tables of both sides: name, and columns id and factors, by id."""
    for side in SIDES:
        factors = getattr(trained, side)
        frame = factors_frame(spark, factors, FACTORS["id"].dataType).toDF(*FACTORS.names)
        if isinstance(factors, Factors):  # from the driver they come by id
            ordered = frame.coalesce(1 + factors.vectors.nbytes // _FILE)
        else:
            ordered = frame.repartitionByRange("id").sortWithinPartitions("id")
        yield f"{side}_factors", ordered


def _resumed(checkpoints: Checkpoints, stopping: EarlyStopping, log: Log) -> Start | None:
    """The state of an interrupted attempt."""
    kept = checkpoints.load()
    if kept is None:
        return None
    state, stopping.values = kept
    log.info(f"going on after iteration {len(state.losses)}, from the last checkpoint")
    return state, checkpoints.run.run_id


def readable(loss: float) -> str:
    """A loss with five significant digits, or one decimal place."""
    if not isfinite(loss) or not loss:
        return str(loss)
    size = floor(log10(abs(loss)))
    return f"{loss:.4e}" if size < -4 else f"{loss:,.{max(1, 4 - size)}f}"


@dataclass
class _Watch:
    """What happens after every sweep: it is logged, tracked and kept, and may be the last."""

    job: Job
    config: Config
    work: Workspace
    checkpoints: Checkpoints
    plan: Plan
    seconds: dict[int, float] = field(default_factory=dict)
    clock: float = field(default_factory=time.monotonic)
    kept: float = field(default_factory=time.monotonic)
    ratio: float | None = None
    pairs: int = 0
    users: int = 0
    items: int = 0

    def begin(self, sizes: Sizes) -> None:
        """Say what is coming, and warn where positive and negative weight are far out of balance.

        The ratio stays None where values are the targets, or where nothing pulls to 0.
        """
        log, self.pairs = self.work.log, sizes.pairs
        self.users, self.items = sizes.users, sizes.items
        log.info(
            f"{sizes.pairs:,} pairs of {sizes.users:,} users and {sizes.items:,} items: "
            f"{needs(sizes, self.job.spec, self.plan)}"
        )
        log.progress("building blocks")
        if self.job.spec.explicit:
            return
        cells = float(sizes.users) * sizes.items
        ratio = weight_ratio(sizes.sum_a, sizes.sum_b, cells, self.job.spec)
        warning = ratio_warning(ratio, self.job.spec)
        if warning is not None and not self.job.prefix:  # else the training has said it
            log.warning(warning)
        if isfinite(ratio):
            self.ratio = ratio
            self.work.tracker.metrics({f"{self.job.prefix}weight_ratio": ratio})

    def __call__(self, state: Factorization) -> str | None:
        loss = state.losses[-1]
        now = time.monotonic()
        if state.reason and not self.seconds:
            note = self.work.log.info if state.solver.method == "cg" else self.work.log.debug
            note(f"solver.method: auto chose {state.reason}")
        self.seconds[loss.iteration], self.clock = round(now - self.clock, 3), now
        row = self.row(loss)
        prefix = f"{self.job.prefix}loss."
        terms = {f"{prefix}{name}": value for name, value in row.items() if name != "iteration"}
        self.work.tracker.metrics(terms, step=loss.iteration)
        self.work.log.progress(
            f"iteration {loss.iteration} of {self.job.spec.iterations}: "
            f"loss {readable(loss.total)}, {row['seconds']:.1f} s",
            **row,
        )
        reason = self.job.stopping(state)
        if reason is None and loss.iteration < self.job.spec.iterations:
            self._keep(state)
        return reason

    def _keep(self, state: Factorization) -> None:
        """Checkpoint, if the last one is old enough; never a sweep that training ends with."""
        every = self.config.solver.checkpoint_seconds
        if every is not None and time.monotonic() - self.kept >= every:
            self.checkpoints.save(state, self.job.stopping.values)
            self.kept = time.monotonic()

    def row(self, loss: Loss) -> dict[str, float]:
        """A sweep as the record and the log show it; 0 seconds where another attempt did it."""
        return {
            "iteration": loss.iteration,
            "total": loss.total,
            "observed": loss.observed,
            "unobserved": loss.unobserved,
            "regularization": loss.regularization,
            "seconds": self.seconds.get(loss.iteration, 0.0),
        }
