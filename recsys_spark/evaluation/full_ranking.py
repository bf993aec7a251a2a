"""Metrics of the full ranking: the ranks of each user's relevant items among all items."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from recsys_spark.als.packed_interactions import Batches
from recsys_spark.arrow import arrow_schema, list_matrix, list_parts, make_batch
from recsys_spark.errors import ContractError
from recsys_spark.evaluation.inputs import refuse_repeated, require_whole
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS, rank_metrics
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.kernels.topn.tile import ItemFactors, padded_items
from recsys_spark.lookup import Lookup
from recsys_spark.schema import per_user, require
from recsys_spark.workers import map_in_arrow


def measure_full_ranking(
    truth: DataFrame,
    seen: DataFrame,
    scores: Mapping[str, tuple[DataFrame, DataFrame]],
    split: str = "test",
) -> DataFrame:
    """Metrics of the full ranking: AUC, partial AUC and percentile rank of the relevant items.

    To a user without factors, or whose factors are not finite, all items are equal; a relevant item
    without factors counts as the last.

    Parameters
    ----------
    truth : DataFrame
        Relevant items: columns user_id (any type), user and item (whole numbers, the ids of the
        factors).
    seen : DataFrame
        Columns user and item: pairs left out of the ranking, such as the training rows.
    scores : mapping of str to (DataFrame, DataFrame)
        By model, the factors of users and of items: columns id and factors, `array<float>` of one
        length. A score is the product of both vectors. Item factors are broadcast whole.
    split : str
        Name of the held-out rows, for the column split.

    Returns
    -------
    DataFrame
        One row a user of the truth and model: columns user_id, model, split, segment, k (null, for
        there is no cut-off), auc, partial_auc and percentile_rank.

    Raises
    ------
    ContractError
        If a column is missing or not of whole numbers, or if an item's factors are there twice or
        not finite.

    References
    ----------
    Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets" (2008),
    equation 8: percentile rank. AUC as scikit-learn's roc_auc_score.
    """
    require(truth, ["user_id", "user", "item"], "truth")
    require(seen, ["user", "item"], "seen")
    for name, frame in (("truth", truth), ("seen", seen)):
        require_whole(name, frame, "user", "item")
    relevant = truth.groupBy("user_id", "user").agg(F.collect_set("item").alias("truth"))
    left_out = seen.groupBy("user").agg(F.collect_set("item").alias("seen"))
    rows = relevant.join(left_out, "user", "left")
    for at, (name, (user_factors, item_factors)) in enumerate(scores.items()):
        for what, factors in (("user", user_factors), ("item", item_factors)):
            require_whole(f"the {what} factors of {name}", factors, factors.columns[0])
        rows = rows.join(user_factors.toDF("user", f"factors{at}"), "user", "left")
    ranked = {name: _ranked_items(factors, name) for name, (_, factors) in scores.items()}
    broadcast = truth.sparkSession.sparkContext.broadcast(ranked)
    schema = per_user(truth.schema["user_id"].dataType, RANK_METRICS)
    return map_in_arrow(rows.drop("user"), _measure(broadcast, schema, split), schema)


@dataclass(frozen=True)
class _Items:
    """lookup: of the items' ids. factors: in the order of the ids."""

    lookup: Lookup
    factors: ItemFactors
    rank: int

    def positions(self, lists: pa.ListArray) -> Ragged:
        """Where each item stands among all, -1 for an unknown one."""
        indptr, ids = list_parts(lists, np.int64)
        return Ragged(indptr, self.lookup.positions(ids))


def _ranked_items(item_factors: DataFrame, model: str) -> _Items:
    table = item_factors.toDF("id", "factors").toArrow().sort_by("id").combine_chunks()
    refuse_repeated(table["id"], f"The item factors of {model}", "item")
    vectors = table["factors"].combine_chunks()
    rank = len(vectors[0]) if len(vectors) else 1
    ids = table["id"].to_numpy().astype(np.int64)
    matrix = list_matrix(vectors, rank)
    if not np.isfinite(matrix).all():
        raise ContractError(
            f"Some item factors of {model} are NaN or infinite, so that no item has a rank: train "
            "again with a stronger regularization."
        )
    return _Items(Lookup(ids), padded_items(matrix), rank)


def _measure(
    ranked: "Broadcast[dict[str, _Items]]", schema: StructType, split: str
) -> Callable[[Batches], Batches]:
    target = arrow_schema(schema)

    def measure(batches: Batches) -> Batches:
        with single_threaded():
            for batch in batches:
                for at, (name, items) in enumerate(ranked.value.items()):
                    values = _batch_metrics(batch, f"factors{at}", items)
                    columns = _columns(batch.column("user_id"), values, name, split)
                    yield make_batch(target, columns)

    return measure


def _batch_metrics(batch: pa.RecordBatch, factors: str, items: _Items) -> npt.NDArray[np.float64]:
    users = list_matrix(batch.column(factors), items.rank)
    users[~np.isfinite(users).all(axis=1)] = 0.0
    candidates = np.ones(len(items.lookup.ids), dtype=bool)
    seen, truth = (items.positions(batch.column(name)) for name in ("seen", "truth"))
    return rank_metrics(users, items.factors, candidates, seen.without(-1), truth)


def _columns(
    users: pa.Array, values: npt.NDArray[np.float64], model: str, split: str
) -> dict[str, object]:
    same = {"model": model, "split": split, "segment": ALL}
    metrics = zip(RANK_METRICS, values.T, strict=True)
    return {
        "user_id": users,
        "k": pa.nulls(len(users)),
        **{name: pa.repeat(value, len(users)) for name, value in same.items()},
        **{name: pa.array(column, from_pandas=True) for name, column in metrics},
    }
