"""Tables of fitted models as the arrays of scorers, over the positions of a catalog."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from recsys_spark.arrow import list_bounds, list_parts
from recsys_spark.kernels.topn.inner_product import Single
from recsys_spark.kernels.topn.sparse_scores import SparseRows
from recsys_spark.lookup import Lookup
from recsys_spark.topn.catalog import Mask


def sparse_rows(neighbours: DataFrame, lookup: Lookup) -> SparseRows:
    """An item-item matrix on the driver, to be broadcast: at most as many entries as the frame has.

    neighbours: columns item, neighbours (internal ids) and weights, a row an item. lookup: of the
    catalog's internal ids; rows and entries of other items are left out.
    """
    table = neighbours.select("item", "neighbours", "weights").toArrow().combine_chunks()
    lists = table["neighbours"].combine_chunks()
    at = lookup.positions(table["item"].to_numpy().astype(np.int64))
    rows = np.repeat(at, np.diff(list_bounds(lists)))
    columns = lookup.positions(list_parts(lists, np.int64)[1])
    weights = list_parts(table["weights"].combine_chunks(), np.float32)[1]
    return _ordered(rows, columns, weights, len(lookup.ids))


def interaction_rows(history: DataFrame, lookup: Lookup, valued: bool) -> SparseRows:
    """A user-item matrix on the driver, to be broadcast: at most as many entries as the frame.

    history: columns user, item and value, no pair twice; a user's row is that of the index.
    lookup: of the catalog's internal ids; other items are left out. valued: whether entries are
    values, or 1.
    """
    table = history.select("user", "item", *(["value"] if valued else [])).toArrow()
    users = table["user"].to_numpy().astype(np.int64)
    items = lookup.positions(table["item"].to_numpy().astype(np.int64))
    weights = table["value"].to_numpy() if valued else np.ones(len(users))
    return _ordered(users, items, weights.astype(np.float32), int(users.max(initial=-1)) + 1)


def _ordered(
    rows: npt.NDArray[np.integer], columns: npt.NDArray[np.int32], weights: Single, count: int
) -> SparseRows:
    """Entries of a matrix with so many rows, but for those whose row or column is -1."""
    inside = (rows >= 0) & (columns >= 0)
    rows, columns, weights = rows[inside], columns[inside], weights[inside]
    order = np.lexsort((columns, rows))
    bounds = np.searchsorted(rows[order], np.arange(count + 1)).astype(np.int64)
    return SparseRows(bounds, columns[order], weights[order])


def item_scores(scores: DataFrame, lookup: Lookup) -> tuple[Single, Mask]:
    """Scores, (items,), and which items have one, (items,).

    scores: columns item (internal id) and score, a row an item.
    """
    return _scores(scores.select("item", "score").toArrow(), lookup)


def segment_scores(scores: DataFrame, lookup: Lookup) -> dict[str | None, tuple[Single, Mask]]:
    """The same of each segment, by its name; None: of all users.

    scores: columns segment, item and score, a row an item and segment.
    """
    table = scores.select("segment", "item", "score").toArrow()
    names = table["segment"].unique().to_pylist()
    return {name: _scores(table.filter(_of(table["segment"], name)), lookup) for name in names}


def _of(names: pa.ChunkedArray, name: str | None) -> pa.ChunkedArray:
    return pc.is_null(names) if name is None else pc.equal(names, name)


def _scores(table: pa.Table, lookup: Lookup) -> tuple[Single, Mask]:
    at = lookup.positions(table["item"].to_numpy().astype(np.int64))
    values: npt.NDArray[np.float32] = np.zeros(len(lookup.ids), dtype=np.float32)
    scored = np.zeros(len(lookup.ids), dtype=bool)
    values[at[at >= 0]] = table["score"].to_numpy().astype(np.float32)[at >= 0]
    scored[at[at >= 0]] = True
    return values, scored
