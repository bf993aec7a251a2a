"""Weights and signs of users in resamples."""

from math import exp, factorial

import numpy as np
import pytest

from recsys_spark.kernels.metrics.resampling import poisson_weights, random_signs

USERS = np.arange(2000, dtype=np.int64) * 7919 - 5


def test_weights_are_poisson_numbers_of_mean_one():
    weights = poisson_weights(3, USERS, 500)
    assert weights.shape == (2000, 500)
    shares = np.bincount(weights.ravel().astype(int), minlength=6) / weights.size
    for n in range(6):
        assert shares[n] == pytest.approx(exp(-1) / factorial(n), abs=5 / np.sqrt(weights.size))


def test_signs_are_even():
    signs = random_signs(3, USERS, 500)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 5 / np.sqrt(signs.size)


@pytest.mark.parametrize("draw", [poisson_weights, random_signs])
def test_users_and_resamples_are_independent(draw):
    drawn = draw(3, USERS, 64)
    for one in (drawn, drawn.T):
        correlation = np.corrcoef(one[:64])
        np.fill_diagonal(correlation, 0.0)
        assert np.abs(correlation).max() < 5.5 / np.sqrt(one.shape[1])


@pytest.mark.parametrize("draw", [poisson_weights, random_signs])
def test_they_depend_on_seed_and_user_alone(draw):
    whole = draw(3, USERS, 10)
    np.testing.assert_array_equal(draw(3, USERS[::-3], 10), whole[::-3])
    np.testing.assert_array_equal(draw(3, USERS, 7), whole[:, :7])
    assert (draw(4, USERS, 10) != whole).any()
