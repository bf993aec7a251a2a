"""The nearest rows by a dense accumulator against sorting dense products."""

import numpy as np
import pytest
from scipy import sparse

from recsys_spark.kernels.topn import sparse_product
from recsys_spark.kernels.topn.sparse_product import (
    Middles,
    Rows,
    largest,
    nearest,
    rows_at_once,
    scale,
)

DRAW = np.random.default_rng(11)
ROWS, MIDDLES, COLUMNS = 14, 9, 17


def whole_numbers(rows, columns, low=1):
    """Small ones, so that sums are exact and ties frequent."""
    values = DRAW.integers(low, 3, size=(rows, columns)) * (DRAW.random((rows, columns)) < 0.4)
    return values.astype(np.float64)


LEFT, RIGHT = whole_numbers(ROWS, MIDDLES), whole_numbers(MIDDLES, COLUMNS)
SIGNED_LEFT, SIGNED_RIGHT = whole_numbers(ROWS, MIDDLES, -2), whole_numbers(MIDDLES, COLUMNS, -2)
WEIGHTS = DRAW.integers(0, 4, MIDDLES).astype(np.float64)
FACTORS = DRAW.integers(20, 30, ROWS) * 1.0, DRAW.integers(20, 30, COLUMNS) * 1.0
OWN = np.where(DRAW.random(ROWS) < 0.7, DRAW.integers(0, COLUMNS, ROWS), -1)
ALL = 10**6


def matrices(left, right, weights, wanted, plain=False):
    one, other = sparse.csr_array(left), sparse.csr_array(right)
    none = np.empty(0)
    rows = Rows(
        one.indptr.astype(np.int64), one.indices.astype(np.int32), none if plain else one.data,
        wanted, OWN[wanted],
    )  # fmt: skip
    indptr, indices = other.indptr.astype(np.int64), other.indices.astype(np.int32)
    return rows, Middles(indptr, indices, none if plain else other.data, weights)


def scaled(product, kind, shrinkage):
    r, c = FACTORS[0][:, None], FACTORS[1][None, :]
    return {
        "product": r * product * c,
        "cosine": product / (np.sqrt(r * c) + shrinkage),
        "jaccard": product / (r + c - product + shrinkage),
    }[kind]


def expected(values, own, k):
    order = sorted(range(len(values)), key=lambda column: (-values[column], column))
    kept = [column for column in order if values[column] > 0 and column != own][:k]
    return {column: values[column] for column in sorted(kept)}


def found_rows(found):
    bounds = zip(found.indptr, found.indptr[1:], strict=False)
    return [
        dict(zip(found.columns[a:b].tolist(), found.values[a:b], strict=True)) for a, b in bounds
    ]


@pytest.mark.parametrize("k", [1, 4, ALL])
@pytest.mark.parametrize("kind", ["product", "cosine", "jaccard"])
@pytest.mark.parametrize(("left", "right"), [(LEFT, RIGHT), (SIGNED_LEFT, SIGNED_RIGHT)])
def test_rows_are_those_of_sorting(left, right, kind, k):
    wanted = np.array([3, 0, 13, 7])
    rows, middles = matrices(left, right, WEIGHTS, wanted)
    found = found_rows(nearest(rows, middles, scale(kind, *FACTORS, 2.5), k))
    dense = scaled(left * WEIGHTS @ right, kind, 2.5)
    lists = [expected(dense[row], OWN[row], k) for row in wanted]
    assert max(len(one) for one in lists) >= min(k, 5)
    assert [list(one) for one in found] == [list(one) for one in lists]
    for one, other in zip(found, lists, strict=True):
        assert list(one.values()) == pytest.approx(list(other.values()))


def test_entries_without_values_are_1():
    ones = (LEFT > 0) * 1.0, (RIGHT > 0) * 1.0
    every = np.arange(ROWS)
    scales = scale("cosine", *FACTORS)
    found = nearest(*matrices(*ones, WEIGHTS, every, plain=True), scales, 5)  # type: ignore[call-arg]
    same = nearest(*matrices(*ones, WEIGHTS, every), scales, 5)  # type: ignore[call-arg]
    for one, other in zip(found, same, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("k", [1, 3, 500, ALL])
def test_ties_among_many_go_to_the_smaller_columns(k):
    """Enough equal values that a partial sort exchanges them."""
    columns, right = 1000, np.ones((1, 1000))
    rows = Rows(np.array([0, 1]), np.zeros(1, np.int32), np.empty(0), np.array([0]), np.array([2]))
    other = sparse.csr_array(right)
    middles = Middles(
        other.indptr.astype(np.int64), other.indices.astype(np.int32), np.empty(0), np.ones(1)
    )
    factors = np.where(np.arange(columns) % 3 == 0, 2.0, 1.0)
    found = nearest(rows, middles, scale("product", np.ones(1), factors), k)
    best = list(range(0, columns, 3)) + [c for c in range(columns) if c % 3 and c != 2]
    assert found.columns.tolist() == sorted(best[:k])


@pytest.mark.parametrize("k", [1, 4, ALL])
def test_largest_magnitudes_of_a_dense_matrix(k):
    dense = DRAW.integers(-4, 5, size=(ROWS, COLUMNS)).astype(np.float32)
    found = found_rows(largest(dense, OWN, k))
    for row, one in enumerate(found):
        kept = expected(np.abs(dense[row]), OWN[row], k)
        assert one == {column: dense[row, column] for column in kept}


def test_rows_without_entries():
    rows, middles = matrices(0 * LEFT, RIGHT, WEIGHTS, np.arange(ROWS))
    assert nearest(rows, middles, scale("product", *FACTORS), 3).indptr.tolist() == [0] * (ROWS + 1)
    none, whole = np.empty(0), np.empty(0, np.int64)
    empty = Rows(np.zeros(1, np.int64), np.empty(0, np.int32), none, whole, whole)
    nothing = Middles(np.zeros(1, np.int64), np.empty(0, np.int32), none, none)
    assert len(nearest(empty, nothing, scale("cosine", none, none), 3).columns) == 0


def test_memory_is_bounded_by_rows_at_once(monkeypatch):
    monkeypatch.setattr(sparse_product, "_CELLS", 100)
    assert rows_at_once(5, 1000) == 20
    assert rows_at_once(ALL, 30) == 3
    assert rows_at_once(ALL, 1000) == 1
