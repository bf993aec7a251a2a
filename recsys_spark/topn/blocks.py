"""From Arrow batches of users to the blocks that scorers take."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from recsys_spark.arrow import list_bounds, list_parts
from recsys_spark.kernels.ragged import Ragged, no_entries
from recsys_spark.kernels.topn import Single
from recsys_spark.lookup import Lookup
from recsys_spark.topn.scorers import Block

HISTORY, WEIGHTS = "history", "history_weights"


def factor_column(model: str) -> str:
    """The column with the user factors of a model."""
    return f"factors_of_{model}"


def read_block(batch: pa.RecordBatch, lookup: Lookup, ranks: Mapping[str, int]) -> Block:
    """The users of a batch.

    batch: columns seen and history (internal ids; null: none), perhaps history_weights (parallel to
    history; by default 1), and for each model of `ranks` its user factors, null where it has none.
    lookup: of the catalog's internal ids; others are left out.
    """
    factors = {name: _vectors(batch, name, rank) for name, rank in ranks.items()}
    seen = _positions(batch.column("seen"), lookup).without(-1)
    history, weights = _history(batch, lookup)
    return Block(batch.num_rows, factors, history, weights, seen)


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


def _history(batch: pa.RecordBatch, lookup: Lookup) -> tuple[Ragged, Single]:
    """Known items by ascending position, so that sums over them have one order."""
    if HISTORY not in batch.schema.names:
        return no_entries(batch.num_rows), np.zeros(0, dtype=np.float32)
    all_ = _positions(batch.column(HISTORY), lookup)
    weights = np.ones(len(all_.positions), dtype=np.float32)
    if WEIGHTS in batch.schema.names:
        weights = list_parts(batch.column(WEIGHTS), np.float32)[1]
    rows = np.repeat(np.arange(batch.num_rows), np.diff(all_.indptr))
    known = all_.positions >= 0
    rows, positions, weights = rows[known], all_.positions[known], weights[known]
    order = np.lexsort((positions, rows))
    indptr = np.searchsorted(rows, np.arange(batch.num_rows + 1))
    return Ragged(indptr, positions[order]), weights[order]


def block_columns(ranks: Mapping[str, int]) -> list[str]:
    """The columns that `read_block` takes beside seen, some of them optional."""
    return [HISTORY, WEIGHTS, *map(factor_column, ranks)]
