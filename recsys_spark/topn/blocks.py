"""From Arrow batches of users to the blocks that scorers take."""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from recsys_spark.arrow import list_bounds, list_parts
from recsys_spark.kernels.ragged import Ragged, no_entries
from recsys_spark.kernels.topn.inner_product import LOW, Single
from recsys_spark.lookup import Lookup
from recsys_spark.topn.scorers import Block, NearestUsers

HISTORY, WEIGHTS = "history", "history_weights"
_NEAREST = "nearest_users_of_"
_SEGMENT = "segment_of_"


def factor_column(model: str) -> str:
    """The column with the user factors of a model."""
    return f"factors_of_{model}"


def nearest_column(model: str) -> str:
    """The column with the nearest users of a model: structs of their index and similarity."""
    return f"{_NEAREST}{model}"


def nearest_columns(columns: Iterable[str]) -> list[str]:
    """Those of the columns that have nearest users."""
    return [name for name in columns if name.startswith(_NEAREST)]


def segment_column(model: str) -> str:
    """The column with the users' segments that a model counts within; null: none."""
    return f"{_SEGMENT}{model}"


def segment_columns(columns: Iterable[str]) -> list[str]:
    """Those of the columns that have segments."""
    return [name for name in columns if name.startswith(_SEGMENT)]


def read_block(batch: pa.RecordBatch, lookup: Lookup, ranks: Mapping[str, int]) -> Block:
    """The users of a batch.

    batch: columns seen and history (internal ids; null: none), optionally history_weights (parallel
    to history; by default 1), for each model of `ranks` its user factors, null where it has none,
    and any `nearest_column` and `segment_column`. lookup: of the catalog's internal ids; others are
    left out.
    """
    factors = {name: _vectors(batch, name, rank) for name, rank in ranks.items()}
    seen = _positions(batch.column("seen"), lookup).without(-1)
    history, weights = _history(batch, lookup)
    nearest = {
        name.removeprefix(_NEAREST): _nearest(batch.column(name))
        for name in nearest_columns(batch.schema.names)
    }
    segments = {
        name.removeprefix(_SEGMENT): np.array(batch.column(name).to_pylist(), dtype=object)
        for name in segment_columns(batch.schema.names)
    }
    return Block(
        batch.num_rows, factors, history, weights, seen, nearest=nearest, segments=segments
    )


def _positions(column: pa.ListArray, lookup: Lookup) -> Ragged:
    indptr, ids = list_parts(column, np.int64)
    return Ragged(indptr, lookup.positions(ids))


def _vectors(batch: pa.RecordBatch, model: str, rank: int) -> Single:
    """The factors of a model, (users, rank); NaN for users without."""
    column = batch.column(factor_column(model))
    out = np.full((batch.num_rows, rank), np.nan, dtype=np.float32)
    own = np.diff(list_bounds(column)) > 0
    out[own] = list_parts(column, np.float32)[1].reshape(-1, rank)
    return out


def _nearest(column: pa.ListArray) -> NearestUsers:
    entries = column.flatten()
    users, similarities = (np.array(entries.field(at)) for at in range(2))
    return NearestUsers(Ragged(list_bounds(column), users), similarities)


def _history(batch: pa.RecordBatch, lookup: Lookup) -> tuple[Ragged, Single]:
    """Known items by ascending position, so that sums over them have one order."""
    if HISTORY not in batch.schema.names:
        return no_entries(batch.num_rows), np.zeros(0, dtype=np.float32)
    every = _positions(batch.column(HISTORY), lookup)
    own = every.without(-1)
    cells = np.repeat(np.arange(batch.num_rows), np.diff(own.indptr)) << 32 | own.positions
    if WEIGHTS not in batch.schema.names:
        cells.sort()  # numbers by themselves are sorted fastest
        ordered = (cells & LOW).astype(np.int32)
        return Ragged(own.indptr, ordered), np.ones(len(ordered), dtype=np.float32)
    weights = list_parts(batch.column(WEIGHTS), np.float32)[1][every.positions >= 0]
    order = np.argsort(cells)  # a user has no item twice
    return Ragged(own.indptr, own.positions[order]), weights[order]


def block_columns(ranks: Mapping[str, int], columns: Iterable[str]) -> list[str]:
    """Those of the columns that `read_block` takes beside seen."""
    names = list(columns)
    taken = {HISTORY, WEIGHTS, *map(factor_column, ranks)}
    taken |= {*nearest_columns(names), *segment_columns(names)}
    return [name for name in names if name in taken]
