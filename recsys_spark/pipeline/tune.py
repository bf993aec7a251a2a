"""Wiring of tune: search settings for the best ranking of the validation rows.

What is measured is the model whose lists are delivered, the first of recommend.model.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property, reduce

from pydantic import ValidationError
from pyspark.sql import DataFrame

from recsys_spark import yaml12
from recsys_spark.als.factors import widened
from recsys_spark.als.trainer import Factorization, Prepared, prepared
from recsys_spark.config import VALIDATION_KEYS, WALS, Config, Scalar, validation_cure
from recsys_spark.errors import ConfigError, ContractError, SolveError
from recsys_spark.io.side_tables import read_user_attributes
from recsys_spark.kernels.als.spec import SIDES, WalsSpec
from recsys_spark.neighbours.spec import UserKnn
from recsys_spark.pipeline.context import Run, Workspace
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.pipeline.factor_models import fit_factor_model
from recsys_spark.pipeline.fitted_tables import Scores
from recsys_spark.pipeline.model_scorers import (
    by_users,
    find_nearest,
    fitted_model,
    mixtures,
)
from recsys_spark.pipeline.models import ModelInputs, fit_model
from recsys_spark.pipeline.run_choice import Options
from recsys_spark.pipeline.runner import run_stages
from recsys_spark.pipeline.search import Settings, Tried, best, proposals, require_method
from recsys_spark.pipeline.sessions import lazy_session
from recsys_spark.pipeline.side_tables import SideTables
from recsys_spark.pipeline.stage_graph import default_run_id
from recsys_spark.pipeline.user_segments import counted_columns, user_segments
from recsys_spark.pipeline.validation import Validation, ValidationTables
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.tracking import open_tracker
from recsys_spark.settings import explained
from recsys_spark.storage.runs import Runs
from recsys_spark.storage.store import open_store
from recsys_spark.storage.tables import Tables
from recsys_spark.topn.models import (
    Basis,
    FactorModel,
    NeighbourModel,
    UserNeighbourModel,
    with_parts,
)
from recsys_spark.topn.request import ByScorers
from recsys_spark.topn.scorers import Scorer


@dataclass(frozen=True)
class Trial:
    """settings: keys of the objective. value: of the metric. seconds: of training and measuring."""

    number: int
    settings: Settings
    value: float
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """trials: in order. best: path of the file with the best settings, relative to the root."""

    run_id: str
    trials: list[Trial]
    best: str


def tune(config: Config, options: Options, log: Log) -> Tuned:
    """Ingest and split once, then train and measure one set of settings after the other.

    Trials that the run has made before are not made again. Raises ConfigError for a split without
    validation rows.
    """
    _refuse_early(config)
    with lazy_session(config, log, options.debug) as spark:
        run_id = options.run_id or _default_run_id(config, options)
        named = Options(run_id, debug=options.debug)
        parts = run_stages(config, ("ingest", "split"), named, log, spark)
        store = open_store(config.paths.root, spark)
        runs, tables = Runs(store), Tables(store, spark)
        lineage = dict(parts.records["split"].lineage)
        tracker = open_tracker(config.tracking, config.paths.root, run_id, log)
        run = Run(config, run_id, spark, tables, runs, log, tracker, lineage)
        try:
            with log.bound(stage="tune"), _Bench(config, run.workspace, _read(run)) as bench:
                trials = list(_trials(run, bench))
                return Tuned(run_id, trials, _write_best(config, runs, run_id, trials))
        finally:
            run.drop_scratch()


def _refuse_early(config: Config) -> None:
    """Raise ConfigError for what the configuration lacks."""
    if (cure := validation_cure(config.split)) is not None:
        raise ConfigError(f"tune measures on validation rows, and {cure}.")
    require_method(config.tune)


@dataclass(frozen=True)
class _Inputs:
    """validation: rows to learn from and to measure on. models: what models are fitted to."""

    validation: ValidationTables
    models: ModelInputs


def _read(run: Run) -> _Inputs:
    config, count = run.config, run.rows("validation")
    if not count:
        raise ContractError(
            "tune measures on validation rows and the split has none: it has too few rows for its "
            f"shares; raise {VALIDATION_KEYS[config.split.method]}."
        )
    train, rows = run.read("train"), run.read("validation")
    least = config.evaluate.min_relevant_value
    ids = run.read("user_ids"), run.read("item_ids")
    models = ModelInputs(config, run.workspace, run.find("items"), *ids)
    return _Inputs(ValidationTables(train, rows, count, least, *ids), models)


def _default_run_id(config: Config, options: Options) -> str:
    today = options.logical_date or datetime.now(UTC).date()
    return f"{default_run_id(config, today)}-tune-{config.digest('tune')}"


def _trials(run: Run, bench: "_Bench") -> Iterator[Trial]:
    """Each trial once it is done and kept."""
    config, started = run.config, time.monotonic()
    tried: list[Tried] = []
    parts = config.alone(config.recommend.chain[:1])
    for number, settings in enumerate(proposals(config, parts, tried), start=1):
        trial = _kept(run.runs, run.run_id, number, settings)
        if trial is None:
            minutes = (time.monotonic() - started) / 60
            if tried and config.tune.minutes is not None and minutes >= config.tune.minutes:
                run.log.info(f"stopped after {minutes:.1f} minutes, {number - 1} trials")
                return
            trial = _perform(bench, number, settings)
            text = json.dumps(asdict(trial), indent=2)
            run.runs.store.replace(_path(run.runs, run.run_id, number), text)
            _track(config, run.run_id, trial, run.log)
        tried.append((settings, trial.value))
        yield trial


def _path(runs: Runs, run_id: str, number: int) -> str:
    return runs.path(run_id, f"trials/{number:04}.json")


def _kept(runs: Runs, run_id: str, number: int, settings: Settings) -> Trial | None:
    """The trial as an earlier attempt made it, if it tried the same."""
    text = runs.store.read(_path(runs, run_id, number))
    trial = Trial(**json.loads(text)) if text else None
    return trial if trial and trial.settings == settings else None


def _perform(bench: "_Bench", number: int, settings: Settings) -> Trial:
    config, log, started = bench.config, bench.work.log, time.monotonic()
    described = ", ".join(f"{key} {value}" for key, value in settings.items())
    log.progress(f"trial {number}: {described}")
    value = _value(bench, number, with_settings(config, settings))
    trial = Trial(number, settings, value, round(time.monotonic() - started, 3))
    name = f"{config.tune.metric}@{config.tune.k}"
    log.info(f"trial {number}: {described}: {name} {value:.4f}, {trial.seconds:.1f} s")
    return trial


def _value(bench: "_Bench", number: int, config: Config) -> float:
    """The metric; 0 for settings that cannot be trained, so that the others are still tried."""
    try:
        return bench.measure(config)
    except SolveError as error:
        bench.work.log.warning(f"trial {number} counts 0: {error}")
        return 0.0


def _track(config: Config, run_id: str, trial: Trial, log: Log) -> None:
    """A child of the run in tracking."""
    name = f"{run_id}-{trial.number:04}"
    child = open_tracker(config.tracking, config.paths.root, name, log, run_id)
    objective = with_settings(config, trial.settings).objective
    child.params({"preset": objective.preset, **asdict(objective.spec())})
    metric = f"validation.{config.tune.metric}@{config.tune.k}"
    child.metrics({metric: trial.value, "seconds": trial.seconds})
    child.finish("FINISHED")


def with_settings(config: Config, settings: Mapping[str, Scalar]) -> Config:
    """The configuration with some keys changed: those of the objective, and of models in full.

    Raises ConfigError if they do not go together.
    """
    content = config.model_dump(exclude_unset=True)
    for key, value in settings.items():
        *above, name = key.split(".") if "." in key else ("objective", key)
        reduce(lambda section, part: section.setdefault(part, {}), above, content)[name] = value
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        text = explained(error, content)
        raise ConfigError(f"tune.space does not fit the configuration: {text}") from None


def _write_best(config: Config, runs: Runs, run_id: str, trials: list[Trial]) -> str:
    """The objective and the models of the best trial, as a configuration that `run` takes."""
    settings = best([(trial.settings, trial.value) for trial in trials])
    changed = with_settings(config, settings)
    content = {"objective": changed.objective.model_dump(mode="json", exclude_defaults=True)}
    if changed.models:
        models = changed.model_dump(mode="json", exclude_unset=True)["models"]
        content |= {"models": models, "recommend": {"model": changed.recommend.model}}
    path = runs.path(run_id, "best.yaml")
    runs.store.replace(path, yaml12.dump(content))
    return path


class _Bench:
    """What the last trials were measured by, kept for the next ones as far as it serves them.

    These are the training blocks, the factors, and the matrices of neighbour models.
    """

    def __init__(self, config: Config, work: Workspace, inputs: _Inputs) -> None:
        self.config, self.work, self.inputs = config, work, inputs
        self._train, self._held = inputs.validation.train, ExitStack()
        self._data: Prepared | None = None
        self._last: tuple[WalsSpec, Factorization] | None = None
        self._matrices: dict[str, Scorer] = {}
        self._columns: dict[str, DataFrame] = {}
        self._others: dict[str, tuple[str, Scores]] = {}
        self._neighbours: dict[UserKnn, DataFrame] = {}

    def __enter__(self) -> "_Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @cached_property
    def validation(self) -> Validation:
        """On which all trials are measured; not prepared where every trial was made before."""
        return Validation(self.inputs.validation, self.work, self.config.tune.users)

    def measure(self, config: Config) -> float:
        """The metric of the first of the models that are delivered."""
        name, tune = config.recommend.chain[0], config.tune
        parts = config.alone([name])
        state = self.fit(config.objective.spec()) if WALS in parts else None
        if name == WALS and state is not None:
            return self.validation.metric(state, tune.metric, tune.k)
        factors = {WALS: self.validation.factors(state)} if state is not None else {}
        for part in set(parts) & set(config.with_factors()) - {WALS}:
            factors[part] = self._factors(config, part)
        alone = {part: self._scorer(config, part, factors) for part in parts}
        ranked = ByScorers(
            ((name, with_parts(mixtures(config.models), name, alone)),),
            {model: users for model, (users, _) in factors.items()},
            self.validation.history,
            {part: self._nearest(spec) for part, spec in by_users(config.parts_of([name])).items()},
            self._segments(config, name),
        )
        return self.validation.metric_of(ranked, tune.metric, tune.k)

    def _scorer(
        self, config: Config, part: str, factors: Mapping[str, tuple[DataFrame, DataFrame]]
    ) -> Scorer:
        budget = self.config.solver.broadcast_budget_mb
        basis = Basis(self.validation.catalog, self._train, budget)
        if part in factors:
            return FactorModel(*factors[part]).scorer(part, basis)
        model = config.models[part]
        if model.kind == "user_knn":
            return UserNeighbourModel(model.weights == "values").scorer(part, basis)
        key = f"{part}: {model!r}"
        if key not in self._matrices:
            fitted = fitted_model(model, fit_model(self.inputs.models, part, model, basis.history))
            if isinstance(fitted, NeighbourModel):
                scorer: Scorer = fitted.over(basis.catalog.lookup)
            else:
                scorer = fitted.scorer(part, basis)
            self._matrices = {key: scorer, **self._matrices}
        return self._matrices[key]

    def _segments(self, config: Config, name: str) -> dict[str, DataFrame]:
        """Of the parts of a model that count within segments; each column is read once."""
        columns = counted_columns(config.parts_of([name]))
        known = {"user_id": self.inputs.models.user_ids}
        tables = SideTables(self.work.spark, self.work.log, known)
        for column in set(columns.values()) - self._columns.keys():
            attributes = read_user_attributes(tables.spark, config.evaluate.users)
            found = user_segments(tables, attributes, column)
            self._columns[column] = self.work.keep(found, f"segments/{len(self._columns)}")
        return {part: self._columns[column] for part, column in columns.items()}

    def _factors(self, config: Config, part: str) -> Scores:
        """The factors of another factor model, trained again where its settings changed."""
        model, objective = config.models[part], config.objective
        key = repr((model, objective if model.kind == "mllib" else config.objective_of(part)))
        if self._others.get(part, ("", None))[0] != key:
            fitted = fit_factor_model(self.work, config, part, self._train)
            self._others[part] = key, fitted
        return self._others[part][1]

    def _nearest(self, spec: UserKnn) -> Callable[[DataFrame], DataFrame]:
        """The nearest users of the validation users, found once."""
        if spec not in self._neighbours:
            found = find_nearest(self._train, self.validation.users, spec)
            name = f"nearest_users/{len(self._neighbours)}"
            self._neighbours[spec] = self.work.keep(found, name)
        return lambda _: self._neighbours[spec]

    def fit(self, spec: WalsSpec) -> Factorization:
        """Train the objective, beginning with the last trial's factors where that is wanted."""
        if self._last is not None and self._last[0] == spec:
            return self._last[1]
        if self._data is None or not self._data.serves(spec):
            self._held.close()
            name = hashlib.sha256(repr(spec).encode()).hexdigest()[:16]
            plan = make_plan(self.config, self.work.scratch(f"training-{name}"))
            self._data = self._held.enter_context(prepared(self._train, spec, plan))
        state = self._data.fit(spec, start=self._start(spec))
        self._last = spec, state
        return state

    def _start(self, spec: WalsSpec) -> Factorization | None:
        if not self.config.tune.warm_start or self._last is None:
            return None
        before, state = self._last
        if before.rank > spec.rank or before.biases != spec.biases:
            return None
        users, items = (widened(side, getattr(state, side).arrays(), spec) for side in SIDES)
        return Factorization(users, items)
