"""Compressed rows: the form in which a block of interactions reaches the kernels."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import kernel

CODES = 256  # distinct weights that are coded, at most
_AT_ONCE = 2**20  # entries whose codes are looked up before they are kept in a byte


@dataclass(frozen=True)
class Csr:
    """Rows of sparse entries; row r owns entries indptr[r] to indptr[r + 1].

    indptr: (rows + 1,). cols: (entries,), ascending within a row, so that the entries of a pair
    that occurs several times are neighbours. a, b: (entries,) extra weight and right-hand weight,
    see `kernels.als.spec`.
    """

    indptr: npt.NDArray[np.int64]
    cols: npt.NDArray[np.int32]
    a: npt.NDArray[np.float32]
    b: npt.NDArray[np.float32]

    def shifted(self, offsets: npt.NDArray[np.float32]) -> "Csr":
        """The entries with the target of column j lowered by offsets[j], where w0 is 0."""
        if not len(offsets):
            return self
        return replace(self, b=self.b - self.a * offsets[self.cols])

    def first_of_pair(self) -> npt.NDArray[np.bool_]:
        """(entries,) which entries are the first of their row and column."""
        return first_of_pair(self.indptr, self.cols)

    def unobserved(
        self, rows: npt.NDArray[np.float64], cols: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """w0 of each entry's pair. rows: w0 of each row; cols: its factor by column; empty: 1."""
        weights = np.repeat(rows, np.diff(self.indptr))
        return weights * cols[self.cols] if len(cols) else weights

    def whole_weights(self, rows: npt.NDArray[np.float64], cols: npt.NDArray[np.float32]) -> "Csr":
        """Of an objective whose confidence is a pair's whole weight: w0 taken off once a pair.

        In `a` it is taken off every entry. rows, cols: as of `unobserved`.
        """
        first = self.first_of_pair()
        if first.all():
            return self
        again = (self.a + self.unobserved(rows, cols)).astype(np.float32)
        return replace(self, a=np.where(first, self.a, again))

    def row_sums(self, entries: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """The sum over each row of a value of every entry, in double precision."""
        return _row_sums(self.indptr, entries)


@kernel
def _row_sums(
    indptr: npt.NDArray[np.int64], values: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    sums = np.zeros(len(indptr) - 1)
    for row in range(len(sums)):
        total = 0.0
        for value in values[indptr[row] : indptr[row + 1]]:
            total += value
        sums[row] = total
    return sums


def first_of_pair(
    indptr: npt.NDArray[np.int64], cols: npt.NDArray[np.int32]
) -> npt.NDArray[np.bool_]:
    """(entries,) which entries of compressed rows are the first of their row and column."""
    first = np.ones(len(cols), dtype=bool)
    first[1:] = cols[1:] != cols[:-1]
    first[indptr[:-1][np.diff(indptr) > 0]] = True
    return first


def compress(
    rows: npt.NDArray[np.int32],
    cols: npt.NDArray[np.int32],
    a: npt.NDArray[np.float32],
    b: npt.NDArray[np.float32],
    count: int,
) -> Csr:
    """Compress entries of rows 0 to count - 1; the same entries in another order give the same."""
    keys = rows.astype(np.int64) << 32 | cols
    order = np.argsort(keys)
    ascending = keys[order]
    if (ascending[1:] == ascending[:-1]).any():  # pairs that occur twice need an order too
        order = np.lexsort((b, a, keys))
    indptr = np.searchsorted(ascending, np.arange(count + 1, dtype=np.int64) << 32)
    return Csr(indptr.astype(np.int64), cols[order], a[order], b[order])


def encode_weights(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Codes (entries,) and an ascending table of pairs (2, codes), where few distinct ones occur.

    One distinct pair needs no codes; too many stand in the table themselves, without codes.
    """
    none = np.empty(0, dtype=np.uint8)
    pairs = np.stack([a, b], axis=1).view(np.uint64).ravel()
    distinct = np.unique(pairs[: 16 * CODES])
    if len(distinct) <= CODES:  # else a few have been too many already
        distinct = np.unique(pairs)
    if len(distinct) > CODES:
        return none, np.stack([a, b])
    table = distinct.view(np.float32).reshape(-1, 2).T
    order = np.lexsort(table[::-1])
    table = np.ascontiguousarray(table[:, order])
    if len(distinct) <= 1:
        return none, table
    ranks, codes = np.argsort(order).astype(np.uint8), np.empty(len(pairs), np.uint8)
    for start in range(0, len(pairs), _AT_ONCE):
        found = np.searchsorted(distinct, pairs[start : start + _AT_ONCE])
        codes[start : start + _AT_ONCE] = ranks[found]
    return codes, table


def decode_weights(
    codes: npt.NDArray[np.uint8], table: npt.NDArray[np.float32], entries: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """a and b of every entry, from `encode_weights`."""
    if len(codes):
        return look_up(codes, table)
    if table.shape[1] == entries:
        return table[0], table[1]
    return np.full(entries, table[0, 0]), np.full(entries, table[1, 0])


@kernel
def look_up(
    codes: npt.NDArray[np.uint8], table: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The columns of a table of pairs, (2, codes), that the codes name."""
    a, b = np.empty(len(codes), np.float32), np.empty(len(codes), np.float32)
    for at in range(len(codes)):
        a[at], b[at] = table[0, codes[at]], table[1, codes[at]]
    return a, b
