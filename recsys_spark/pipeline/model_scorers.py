"""Wiring of scorers: the fitted models, and what is made of them, as what ranks the catalogue."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import WALS, Config, Model, Solver
from recsys_spark.errors import ConfigError
from recsys_spark.kernels.spec import SIDES
from recsys_spark.lookup import Lookup
from recsys_spark.neighbours.fit import fit_users
from recsys_spark.neighbours.spec import UserKnn
from recsys_spark.pipeline.folded_models import FOLDED, with_folded
from recsys_spark.pipeline.models import fit_content, settings_of, table_of
from recsys_spark.pipeline.plan import MB, factor_bytes
from recsys_spark.pipeline.run import Keep, Run, refit_version
from recsys_spark.runtime.log import Log
from recsys_spark.topn.catalog import Catalogue, with_factors
from recsys_spark.topn.explanations import Explainer
from recsys_spark.topn.matrices import (
    interaction_rows,
    item_scores,
    segment_scores,
    sparse_rows,
)
from recsys_spark.topn.scorers import (
    BlendScorer,
    FactorScorer,
    NeighbourScorer,
    Scorer,
    SegmentScorer,
    StaticScorer,
    UserNeighbourScorer,
)

_ENTRY_BYTES = 8  # a position and a weight
_SCORE_BYTES = 16  # a score, whether there is one, and the same in order
# From a column user to the users' nearest ones: see `topn.request.ByScorers`.
Nearest = Callable[[DataFrame], DataFrame]


@dataclass(frozen=True)
class FittedModels:
    """What a stage has fitted of models beside the main one, by the model's name.

    rows: of those with a row an item, see `fit_model`. factors: columns id and factors, of users
    and items, of those with factors of their own.
    """

    rows: Mapping[str, DataFrame]
    factors: Mapping[str, tuple[DataFrame, DataFrame]]


@dataclass(frozen=True)
class Basis:
    """What scorers are made of.

    fitted: the models and their parts. catalogue: with the item factors where the weighted ALS is
    among the models or a part of one. history: columns user, item, value: what users interacted
    with. explainer: of scores of the weighted ALS, where they are to be explained.
    """

    fitted: FittedModels
    catalogue: Catalogue
    history: DataFrame
    explainer: Explainer | None = None


def read_fitted(
    run: Run, names: Sequence[str], stage: str, ids: DataFrame | None = None
) -> FittedModels:
    """What a stage, train or refit, has fitted of these models and of their parts.

    ids: columns id, index, of items among which there are others than the stage knew, so that
    titles and genres are compared again. Raises ConfigError for models that the stage has not
    fitted with these settings.
    """
    models = {name: run.config.models[name] for name in run.config.alone(names) if name != WALS}
    made, settings = run.lineage[stage], run.upstream(stage).summary.get("models", {})
    version = refit_version(made) if stage == "refit" else made

    def read(name: str, table: str) -> DataFrame:
        return run.tables.read(table, version).where(F.col("model") == name)

    rows, factors, folded = {}, {}, run.find(FOLDED)
    for name, model in models.items():
        if not model.fitted:
            continue
        if settings.get(name) != settings_of(model):
            raise ConfigError(
                f"models.{name} is not what {stage} of run {made} has fitted: run "
                "`recsys-spark train` with these settings first, or `recsys-spark run`."
            )
        if model.by_factors:
            users, items = (read(name, f"model_{side}_factors") for side in SIDES)
            factors[name] = with_folded(users, folded, name), items.select("id", "factors")
        elif model.kind == "content" and ids is not None:
            found = fit_content(name, model, run.find("items"), ids)
            rows[name] = run.keep(found, f"content/{name}")
        else:
            rows[name] = read(name, table_of(model))
    return FittedModels(rows, factors)


def scorers(config: Config, names: Sequence[str], basis: Basis) -> dict[str, Scorer]:
    """The scorers of these models, by name.

    Raises ConfigError for what is too large for the workers.
    """
    alone = {own: _scorer(config, own, basis) for own in config.alone(names)}
    return {name: with_parts(config, name, alone) for name in names}


def with_parts(config: Config, name: str, alone: Mapping[str, Scorer]) -> Scorer:
    """The scorer of a model; blends and cosines are made of those of other models."""
    if name in alone:
        return alone[name]
    model = config.models[name]
    if model.kind == "cosine":
        return by_cosine(alone[model.of])
    parts = ((with_parts(config, part, alone), weight) for part, weight in model.parts.items())
    return BlendScorer(tuple(parts), model.method, model.constant)


def by_cosine(scorer: Scorer) -> FactorScorer:
    """The same factors, of length 1."""
    assert isinstance(scorer, FactorScorer), "the configuration refuses others"
    return replace(scorer, cosine=True)


def needs_factors(config: Config, names: Sequence[str]) -> bool:
    """Whether the weighted ALS is one of these models, or a part of one."""
    return WALS in config.alone(names)


def weighs_values(config: Config) -> bool:
    """Whether some model weighs histories by their values."""
    return any(model.weights == "values" for model in config.models.values())


def user_factors(
    config: Config, names: Sequence[str], fitted: FittedModels, main: DataFrame
) -> dict[str, DataFrame]:
    """The user factors that these models score by, by the model's name.

    main: those of the weighted ALS.
    """
    own = (name for name in config.alone(names) if name in config.with_factors())
    return {name: main if name == WALS else fitted.factors[name][0] for name in own}


def nearest_users(
    config: Config, names: Sequence[str], history: DataFrame, log: Log, keep: Keep
) -> dict[str, Nearest]:
    """Of those of these models that need the users' nearest ones; `keep` is called of these."""

    def find(name: str, spec: UserKnn, users: DataFrame) -> DataFrame:
        log.progress(f"comparing users for {name}")
        return keep(find_nearest(history, users, spec), f"nearest_users/{name}")

    specs = ((name, by_users(config, name)) for name in config.alone(names))
    return {name: partial(find, name, spec) for name, spec in specs if spec}


def by_users(config: Config, name: str) -> UserKnn | None:
    """The settings of a model that scores by similar users; None: another does not."""
    model = config.models.get(name)
    spec = model.spec() if model and model.kind == "user_knn" else None
    return spec if isinstance(spec, UserKnn) else None


def find_nearest(history: DataFrame, users: DataFrame, spec: UserKnn) -> DataFrame:
    """Columns user and nearest (structs of user and weight), a row for each user that has some.

    history: columns user, item, value. users: column user.
    """
    pairs = F.arrays_zip(F.col("neighbours").alias("user"), F.col("weights").alias("weight"))
    return fit_users(history, users, spec).select("user", pairs.alias("nearest"))


def user_scorer(
    solver: Solver, name: str, spec: UserKnn, history: DataFrame, lookup: Lookup
) -> UserNeighbourScorer:
    """The scorer of similar users. history: columns user, item, value.

    Raises ConfigError where the interactions are too many for the workers.
    """
    size = _ENTRY_BYTES * history.count()
    _require_room(solver, size, f"the interactions for {name}", "take kind: item_knn")
    weighted = spec.weights == "values"
    matrix = interaction_rows(history, lookup, weighted)
    return UserNeighbourScorer(matrix, weighted=weighted, model=name, width=len(lookup.ids))


def _scorer(config: Config, name: str, basis: Basis) -> Scorer:
    catalogue, fitted, solver = basis.catalogue, basis.fitted, config.solver
    if name == WALS:
        own = catalogue.factors, catalogue.scored
        return FactorScorer(WALS, *own, explainer=basis.explainer)
    if spec := by_users(config, name):
        return user_scorer(solver, name, spec, basis.history, catalogue.lookup)
    if name in fitted.factors:
        return factor_scorer(solver, name, fitted.factors[name][1], catalogue)
    model, rows = config.models[name], fitted.rows[name]
    if model.kind != "popularity":
        cure = f"lower models.{name}.neighbours"
        _require_room(solver, _entry_bytes(rows), f"the neighbours of {name}", cure)
    if model.segment_by is not None:
        return segment_scorer(solver, name, rows, catalogue.lookup)
    return scorer_of(model, rows, catalogue.lookup)


def factor_scorer(
    solver: Solver, name: str, items: DataFrame, catalogue: Catalogue
) -> FactorScorer:
    """The scorer of a model with factors of its own. items: columns id and factors.

    Raises ConfigError where they are too many for the workers.
    """
    _require_room(solver, factor_bytes(items), f"the item factors of {name}", "lower its rank")
    own = with_factors(catalogue, items)
    return FactorScorer(name, own.factors, own.scored)


def scorer_of(model: Model, fitted: DataFrame, lookup: Lookup) -> NeighbourScorer | StaticScorer:
    """The scorer of a model from what `fit_model` gives."""
    if model.kind == "popularity":
        return StaticScorer(*item_scores(fitted, lookup))
    return NeighbourScorer(
        sparse_rows(fitted, lookup), model.kind != "ease", model.weights == "values"
    )


def segment_scorer(solver: Solver, name: str, scores: DataFrame, lookup: Lookup) -> SegmentScorer:
    """The scorer of what is popular within segments. scores: columns segment, item and score.

    Raises ConfigError where the segments are too many for the workers.
    """
    size = _SCORE_BYTES * scores.select("segment").distinct().count() * len(lookup.ids)
    _require_room(solver, size, f"the scores of {name}", "take a column with fewer values")
    own = {key: StaticScorer(*found) for key, found in segment_scores(scores, lookup).items()}
    overall = own.pop(None)
    return SegmentScorer(name, overall, {key: own[key] for key in own if key is not None})


def _entry_bytes(rows: DataFrame) -> int:
    row = rows.agg(F.sum(F.size("neighbours"))).first()
    return _ENTRY_BYTES * int(row[0] or 0) if row else 0


def _require_room(solver: Solver, size: int, what: str, cure: str) -> None:
    """Raise ConfigError where what every worker needs exceeds the budget. size: in bytes."""
    if size > solver.broadcast_budget_mb * MB:
        raise ConfigError(
            f"Every worker needs {what}, {size / MB:,.0f} MB: {cure}, or raise "
            "solver.broadcast_budget_mb above that."
        )
