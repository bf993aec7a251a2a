"""EASE against a ridge regression an item, and what it refuses."""

import numpy as np
import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.neighbours import ease as module
from recsys_spark.neighbours.ease import ease_weights, fit_ease, gram_matrix
from recsys_spark.neighbours.spec import Ease
from tests.neighbours.samples_neighbours import (
    ITEMS,
    THERE,
    VALUES,
    assert_nearest,
    history,
    rows_of,
)
from tests.reference.neighbours import ease, truncated


@pytest.fixture(scope="module")
def pairs(spark):
    return history(spark).select("user", "item").cache()


@pytest.mark.parametrize("regularization", [0.5, 200.0])
def test_weights_are_those_of_ridge_regressions(pairs, regularization):
    found = rows_of(fit_ease(pairs, Ease(regularization)))
    dense = ease(VALUES, regularization)
    assert set(found) == set(range(ITEMS)) - {4, 6}
    for row, one in found.items():
        assert list(one) == [c for c in range(ITEMS) if c not in (row, 4, 6)]
        assert list(one.values()) == pytest.approx([dense[row, c] for c in one], rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("k", [1, 5])
def test_rows_keep_the_largest_magnitudes(pairs, k):
    found = rows_of(fit_ease(pairs, Ease(10.0, k)))
    dense = ease(VALUES, 10.0)
    assert_nearest(found, np.round(dense, 12), k, magnitude=True)
    assert {row: list(one) for row, one in found.items()} == {
        row: list(one) for row, one in truncated(dense, k, magnitude=True).items()
    }
    if k == 5:
        assert any(weight < 0 for one in found.values() for weight in one.values())


def test_an_inverse_larger_than_a_tile_is_symmetric(monkeypatch):
    monkeypatch.setattr(module, "_TILE", 4)
    x = THERE.astype(float)
    expected = np.linalg.inv(x.T @ x + 3.0 * np.eye(ITEMS))
    expected = expected / -np.diag(expected)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(ease_weights(x.T @ x, 3.0), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("items", [[0, 2, 6, 17], list(range(ITEMS))], ids=["parts", "whole"])
def test_a_distributed_gram_matrix_is_that_of_the_driver(monkeypatch, pairs, items):
    monkeypatch.setattr(module, "_ANSWER", 8 * 4 * 2 if len(items) == 4 else 2**27)
    pairs = pairs.where(pairs["item"].isin(items))
    ids = module._item_ids(pairs)
    here = gram_matrix(pairs, ids)
    assert here.tolist() == (THERE[:, ids].T.astype(float) @ THERE[:, ids]).tolist()
    assert gram_matrix(pairs, ids, interactions_bytes=0).tolist() == here.tolist()


def test_too_many_items_are_refused(pairs):
    with pytest.raises(ConfigError, match=r"EASE of 18 items needs 0 MB .* at most 17 items"):
        fit_ease(pairs, Ease(), budget_bytes=12 * 18**2 - 1)
    assert fit_ease(pairs, Ease(), budget_bytes=12 * 18**2).count() == 17  # one is alone


def test_a_singular_gram_matrix_is_refused(spark):
    twins = spark.createDataFrame([(u, i) for u in range(3) for i in (1, 2)], "user int, item int")
    with pytest.raises(ConfigError, match="set regularization above 0"):
        fit_ease(twins, Ease(0.0))


@pytest.mark.parametrize("there", [[], [(1, 5)]], ids=["nothing", "one item"])
def test_items_without_neighbours_have_no_rows(spark, there):
    frame = spark.createDataFrame(there, "user int, item int")
    assert rows_of(fit_ease(frame, Ease())) == {}


def test_one_user(spark):
    frame = spark.createDataFrame([(1, i) for i in (3, 8, 9)], "user int, item int")
    found = rows_of(fit_ease(frame, Ease(2.0, 10**6)))
    # A ridge regression of 1 on two equal columns of 1: each has 1 / (2 + regularization).
    assert found == {i: {j: pytest.approx(0.25) for j in (3, 8, 9) if j != i} for i in (3, 8, 9)}
