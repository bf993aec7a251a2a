"""The largest entries of sparse products against sorting dense ones."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from recsys_spark.kernels import neighbours
from recsys_spark.kernels.neighbours import Scale, top_of_product

DRAW = np.random.default_rng(9)
ROWS, MIDDLES, COLUMNS = 13, 11, 17


def whole_numbers(rows, columns, share):
    """Small ones, so that sums are exact and ties frequent."""
    values = DRAW.integers(1, 3, size=(rows, columns)) * (DRAW.random((rows, columns)) < share)
    return values.astype(np.float64)


LEFT = whole_numbers(ROWS, MIDDLES, 0.4)
RIGHT = whole_numbers(MIDDLES, COLUMNS, 0.4)
LEFT_OUT = DRAW.random((ROWS, COLUMNS)) < 0.2
ROW_SIZES, COLUMN_SIZES = (LEFT**2).sum(axis=1) + 9.0, (RIGHT**2).sum(axis=0) + 9.0


def expected(values, n):
    lists = []
    for row in range(ROWS):
        order = sorted(range(COLUMNS), key=lambda column: (-values[row, column], column))
        kept = [c for c in order if values[row, c] > 0 and not LEFT_OUT[row, c]]
        lists.append([(c, values[row, c]) for c in kept[:n]])
    return lists


def scaled(similarity, shrinkage):
    product = LEFT @ RIGHT
    r, c = ROW_SIZES[:, None], COLUMN_SIZES[None, :]
    return {
        "dot": product,
        "cosine": product / (np.sqrt(r * c) + shrinkage),
        "jaccard": product / (r + c - product + shrinkage),
    }[similarity]


@pytest.mark.parametrize("at_once", [1, 40, 10**9])
@pytest.mark.parametrize("similarity", ["dot", "cosine", "jaccard"])
def test_lists_are_those_of_sorting(monkeypatch, similarity, at_once):
    monkeypatch.setattr(neighbours, "_PRODUCTS", at_once)
    scale = Scale(similarity, ROW_SIZES, COLUMN_SIZES, 2.5)
    matrices = (sparse.csr_array(matrix) for matrix in (LEFT, RIGHT, LEFT_OUT))
    bounds, columns, values = top_of_product(*matrices, 4, scale)
    lists = expected(scaled(similarity, 2.5), 4)
    assert {len(one) for one in lists} >= {4}
    found = [
        list(zip(columns[start:stop], values[start:stop], strict=True))
        for start, stop in pairwise(bounds)
    ]
    assert [[c for c, _ in one] for one in found] == [[c for c, _ in one] for one in lists]
    for one, other in zip(found, lists, strict=True):
        assert [v for _, v in one] == pytest.approx([v for _, v in other])


def test_rows_and_products_without_entries():
    empty = sparse.csr_array((3, 2)), sparse.csr_array((2, 4)), sparse.csr_array((3, 4))
    bounds, columns, _ = top_of_product(*empty, 5, Scale("dot", np.zeros(3), np.zeros(4)))
    assert bounds.tolist() == [0, 0, 0, 0]
    assert len(columns) == 0
