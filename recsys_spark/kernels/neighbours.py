"""The largest entries in each row of a product of two sparse matrices.

Both halves of a neighbourhood model are such a product: the similarities of items (or users), of
which each keeps its nearest, and the scores, history times similarities.
"""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

Similarity = Literal["dot", "cosine", "jaccard"]

_PRODUCTS = 20_000_000  # multiplications at a time, which bounds the memory

_Whole = npt.NDArray[np.int64]
_Double = npt.NDArray[np.float64]


class Scale(NamedTuple):
    """What becomes of a product p of a row and a column with squared lengths r and c.

    dot: p; cosine: p / (sqrt(r c) + shrinkage); jaccard: p / (r + c - p + shrinkage).
    """

    similarity: Similarity
    rows: _Double
    columns: _Double
    shrinkage: float = 0.0

    def __call__(self, row: _Whole, column: _Whole, product: _Double) -> _Double:
        """The scaled products of these rows and columns."""
        if self.similarity == "dot":
            return product
        r, c = self.rows[row], self.columns[column]
        whole = np.sqrt(r * c) if self.similarity == "cosine" else r + c - product
        scaled: _Double = product / (whole + self.shrinkage)
        return scaled


def top_of_product(
    left: sparse.csr_array, right: sparse.csr_array, left_out: sparse.csr_array, n: int,
    scale: Scale,
) -> tuple[_Whole, _Whole, _Double]:  # fmt: skip
    """Bounds, columns and values of the n largest positive entries of each row, best first.

    left: (rows, middle). right: (middle, columns). left_out: (rows, columns), whose entries never
    count. Equal values are ordered by column. Sums run over ascending middles in double precision.
    """
    parts = [
        _largest(left[start:stop] @ right, left_out[start:stop], start, n, scale)
        for start, stop in _slices(left, right)
    ]
    counts = np.concatenate([[0], *(counts for counts, _, _ in parts)])
    columns = np.concatenate([np.empty(0, np.int64), *(columns for _, columns, _ in parts)])
    values = np.concatenate([np.empty(0), *(values for _, _, values in parts)])
    return np.cumsum(counts), columns, values


def _slices(left: sparse.csr_array, right: sparse.csr_array) -> list[tuple[int, int]]:
    """Rows that are multiplied together."""
    needed = np.concatenate([[0], np.cumsum(np.diff(right.indptr)[left.indices])])[left.indptr]
    slices, start = [], 0
    while start < left.shape[0]:
        stop = int(np.searchsorted(needed, needed[start] + _PRODUCTS, side="right")) - 1
        stop = min(max(stop, start + 1), left.shape[0])
        slices.append((start, stop))
        start = stop
    return slices


def _largest(
    product: sparse.csr_array, left_out: sparse.csr_array, first: int, n: int, scale: Scale
) -> tuple[_Whole, _Whole, _Double]:
    rows, columns = _rows(product), product.indices.astype(np.int64)
    cells = rows * product.shape[1] + columns
    kept = ~np.isin(cells, _rows(left_out) * product.shape[1] + left_out.indices)
    rows, columns = rows[kept], columns[kept]
    values = scale(rows + first, columns, product.data[kept])
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    starts = np.searchsorted(rows, np.arange(product.shape[0]))
    best = (np.arange(len(rows)) - starts[rows] < n) & (values > 0)
    counts = np.bincount(rows[best], minlength=product.shape[0])
    return counts, columns[best], values[best]


def _rows(matrix: sparse.csr_array) -> _Whole:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)).astype(np.int64)
