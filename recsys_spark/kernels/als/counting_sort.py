"""Compressed rows of both sides by counting sort, from entries in any order."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.als.csr import first_of_pair
from recsys_spark.kernels.jit import kernel

_Numbers = npt.NDArray[np.integer[Any]]


class Compressed(NamedTuple):
    """Rows of entries; row r owns entries indptr[r] to indptr[r + 1].

    indptr: (rows + 1,). cols: (entries,), ascending within a row. values: (entries,), ascending
    within a pair that occurs several times.
    """

    indptr: npt.NDArray[np.int64]
    cols: npt.NDArray[np.int32]
    values: npt.NDArray[Any]


def compress_both(
    users: npt.NDArray[np.int32],
    items: npt.NDArray[np.int32],
    values: npt.NDArray[Any],
    counts: tuple[_Numbers, _Numbers],
) -> tuple[Compressed, Compressed]:
    """The entries by user and by item; in another order they give the same.

    users, items: (entries,) positions. values: (entries,), of a type that can be sorted. counts:
    how many entries each user has, and each item.
    """
    user_bounds, item_bounds = map(_bounds, counts)
    by_item = _empty(item_bounds, values)
    _group(items, users, values, item_bounds[:-1].copy(), by_item.cols, by_item.values)
    by_user = _transposed(by_item, user_bounds)
    _sort_repeated_pairs(by_user)
    return by_user, _transposed(by_user, item_bounds)


def _bounds(counts: _Numbers) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _empty(bounds: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> Compressed:
    return Compressed(bounds, np.empty(len(values), np.int32), np.empty_like(values))


def _transposed(rows: Compressed, bounds: npt.NDArray[np.int64]) -> Compressed:
    """The same entries by column, whose rows ascend; those of one pair stay in their order."""
    columns = _empty(bounds, rows.values)
    _transpose(*rows, bounds[:-1].copy(), columns.cols, columns.values)
    return columns


def _sort_repeated_pairs(rows: Compressed) -> None:
    """Order the entries of each pair that occurs several times by their values."""
    first = first_of_pair(rows.indptr, rows.cols)
    if first.all():
        return
    repeated = ~first
    repeated[:-1] |= ~first[1:]
    values, pairs = rows.values[repeated], np.cumsum(first)[repeated]
    rows.values[repeated] = values[np.lexsort((values, pairs))]


@kernel
def _group(
    keys: npt.NDArray[np.int32],
    others: npt.NDArray[np.int32],
    values: npt.NDArray[Any],
    next_free: npt.NDArray[np.int64],
    out: npt.NDArray[np.int32],
    out_values: npt.NDArray[Any],
) -> None:
    """Put every entry where the next of its key goes; next_free: (keys,), moved on."""
    for at in range(len(keys)):
        to = next_free[keys[at]]
        next_free[keys[at]] = to + 1
        out[to], out_values[to] = others[at], values[at]


@kernel
def _transpose(
    indptr: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int32],
    values: npt.NDArray[Any],
    next_free: npt.NDArray[np.int64],
    out: npt.NDArray[np.int32],
    out_values: npt.NDArray[Any],
) -> None:
    """Put every entry's row where the next of its column goes; next_free: (columns,), moved on."""
    for row in range(len(indptr) - 1):
        for at in range(indptr[row], indptr[row + 1]):
            to = next_free[cols[at]]
            next_free[cols[at]] = to + 1
            out[to], out_values[to] = row, values[at]
