"""The K largest entries in each row of a scaled sparse product, one row at a time.

The product of rows and columns over the middles that they share is summed in a dense accumulator,
as in Gustavson (1978), with a list of the columns that were reached. Sums run over the middles in
their order, in double precision, so a row's bits depend on nothing but its own entries.
"""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel

Kind = Literal["product", "cosine", "jaccard"]

_KINDS: tuple[Kind, ...] = ("product", "cosine", "jaccard")
_CELLS = 4_000_000  # results that are held at once, before they are compressed

Whole = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]
Double = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]


class Rows(NamedTuple):
    """The left matrix, and which of its rows are wanted.

    indptr: (rows + 1,). middles: (entries,), ascending within a row. values: (entries,), or empty
    where all are 1. wanted: (wanted,) rows to compute. own: (wanted,) the column that is the row
    itself and is left out; -1 for none.
    """

    indptr: Whole
    middles: Positions
    values: Double
    wanted: Whole
    own: Whole


class Middles(NamedTuple):
    """The right matrix. values: (entries,), or empty where all are 1. weights: (middles,)."""

    indptr: Whole
    columns: Positions
    values: Double
    weights: Double


class Scale(NamedTuple):
    """What becomes of a product p of a row and a column with the factors r and c.

    product: r p c; cosine: p / (sqrt(r c) + shrinkage); jaccard: p / (r + c - p + shrinkage).
    rows: (rows,). columns: (columns,).
    """

    kind: int
    rows: Double
    columns: Double
    shrinkage: float


class Nearest(NamedTuple):
    """Wanted row i owns entries indptr[i] to indptr[i + 1], columns ascending."""

    indptr: Whole
    columns: Positions
    values: Double


class _Padded(NamedTuple):
    counts: Whole
    columns: Positions
    values: Double


def scale(kind: Kind, rows: Double, columns: Double, shrinkage: float = 0.0) -> Scale:
    """The scale of this kind."""
    return Scale(_KINDS.index(kind), rows, columns, float(shrinkage))


def nearest(rows: Rows, middles: Middles, scaled: Scale, k: int) -> Nearest:
    """The k largest positive entries of each wanted row; of equal ones the smaller columns.

    The entry of row j and column i is the scaled sum over middles u of
    (rows[j, u] weights[u]) middles[u, i].
    """
    width = min(k, len(scaled.columns))
    count = len(rows.wanted)
    shape = count, width
    found = _Padded(np.zeros(count, np.int64), np.empty(shape, np.int32), np.empty(shape))
    _nearest(rows, middles, scaled, found)
    return _compressed(found)


def rows_at_once(k: int, columns: int) -> int:
    """How many rows to compute in one call, so that the memory stays bounded."""
    return max(1, _CELLS // max(1, min(k, columns)))


def largest(weights: Single, own: Whole, k: int) -> Nearest:
    """The k entries of largest magnitude in each row of a dense matrix, zeros and own left out.

    weights: (rows, columns). own: (rows,) the column that is the row itself.
    """
    width = min(k, weights.shape[1])
    count = len(weights)
    shape = count, width
    found = _Padded(np.zeros(count, np.int64), np.empty(shape, np.int32), np.empty(shape))
    _largest(weights, own, found)
    return _compressed(found)


def _compressed(found: _Padded) -> Nearest:
    kept = np.arange(found.columns.shape[1]) < found.counts[:, None]
    indptr = np.concatenate([[0], np.cumsum(found.counts)]).astype(np.int64)
    return Nearest(indptr, found.columns[kept], found.values[kept])


@kernel
def _nearest(rows, middles, scaled, found):  # type: ignore[no-untyped-def]
    size = len(scaled.columns)
    sums, marks = np.empty(size), np.full(size, -1, dtype=np.int64)
    reached = np.empty(size, dtype=np.int32)
    columns, keys = np.empty(size, dtype=np.int32), np.empty(size)
    for at in range(len(rows.wanted)):
        count = _sum(rows, middles, at, sums, marks, reached)
        filled = 0
        for entry in range(count):
            column = reached[entry]
            value = _scaled(scaled, rows.wanted[at], column, sums[column])
            if value > 0.0 and column != rows.own[at]:
                columns[filled], keys[filled] = column, value
                filled += 1
        kept = _keep(keys[:filled], columns[:filled], found.columns.shape[1])
        order = np.argsort(columns[:kept])
        for entry in range(kept):
            found.columns[at, entry] = columns[order[entry]]
            found.values[at, entry] = keys[order[entry]]
        found.counts[at] = kept


@jit
def _sum(rows, middles, at, sums, marks, reached):  # type: ignore[no-untyped-def]
    """One row of the product; how many columns it reaches."""
    row, count = rows.wanted[at], 0
    for entry in range(rows.indptr[row], rows.indptr[row + 1]):
        middle = rows.middles[entry]
        weight = middles.weights[middle]
        if len(rows.values) > 0:
            weight *= rows.values[entry]
        for other in range(middles.indptr[middle], middles.indptr[middle + 1]):
            column = middles.columns[other]
            if marks[column] != at:
                marks[column] = at
                sums[column] = 0.0
                reached[count] = column
                count += 1
            sums[column] += weight * middles.values[other] if len(middles.values) > 0 else weight
    return count


@jit
def _scaled(scaled, row, column, product):  # type: ignore[no-untyped-def]
    r, c = scaled.rows[row], scaled.columns[column]
    if scaled.kind == 0:
        return r * product * c
    whole = np.sqrt(r * c) if scaled.kind == 1 else r + c - product
    return product / (whole + scaled.shrinkage)


@kernel
def _largest(weights, own, found):  # type: ignore[no-untyped-def]
    size = weights.shape[1]
    columns, keys = np.empty(size, dtype=np.int32), np.empty(size)
    for at in range(len(weights)):
        filled = 0
        for column in range(size):
            if weights[at, column] != 0.0 and column != own[at]:
                columns[filled], keys[filled] = column, abs(weights[at, column])
                filled += 1
        kept = _keep(keys[:filled], columns[:filled], found.columns.shape[1])
        best = np.sort(columns[:kept])
        for entry in range(kept):
            found.columns[at, entry] = best[entry]
            found.values[at, entry] = weights[at, best[entry]]
        found.counts[at] = kept


@jit
def _keep(keys, columns, k):  # type: ignore[no-untyped-def]
    """Bring the k best to the front, in any order (Hoare 1961); how many are kept."""
    if len(keys) <= k:
        return len(keys)
    first, last = 0, len(keys) - 1
    while first < last:
        middle = (first + last) // 2
        key, column, low, high = keys[middle], columns[middle], first, last
        while low <= high:
            while _is_better(keys[low], columns[low], key, column):
                low += 1
            while _is_better(key, column, keys[high], columns[high]):
                high -= 1
            if low <= high:
                keys[low], keys[high] = keys[high], keys[low]
                columns[low], columns[high] = columns[high], columns[low]
                low, high = low + 1, high - 1
        if k - 1 <= high:
            last = high
        elif k - 1 >= low:
            first = low
        else:
            break
    return k


@jit
def _is_better(key, column, other_key, other_column):  # type: ignore[no-untyped-def]
    return key > other_key or (key == other_key and column < other_column)
