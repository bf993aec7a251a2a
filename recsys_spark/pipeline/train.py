"""Wiring of train: the training rows to the factors of both sides."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from math import floor, isfinite, log10

from pyspark.sql import DataFrame

from recsys_spark.als.execution_plan import Plan, Sizes
from recsys_spark.als.factors import Factors, factors_frame, read_factors
from recsys_spark.als.memory_estimate import needs, within_limits
from recsys_spark.als.trainer import Factorization, Loss, fit_factors
from recsys_spark.kernels.als.spec import SIDES, WalsSpec, restored_spec
from recsys_spark.kernels.als.value_use import ValueRange, describe_values
from recsys_spark.kernels.als.weights import ratio_warning, weight_ratio
from recsys_spark.pipeline.checkpoints import Checkpoints
from recsys_spark.pipeline.context import Run, Summary
from recsys_spark.pipeline.early_stopping import EarlyStopping, early_stopping
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.pipeline.folded_models import model_specs
from recsys_spark.pipeline.models import fit_models
from recsys_spark.schema import FACTORS, RATINGS

# Factors to begin with, and the run they come from.
Start = tuple[Factorization | None, str | None]

_FILE = 64 * 2**20  # bytes of factors in a file of their table, about


def train(run: Run) -> Summary:
    """Run the sweeps and write both factor tables."""
    spec, stopping = run.config.objective.spec(), early_stopping(run)
    run.tracker.params({"preset": run.config.objective.preset, **asdict(spec)})
    values = _values(run, spec)
    run.log.info(values)
    fitted = fit(run, run.read("train"), spec, stopping, lambda: _warm_start(run))
    models = fit_models(run, run.read("train"))
    return {
        "preset": run.config.objective.preset,
        "values": values,
        "models": models,
        "model_specs": model_specs(run.config),
        **fitted,
    }


def fit(
    run: Run,
    rows: DataFrame,
    spec: WalsSpec,
    stopping: EarlyStopping,
    start: Callable[[], Start],
    version: str | None = None,
) -> Summary:
    """Train on these rows, and write the factors as this version; None: that of the run.

    An interrupted attempt of the stage goes on where it was. start: what else to begin with, and
    the version it comes from. stopping: what may end the training early.
    """
    checkpoints = Checkpoints(run)
    begin, origin = _resumed(run, checkpoints, stopping) or start()
    run.log.progress("reading the training rows")
    # A killed attempt may have left its blocks there: the fingerprint says whether they serve.
    plan = make_plan(run.config, run.scratch(f"training-{run.fingerprint}"))
    plan = within_limits(plan, run.spark.sparkContext)
    watch = _Watch(run, checkpoints, stopping, spec, plan, "" if version is None else "refit.")
    trained = fit_factors(rows, spec, plan, watch, begin, watch.begin)
    _write_factors(run, trained, version)
    checkpoints.clear()
    if trained.stopped:
        run.log.warning(f"training ended after {len(trained.losses)} sweeps: {trained.stopped}")
    first, last = trained.losses[0].total, trained.losses[-1].total
    losses = f"loss {readable(first)} to {readable(last)}"
    run.log.info(f"rank {spec.rank}, {len(trained.losses)} iterations, {losses}")
    return {
        "spec": asdict(spec),
        "weight_ratio": watch.ratio,
        "losses": [watch.row(loss) for loss in trained.losses],
        "started_from": origin,
        "stopped": trained.stopped,
        "solver": asdict(trained.solver),
        "rows": watch.pairs,
        "users": watch.users,
        "items": watch.items,
    }


def _values(run: Run, spec: WalsSpec) -> str:
    """What the objective does with the values, of which ingest has noted the range."""
    low, high = run.noted("ingest", "values")
    return describe_values(spec, ValueRange(low, high, run.noted("ingest", "interactions")))


def _write_factors(run: Run, trained: Factorization, version: str | None) -> None:
    for side in SIDES:
        factors = getattr(trained, side)
        frame = factors_frame(run.spark, factors, FACTORS["id"].dataType).toDF(*FACTORS.names)
        if isinstance(factors, Factors):  # from the driver they come by id
            ordered = frame.coalesce(1 + factors.vectors.nbytes // _FILE)
        else:
            ordered = frame.repartitionByRange("id").sortWithinPartitions("id")
        run.write(ordered, f"{side}_factors", FACTORS, version=version)


def trained_spec(run: Run) -> WalsSpec:
    """The objective of the model that the run builds on, whatever the configuration says now."""
    summary = run.upstream("train").summary
    return restored_spec(summary["spec"])


def training_rows(run: Run) -> DataFrame:
    """The rows that the model was trained on which the run builds on, by refit or by train."""
    if "refit" not in run.lineage:
        return run.read("train")
    made = run.upstream("refit").lineage["ingest"]
    return run.tables.read("interactions", made).select(*RATINGS.names)


def evaluated_factors(run: Run) -> tuple[DataFrame, DataFrame]:
    """Columns id, factors, of both sides, as trained without the rows that are held out."""
    users, items = (run.tables.read(f"{side}_factors", run.lineage["train"]) for side in SIDES)
    return users, items


def _resumed(run: Run, checkpoints: Checkpoints, stopping: EarlyStopping) -> Start | None:
    """The state of an interrupted attempt."""
    kept = checkpoints.load()
    if kept is None:
        return None
    state, stopping.values = kept
    run.log.info(f"going on after iteration {len(state.losses)}, from the last checkpoint")
    return state, run.run_id


def _warm_start(run: Run) -> Start:
    """The newest model, if that is wanted. Not its refit: that knows the rows that are held out."""
    newest = run.runs.newest("train") if run.config.train.warm_start else None
    if newest is None:
        return None, None
    run.log.info(f"beginning with the factors of run {newest.run_id}")
    sides = (run.tables.read(f"{side}_factors", newest.run_id) for side in SIDES)
    users, items = (read_factors(side) for side in sides)
    return Factorization(users, items), newest.run_id


def readable(loss: float) -> str:
    """A loss with five significant digits, or one decimal place."""
    if not isfinite(loss) or not loss:
        return str(loss)
    size = floor(log10(abs(loss)))
    return f"{loss:.4e}" if size < -4 else f"{loss:,.{max(1, 4 - size)}f}"


@dataclass
class _Watch:
    """What happens after every sweep: it is logged, tracked and kept, and may be the last.

    prefix: of the names of metrics in tracking.
    """

    run: Run
    checkpoints: Checkpoints
    stopping: EarlyStopping
    spec: WalsSpec
    plan: Plan
    prefix: str = ""
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
        log, self.pairs = self.run.log, sizes.pairs
        self.users, self.items = sizes.users, sizes.items
        log.info(
            f"{sizes.pairs:,} pairs of {sizes.users:,} users and {sizes.items:,} items: "
            f"{needs(sizes, self.spec, self.plan)}"
        )
        log.progress("building blocks")
        if self.spec.explicit:
            return
        cells = float(sizes.users) * sizes.items
        ratio = weight_ratio(sizes.sum_a, sizes.sum_b, cells, self.spec)
        warning = ratio_warning(ratio, self.spec)
        if warning is not None and not self.prefix:  # else the training has said it
            log.warning(warning)
        if isfinite(ratio):
            self.ratio = ratio
            self.run.tracker.metrics({f"{self.prefix}weight_ratio": ratio})

    def __call__(self, state: Factorization) -> str | None:
        loss = state.losses[-1]
        now = time.monotonic()
        if state.reason and not self.seconds:
            note = self.run.log.info if state.solver.method == "cg" else self.run.log.debug
            note(f"solver.method: auto chose {state.reason}")
        self.seconds[loss.iteration], self.clock = round(now - self.clock, 3), now
        row = self.row(loss)
        terms = {
            f"{self.prefix}loss.{name}": value for name, value in row.items() if name != "iteration"
        }
        self.run.tracker.metrics(terms, step=loss.iteration)
        self.run.log.progress(
            f"iteration {loss.iteration} of {self.spec.iterations}: loss {readable(loss.total)}, "
            f"{row['seconds']:.1f} s",
            **row,
        )
        reason = self.stopping(state)
        if reason is None and loss.iteration < self.spec.iterations:
            self._keep(state)
        return reason

    def _keep(self, state: Factorization) -> None:
        """Checkpoint, if the last one is old enough; never a sweep that training ends with."""
        every = self.run.config.solver.checkpoint_seconds
        if every is not None and time.monotonic() - self.kept >= every:
            self.checkpoints.save(state, self.stopping.values)
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
