"""What each user's list is like: novel, popular, diverse, like the user's history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Broadcast
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType
from scipy.stats import rankdata

from recsys_spark.arrow import list_bounds, list_matrix
from recsys_spark.evaluation.inputs import (
    listed_as,
    ranked_lists,
    refuse_repeated,
    require_same,
)
from recsys_spark.evaluation.ranking import by_cutoff
from recsys_spark.kernels.metrics.beyond_accuracy import LIST_METRICS, Traits, list_metrics
from recsys_spark.kernels.ragged import Coded
from recsys_spark.kernels.topn.inner_product import Single
from recsys_spark.schema import per_user, require
from recsys_spark.workers import map_in_arrow

_Whole = npt.NDArray[np.int64]


def measure_lists(
    recommendations: DataFrame,
    items: DataFrame,
    k: Sequence[int],
    model: str | Sequence[str] = "model",
    split: str = "test",
    truth: DataFrame | None = None,
    history: DataFrame | None = None,
) -> DataFrame:
    """One row a list and cut-off, with a column a metric (docs/metrics.md), null where undefined.

    recommendations, model: as of `measure_ranking`. items: the catalogue, a row an item: item_id,
    users (share of the users who have it, in training), and optionally factors (array<float>) and
    attributes (array<string>, such as genres). It is sent to every worker whole, as the item
    factors are for recommending. truth, history: columns user_id and item_id, of the relevant
    items, for serendipity, and of what users had before, for miscalibration.

    Raises ContractError if a column is missing or of another type, or if an item is in the
    catalogue twice; ConfigError for a k below 1.
    """
    require(items, ["item_id", "users"], "items")
    lists = ranked_lists(recommendations, model)
    kind = listed_as(recommendations, items=items)
    lists = lists.withColumn("list", F.col("list").cast(ArrayType(kind)))
    for name, pairs in (("truth", truth), ("history", history)):
        if pairs is not None:
            require(pairs, ["user_id", "item_id"], name)
            require_same("user_id", recommendations=recommendations, **{name: pairs})
            require_same("item_id", items=items, **{name: pairs})
        lists = _with_items(lists, pairs, name, kind)
    typed = items.withColumn("item_id", F.col("item_id").cast(kind))
    catalogue = items.sparkSession.sparkContext.broadcast(_catalogue(typed))
    schema = per_user(recommendations.schema["user_id"].dataType, LIST_METRICS)
    return map_in_arrow(
        lists, by_cutoff(_metrics_of(catalogue), LIST_METRICS, schema, k, split), schema
    )


def _with_items(lists: DataFrame, pairs: DataFrame | None, name: str, kind: DataType) -> DataFrame:
    if pairs is None:
        return lists.withColumn(name, F.lit(None).cast(ArrayType(kind)))
    own = pairs.groupBy("user_id").agg(F.collect_set(F.col("item_id").cast(kind)).alias(name))
    return lists.join(own, "user_id", "left")


@dataclass(frozen=True)
class _Catalogue:
    ids: pa.Array
    traits: Traits


def _catalogue(items: DataFrame) -> _Catalogue:
    """The items on the driver, to be broadcast."""
    factors = _optional(items, "factors", "array<float>")
    attributes = F.array_distinct(_optional(items, "attributes", "array<string>"))
    users = F.col("users").cast("double").alias("users")
    columns = ("item_id", users, factors.alias("factors"), attributes.alias("attributes"))
    table = items.select(*columns).toArrow().sort_by("item_id").combine_chunks()
    refuse_repeated(table["item_id"], "items", "item")
    vectors = table["factors"].combine_chunks()
    width = int(pc.max(vectors.value_lengths()).as_py() or 1)
    traits = _traits(
        table["users"].to_numpy(), list_matrix(vectors, width), table["attributes"].combine_chunks()
    )
    return _Catalogue(table["item_id"].combine_chunks(), traits)


@dataclass(frozen=True)
class ItemTraits:
    """ids: (items,) of the catalog, ascending. traits: in their order."""

    ids: _Whole
    traits: Traits


def item_traits(
    ids: _Whole, users: npt.NDArray[np.float64], factors: Single, attributes: pa.ListArray
) -> ItemTraits:
    """Traits from arrays.

    Parameters
    ----------
    ids
        (items,) in any order.
    users
        (items,) share of the users who have each.
    factors
        (items, rank), rows of zeros for items without.
    attributes
        (items,) lists of names, each once in a list; null for items without.
    """
    order = np.argsort(ids)
    own = attributes.take(pa.array(order))
    return ItemTraits(ids[order], _traits(users[order], factors[order], own))


def _traits(share: npt.NDArray[np.float64], factors: Single, attributes: pa.ListArray) -> Traits:
    indptr, codes = _codes(attributes)
    popularity = rankdata(-share, method="average")
    known = np.log2(np.maximum(share, np.min(share, initial=1.0, where=share > 0)))
    return Traits(-known, popularity, _unit_vectors(factors), indptr, codes)


def _optional(items: DataFrame, name: str, kind: str) -> Column:
    return F.col(name) if name in items.columns else F.lit(None).cast(kind)


def _codes(attributes: pa.ListArray) -> tuple[_Whole, _Whole]:
    names = attributes.flatten().dictionary_encode().indices
    return list_bounds(attributes), names.to_numpy(zero_copy_only=False).astype(np.int64)


def _unit_vectors(factors: Single) -> npt.NDArray[np.float64]:
    vectors = factors.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.divide(vectors, length, out=vectors, where=length > 0)
    return vectors


def _metrics_of(
    catalogue: "Broadcast[_Catalogue]",
) -> Callable[[pa.RecordBatch, _Whole], npt.NDArray[np.float64]]:
    return lambda batch, ks: _batch_metrics(batch, catalogue.value, ks)


def _batch_metrics(
    batch: pa.RecordBatch, catalogue: _Catalogue, ks: _Whole
) -> npt.NDArray[np.float64]:
    lists, truth, history = (
        _positions(batch.column(name), catalogue) for name in ("list", "truth", "history")
    )
    hits = np.isin(_cells(*lists, catalogue), _cells(*truth, catalogue)) & (lists.codes >= 0)
    return list_metrics(lists, hits, _sorted(*history), catalogue.traits, ks)


def _positions(lists: pa.ListArray, catalogue: _Catalogue) -> Coded:
    """Bounds and the items' places in the catalogue, -1 of those outside it."""
    places = pc.index_in(lists.flatten(), catalogue.ids).fill_null(-1)
    return Coded(list_bounds(lists), places.to_numpy(zero_copy_only=False).astype(np.int64))


def _sorted(bounds: _Whole, positions: _Whole) -> Coded:
    """Each list in order, so that sums over it do not depend on how it was collected."""
    lists = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return Coded(bounds, positions[np.lexsort((positions, lists))])


def _cells(bounds: _Whole, positions: _Whole, catalogue: _Catalogue) -> _Whole:
    """One number for each user and item; items outside the catalogue have the same one."""
    users = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return users * (len(catalogue.ids) + 1) + positions
