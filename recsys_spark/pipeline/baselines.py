"""What is measured on the held-out rows: the model, the baselines and further models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.baselines.constant_scores import popularity_scores, random_scores, recent
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.evaluation.model_lists import Draw
from recsys_spark.evaluation.segments import count_rows
from recsys_spark.kernels.topn.random_order import begin, shuffle
from recsys_spark.neighbours.fit import fit_items, multiplications
from recsys_spark.neighbours.spec import ItemKnn, UserKnn
from recsys_spark.pipeline.evaluation_inputs import EvaluationInputs
from recsys_spark.pipeline.factor_models import kept_mllib
from recsys_spark.pipeline.fitted_tables import Scores
from recsys_spark.pipeline.model_scorers import find_nearest, models_of, nearest_users
from recsys_spark.topn.catalog import Catalog, with_factors
from recsys_spark.topn.matrices import sparse_rows
from recsys_spark.topn.models import Basis, UserNeighbourModel, scorers
from recsys_spark.topn.scorers import FactorScorer, NeighbourScorer, Scorer
from recsys_spark.topn.static_scorers import RandomScorer, StaticScorer

MODEL = "model"
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MeasuredModel:
    """A recommender that is measured.

    scorer: ranks the catalog; it may need what models have that are measured, too. scores:
    factors of users and items, columns id and factors, of those whose scores are their products.
    drawn: user factors that are a function of the user's index. nearest: columns user and nearest,
    of those that score by similar users.
    """

    scorer: Scorer
    scores: Scores | None = None
    drawn: Mapping[str, Draw] = field(default_factory=dict)
    nearest: DataFrame | None = None


def measured_models(inputs: EvaluationInputs) -> dict[str, MeasuredModel]:
    """All by name: the weighted ALS, the other models, and the baselines.

    A baseline that cannot be is left out.
    """
    found = {MODEL: _by_factors(MODEL, inputs.model_catalog, inputs.fitted.scores)}
    found |= _models(inputs)
    for name in inputs.config.evaluate.baselines:
        inputs.work.log.progress(f"preparing {name}")
        one = _BASELINES[name](inputs, name)
        if one is not None:
            found[name] = one
    return found


def _models(inputs: EvaluationInputs) -> dict[str, MeasuredModel]:
    """Those of the configuration, as they were fitted to the training rows."""
    config, work = inputs.config, inputs.work
    names, history = tuple(config.models), inputs.history
    parts = config.parts_of(names)
    models = models_of(config, parts, inputs.fitted)
    basis = Basis(inputs.model_catalog, history, config.solver.broadcast_budget_mb)
    found = scorers(models, names, basis)
    scores = {name: (own.users, own.items) for name, own in models.factors.items()}
    nearest = nearest_users(parts, history, work.log, work.keep)
    users = {name: find(inputs.users) for name, find in nearest.items()}
    return {
        name: MeasuredModel(own, scores.get(name), nearest=users.get(name))
        for name, own in found.items()
    }


def _by_factors(name: str, own: Catalog, scores: Scores) -> MeasuredModel:
    """own: the catalog with the factors of items of scores."""
    if not np.isfinite(own.factors).all():
        raise ContractError(
            f"Some item factors of {name} are NaN or infinite, so that no item has a rank: train "
            "again with a stronger regularization."
        )
    return MeasuredModel(FactorScorer(name, own.factors, own.scored), scores=scores)


def _by_counts(inputs: EvaluationInputs, counts: Whole) -> MeasuredModel:
    """counts: (items,), 0 for items that are not listed."""
    table = pa.table({"item": inputs.catalog.index, "rows": counts}).filter(pa.array(counts > 0))
    items = inputs.work.spark.createDataFrame(table)
    scorer = StaticScorer(counts.astype(np.float32), counts > 0)
    return MeasuredModel(scorer, scores=popularity_scores(inputs.users, items))


def _popularity(inputs: EvaluationInputs, name: str) -> MeasuredModel:
    return _by_counts(inputs, inputs.counts)


def _recent(inputs: EvaluationInputs, name: str) -> MeasuredModel | None:
    rows = recent(inputs.train, inputs.config.evaluate.recent_days)
    if rows is None:
        inputs.work.log.info("recent_popularity is left out: the training rows have no time")
        return None
    table = count_rows(rows, "item").toArrow()
    counts = np.zeros(len(inputs.catalog.index), dtype=np.int64)
    at = inputs.catalog.lookup.positions(table["item"].to_numpy().astype(np.int64))
    counts[at[at >= 0]] = table["rows"].to_numpy()[at >= 0]
    return _by_counts(inputs, counts)


def _random(inputs: EvaluationInputs, name: str) -> MeasuredModel:
    seed, index = inputs.config.split.seed, inputs.catalog.index
    scorer = RandomScorer(name, shuffle(seed, index))
    scores = random_scores(inputs.users, inputs.item_counts, seed)  # of a few candidates
    return MeasuredModel(scorer, scores=scores, drawn={name: partial(begin, seed, len(index))})


def _item_knn(inputs: EvaluationInputs, name: str) -> MeasuredModel | None:
    if not _affordable(inputs, "item", name):
        return None
    spec = ItemKnn(**inputs.config.evaluate.item_knn.model_dump())
    matrix = sparse_rows(fit_items(inputs.history, spec), inputs.catalog.lookup)
    return MeasuredModel(NeighbourScorer(matrix))


def _user_knn(inputs: EvaluationInputs, name: str) -> MeasuredModel | None:
    if not _affordable(inputs, "user", name):
        return None
    work, history = inputs.work, inputs.history
    spec = UserKnn(**inputs.config.evaluate.user_knn.model_dump())
    try:
        basis = Basis(inputs.catalog, history, inputs.config.solver.broadcast_budget_mb)
        scorer = UserNeighbourModel(spec.weights == "values").scorer(name, basis)
    except ConfigError as error:
        work.log.warning(f"{name} is left out: {error}")
        return None
    nearest = work.keep(find_nearest(history, inputs.users, spec), f"nearest_users/{name}")
    return MeasuredModel(scorer, nearest=nearest)


def _affordable(inputs: EvaluationInputs, side: str, name: str) -> bool:
    limit = inputs.config.evaluate.max_pair_products
    users = inputs.users if side == "user" else None
    needed = multiplications(inputs.history, side, users)
    if needed > limit:
        inputs.work.log.warning(
            f"{name} is left out: it needs {needed:,} multiplications, more than "
            f"evaluate.max_pair_products, {limit:,}"
        )
    return needed <= limit


def _mllib(inputs: EvaluationInputs, name: str) -> MeasuredModel:
    config = inputs.config.evaluate.mllib
    scores = kept_mllib(inputs.work, name, inputs.train, config, inputs.spec)
    return _by_factors(name, with_factors(inputs.catalog, scores[1]), scores)


_BASELINES: dict[str, Callable[[EvaluationInputs, str], MeasuredModel | None]] = {
    "popularity": _popularity,
    "recent_popularity": _recent,
    "random": _random,
    "item_knn": _item_knn,
    "user_knn": _user_knn,
    "mllib": _mllib,
}
