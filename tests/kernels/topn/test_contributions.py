"""Parts of scores against the scores themselves, and the largest against sorting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import LinAlgError

from recsys_spark.kernels.topn.contributions import contributions, largest


def world(seed, items=12, rank=3, had=5):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(items, rank))
    own = rng.permutation(items)[:had]
    return factors, own, rng.random(had), rng.normal(size=had)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32))
def test_parts_sum_to_the_scores_of_the_dense_solution(seed):
    factors, own, a, b = world(seed)
    gram, penalty = 0.3 * factors.T @ factors, 0.7
    weights = np.full(len(factors), 0.3)
    weights[own] += a
    target = np.zeros(len(factors))
    target[own] = b
    dense = factors.T @ np.diag(weights) @ factors + penalty * np.eye(3)
    user = np.linalg.inv(dense) @ factors.T @ target
    parts = contributions(factors[own], a, b, factors, gram, penalty)
    assert parts.shape == (5, 12)
    np.testing.assert_allclose(parts.sum(axis=0), factors @ user, rtol=1e-9, atol=1e-12)


def test_contribution_is_the_loss_of_score_without_the_items_target():
    factors, own, a, b = world(1)
    gram = factors.T @ factors
    whole = contributions(factors[own], a, b, factors, gram, 1.0)
    less = np.where(np.arange(5) == 2, 0.0, b)
    without = contributions(factors[own], a, less, factors, gram, 1.0)
    lost = whole.sum(axis=0) - without.sum(axis=0)
    np.testing.assert_allclose(whole[2], lost, rtol=1e-9, atol=1e-12)


def test_a_singular_system_is_an_error():
    nothing = np.zeros((2, 2))
    with pytest.raises(LinAlgError):
        contributions(nothing, np.ones(2), np.ones(2), nothing, nothing, 0.0)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 12))
def test_the_largest_are_those_of_sorting(seed, rows, most):
    parts = np.random.default_rng(seed).normal(size=(rows, 4))
    expected = np.argsort(-parts, axis=0)[:most]
    assert largest(parts, most).tolist() == expected.tolist()
