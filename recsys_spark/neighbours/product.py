"""A model's product on one host: arrays in, arrays out, without Spark."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recsys_spark.kernels.topn.sparse_product import (
    Double,
    Middles,
    Nearest,
    Positions,
    Rows,
    Whole,
    nearest,
    rows_at_once,
    scale,
)
from recsys_spark.neighbours.formulas import Degrees, Formula, Sizes

UNIT = 2.0**-20  # of the sum of all values, which is exact and so independent of their order


class Product(NamedTuple):
    """What `fit_rows` needs; every field is an array, so that each can be shared between tasks.

    ids: (rows,) ascending. row_*: the entries by row. middle_*: by middle; values are empty where
    all are 1. weights: (middles,). row_factors, column_factors: (rows,) of the scale.
    """

    ids: Positions
    row_indptr: Whole
    row_middles: Positions
    row_values: Double
    middle_indptr: Whole
    middle_rows: Positions
    middle_values: Double
    weights: Double
    row_factors: Double
    column_factors: Double


def prepare(
    rows: Positions, middles: Positions, values: Double | None, formula: Formula
) -> Product:
    """Both orientations of the interactions, weighed by a model's formula.

    Parameters
    ----------
    rows, middles
        (pairs,) ids of what is compared and of what that shares, no pair twice, in any order.
    values
        (pairs,) or None where every value is 1.
    formula
        From `formulas.formula`.
    """
    ids, row = np.unique(rows, return_inverse=True)
    kept, middle = np.unique(middles, return_inverse=True)
    given = np.ones(len(row)) if values is None else values.astype(np.float64)
    matrix = csr(row, middle, given, (len(ids), len(kept)))
    sizes = Sizes(max(1, len(ids)), exact_sum(matrix.data))
    of_rows, of_middles = _degrees(matrix), _degrees(matrix.T.tocsr())
    at, weights = _rows(matrix), formula.middles(of_middles, sizes)
    each = of_rows.of(at), of_middles.of(matrix.indices)
    matrix.data = formula.entries(matrix.data, *each, sizes)
    factors = formula.factors(of_rows)
    if formula.kind != "product":
        squares = matrix.data * matrix.data * weights[matrix.indices]
        factors = (_sums(at, squares, len(ids)),) * 2
    own, other = _parts(matrix, formula.plain), _parts(matrix.T.tocsr(), formula.plain)
    return Product(ids.astype(np.int32), *own, *other, weights, *factors)


def _parts(matrix: sparse.csr_array, plain: bool) -> tuple[Whole, Positions, Double]:
    values = np.empty(0) if plain else matrix.data
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), values


def fit_rows(product: Product, formula: Formula, wanted: Whole) -> Iterator[tuple[Whole, Nearest]]:
    """The nearest of some rows, in the order of `wanted`, part by part.

    Parameters
    ----------
    product
        From `prepare`.
    formula
        The one that the product was prepared with.
    wanted
        (wanted,) positions of rows among `product.ids`.

    Yields
    ------
    Some of the positions and their `Nearest`, whose columns are positions, too.
    """
    middles = Middles(
        product.middle_indptr, product.middle_rows, product.middle_values, product.weights
    )
    scaled = scale(formula.kind, product.row_factors, product.column_factors, formula.shrinkage)
    for some in parts(wanted, formula.neighbours, len(product.ids)):
        rows = Rows(product.row_indptr, product.row_middles, product.row_values, some, some)
        yield some, nearest(rows, middles, scaled, formula.neighbours)


def parts(rows: Whole, k: int, columns: int) -> Iterator[Whole]:
    """The rows in parts whose results fit in a bounded memory."""
    step = rows_at_once(k, columns)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def work(product: Product, wanted: Whole) -> Whole:
    """(wanted + 1,) multiplications before each of the rows, and in all; an entry is one more."""
    lengths = np.diff(product.middle_indptr)[product.row_middles] + 1
    sums = np.concatenate([[0], np.cumsum(lengths)])
    own = sums[product.row_indptr[wanted + 1]] - sums[product.row_indptr[wanted]]
    return np.concatenate([[0], np.cumsum(own)]).astype(np.int64)


def equal_ranges(done: Whole, count: int) -> Whole:
    """(count + 1,) bounds of ranges of about equal work. done: from `work`."""
    goals = done[-1] * np.arange(1, count) / count
    inner = np.searchsorted(done, goals)
    return np.concatenate([[0], inner, [len(done) - 1]]).astype(np.int64)


def csr(
    rows: npt.NDArray[Any], columns: npt.NDArray[Any], values: Double, shape: tuple[int, int]
) -> sparse.csr_array:
    """Compressed rows with ascending columns."""
    matrix = sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()
    matrix.sort_indices()
    return matrix


def exact_sum(values: Double) -> float:
    """The sum of values rounded to UNIT, the same in every order."""
    return float(np.rint(values / UNIT).astype(np.int64).sum() * UNIT)


def _degrees(matrix: sparse.csr_array) -> Degrees:
    pairs = np.diff(matrix.indptr).astype(np.int64)
    return Degrees(pairs, _sums(_rows(matrix), matrix.data, len(pairs)))


def _rows(matrix: sparse.csr_array) -> Whole:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _sums(rows: Whole, values: Double, count: int) -> Double:
    """Of each row, one after the other as in the distributed placement, so that bits are equal."""
    return np.bincount(rows, values, minlength=count).astype(np.float64)
