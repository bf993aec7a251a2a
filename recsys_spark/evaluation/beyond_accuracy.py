"""Properties of each user's list beyond accuracy: novelty, popularity, diversity, calibration."""

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
    """Beyond-accuracy metrics of each list: novelty, diversity, serendipity, calibration.

    Parameters
    ----------
    recommendations : DataFrame
        Columns user_id and recommendations, as of `measure_ranking`.
    items : DataFrame
        The item catalog, one row an item: item_id; users, the share (0 to 1) of the users who have
        it in training; optionally factors, `array<float>` of one length, for diversity; optionally
        attributes, `array<string>` such as genres, for attribute_diversity and miscalibration. It
        is broadcast whole, as the item factors are for recommending.
    k : sequence of int
        Cut-offs, 1 or more.
    model : str or sequence of str
        Name of the lists, or names, as of `measure_ranking`.
    split : str
        Name of the held-out rows, for the column split.
    truth : DataFrame, optional
        Relevant items, columns user_id and item_id, for serendipity.
    history : DataFrame, optional
        Training items, columns user_id and item_id, for miscalibration.

    Returns
    -------
    DataFrame
        One row a list and cut-off: columns user_id, model, split, segment, k, and a double for
        each metric, null where it has no value.

    Raises
    ------
    ContractError
        If a column is missing or of another type, or if an item is in the catalog twice.
    ConfigError
        For a k below 1.

    References
    ----------
    Vargas, Castells, "Rank and relevance in novelty and diversity metrics" (2011): novelty.
    Murakami et al., "Metrics for evaluating the serendipity of recommendation lists" (2008), as
    RecTools has it. Steck, "Calibrated recommendations" (2018): miscalibration.
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
    catalog = items.sparkSession.sparkContext.broadcast(_catalog(typed))
    schema = per_user(recommendations.schema["user_id"].dataType, LIST_METRICS)
    return map_in_arrow(
        lists, by_cutoff(_metrics_of(catalog), LIST_METRICS, schema, k, split), schema
    )


def _with_items(lists: DataFrame, pairs: DataFrame | None, name: str, kind: DataType) -> DataFrame:
    if pairs is None:
        return lists.withColumn(name, F.lit(None).cast(ArrayType(kind)))
    own = pairs.groupBy("user_id").agg(F.collect_set(F.col("item_id").cast(kind)).alias(name))
    return lists.join(own, "user_id", "left")


@dataclass(frozen=True)
class _Catalog:
    ids: pa.Array
    traits: Traits


def _catalog(items: DataFrame) -> _Catalog:
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
    return _Catalog(table["item_id"].combine_chunks(), traits)


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
    catalog: "Broadcast[_Catalog]",
) -> Callable[[pa.RecordBatch, _Whole], npt.NDArray[np.float64]]:
    return lambda batch, ks: _batch_metrics(batch, catalog.value, ks)


def _batch_metrics(batch: pa.RecordBatch, catalog: _Catalog, ks: _Whole) -> npt.NDArray[np.float64]:
    lists, truth, history = (
        _positions(batch.column(name), catalog) for name in ("list", "truth", "history")
    )
    hits = np.isin(_cells(*lists, catalog), _cells(*truth, catalog)) & (lists.codes >= 0)
    return list_metrics(lists, hits, _sorted(*history), catalog.traits, ks)


def _positions(lists: pa.ListArray, catalog: _Catalog) -> Coded:
    """Bounds and the items' positions in the catalog, -1 of those outside it."""
    ranks = pc.index_in(lists.flatten(), catalog.ids).fill_null(-1)
    return Coded(list_bounds(lists), ranks.to_numpy(zero_copy_only=False).astype(np.int64))


def _sorted(bounds: _Whole, positions: _Whole) -> Coded:
    """Each list in order, so that sums over it do not depend on how it was collected."""
    lists = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return Coded(bounds, positions[np.lexsort((positions, lists))])


def _cells(bounds: _Whole, positions: _Whole, catalog: _Catalog) -> _Whole:
    """One number for each user and item; items outside the catalog have the same one."""
    users = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return users * (len(catalog.ids) + 1) + positions
