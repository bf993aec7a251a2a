"""Wiring of scorers: the fitted models, and what is made of them, as what ranks the catalogue."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import WALS, Config, Model
from recsys_spark.errors import ConfigError
from recsys_spark.kernels.spec import SIDES
from recsys_spark.lookup import Lookup
from recsys_spark.neighbours.fit import fit_users
from recsys_spark.neighbours.spec import UserKnn
from recsys_spark.pipeline.beside import MB, factor_bytes
from recsys_spark.pipeline.models import fit_content, settings_of, table_of
from recsys_spark.pipeline.run import Run, refit_version
from recsys_spark.topn.catalog import Catalogue, with_factors
from recsys_spark.topn.explanations import Explainer
from recsys_spark.topn.matrices import interaction_rows, item_scores, sparse_rows
from recsys_spark.topn.scorers import (
    BlendScorer,
    FactorScorer,
    NeighbourScorer,
    Scorer,
    StaticScorer,
    UserNeighbourScorer,
)

_ENTRY_BYTES = 8  # a position and a weight


@dataclass(frozen=True)
class Basis:
    """What scorers are made of.

    stage: that has fitted the models, train or refit. catalogue: with the item factors where the
    weighted ALS is among the models or a part of one. history: columns user, item, value: what
    users interacted with. explainer: of scores of the weighted ALS, where they are to be explained.
    ids: columns id, index, of items among which there are others than the stage knew, so that
    titles and genres are compared again.
    """

    stage: str
    catalogue: Catalogue
    history: DataFrame
    explainer: Explainer | None = None
    ids: DataFrame | None = None


def scorers(run: Run, names: Sequence[str], basis: Basis) -> dict[str, Scorer]:
    """The scorers of these models, by name.

    Raises ConfigError for models that the stage has not fitted with these settings.
    """
    alone = {own: _scorer(run, own, basis) for own in run.config.alone(names)}
    return {name: with_parts(run.config, name, alone) for name in names}


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
    run: Run, names: Sequence[str], stage: str, main: DataFrame
) -> dict[str, DataFrame]:
    """The user factors that these models score by, as fitted by a stage, by the model's name.

    main: those of the weighted ALS.
    """
    own = (name for name in run.config.alone(names) if name in run.config.with_factors())
    return {name: main if name == WALS else model_factors(run, name, stage)[0] for name in own}


def model_factors(run: Run, name: str, stage: str) -> tuple[DataFrame, DataFrame]:
    """Columns id and factors, of users and items, of a model of kind wals or mllib."""
    users, items = (_fitted(run, name, f"model_{side}_factors", stage) for side in SIDES)
    return users.select("id", "factors"), items.select("id", "factors")


def _fitted(run: Run, name: str, table: str, stage: str) -> DataFrame:
    """The rows of a model in a table of fitted ones."""
    made = run.lineage[stage]
    version = refit_version(made) if stage == "refit" else made
    return run.tables.read(table, version).where(F.col("model") == name)


def nearest_users(
    run: Run, names: Sequence[str], history: DataFrame
) -> dict[str, Callable[[DataFrame], DataFrame]]:
    """For those of these models that need it: from a column user to the users' nearest ones.

    See `topn.recommend.RankedBy`. They are kept in the run's scratch folder.
    """
    specs = ((name, by_users(run.config, name)) for name in run.config.alone(names))
    return {name: partial(_kept_nearest, run, name, history, spec) for name, spec in specs if spec}


def by_users(config: Config, name: str) -> UserKnn | None:
    """The settings of a model that scores by similar users; None: another does not."""
    model = config.models.get(name)
    spec = model.spec() if model and model.kind == "user_knn" else None
    return spec if isinstance(spec, UserKnn) else None


def _kept_nearest(
    run: Run, name: str, history: DataFrame, spec: UserKnn, users: DataFrame
) -> DataFrame:
    run.log.progress(f"comparing users for {name}")
    return run.keep(find_nearest(history, users, spec), f"nearest_users/{name}")


def find_nearest(history: DataFrame, users: DataFrame, spec: UserKnn) -> DataFrame:
    """Columns user and nearest (structs of user and weight), a row for each user that has some.

    history: columns user, item, value. users: column user.
    """
    pairs = F.arrays_zip(F.col("neighbours").alias("user"), F.col("weights").alias("weight"))
    return fit_users(history, users, spec).select("user", pairs.alias("nearest"))


def user_scorer(
    run: Run, name: str, spec: UserKnn, history: DataFrame, lookup: Lookup
) -> UserNeighbourScorer:
    """The scorer of similar users. history: columns user, item, value.

    Raises ConfigError where the interactions are too many for the workers.
    """
    size = _ENTRY_BYTES * history.count()
    _require_room(run, size, f"the interactions for {name}", "take kind: item_knn")
    weighted = spec.weights == "values"
    matrix = interaction_rows(history, lookup, weighted)
    return UserNeighbourScorer(matrix, weighted=weighted, model=name, width=len(lookup.ids))


def _scorer(run: Run, name: str, basis: Basis) -> Scorer:
    catalogue, stage = basis.catalogue, basis.stage
    if name == WALS:
        own = catalogue.factors, catalogue.scored
        return FactorScorer(WALS, *own, explainer=basis.explainer)
    if spec := by_users(run.config, name):
        return user_scorer(run, name, spec, basis.history, catalogue.lookup)
    _require_fitted(run, name, stage)
    model = run.config.models[name]
    if model.by_factors:
        return factor_scorer(run, name, model_factors(run, name, stage)[1], catalogue)
    rows = _fitted(run, name, table_of(model), stage)
    if model.kind == "content" and basis.ids is not None:
        rows = run.keep(fit_content(run, name, basis.ids), f"content/{name}")
    if model.kind != "popularity":
        cure = f"lower models.{name}.neighbours"
        _require_room(run, _entry_bytes(rows), f"the neighbours of {name}", cure)
    return scorer_of(model, rows, catalogue.lookup)


def _require_fitted(run: Run, name: str, stage: str) -> None:
    """Raise ConfigError for a model that the stage has not fitted with these settings."""
    found = run.upstream(stage).summary.get("models", {}).get(name)
    if found != settings_of(run.config.models[name]):
        raise ConfigError(
            f"models.{name} is not what {stage} of run {run.lineage[stage]} has fitted: run "
            "`recsys-spark train` with these settings first, or `recsys-spark run`."
        )


def factor_scorer(run: Run, name: str, items: DataFrame, catalogue: Catalogue) -> FactorScorer:
    """The scorer of a model with factors of its own. items: columns id and factors.

    Raises ConfigError where they are too many for the workers.
    """
    _require_room(run, factor_bytes(items), f"the item factors of {name}", "lower its rank")
    own = with_factors(catalogue, items)
    return FactorScorer(name, own.factors, own.scored)


def scorer_of(model: Model, fitted: DataFrame, lookup: Lookup) -> NeighbourScorer | StaticScorer:
    """The scorer of a model from what `fit_model` gives."""
    if model.kind == "popularity":
        return StaticScorer(*item_scores(fitted, lookup))
    return NeighbourScorer(
        sparse_rows(fitted, lookup), model.kind != "ease", model.weights == "values"
    )


def _entry_bytes(rows: DataFrame) -> int:
    row = rows.agg(F.sum(F.size("neighbours"))).first()
    return _ENTRY_BYTES * int(row[0] or 0) if row else 0


def _require_room(run: Run, size: int, what: str, cure: str) -> None:
    """Raise ConfigError where what every worker needs exceeds the budget. size: in bytes."""
    if size > run.config.solver.broadcast_budget_mb * MB:
        raise ConfigError(
            f"Every worker needs {what}, {size / MB:,.0f} MB: {cure}, or raise "
            "solver.broadcast_budget_mb above that."
        )
