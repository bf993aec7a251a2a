"""Weights and signs of users in resamples."""

from fractions import Fraction
from math import exp, factorial

import numpy as np
import pytest

from recsys_spark.kernels.metrics.resampling import poisson_weights, random_signs, rounded_sums

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
def test_resample_weights_depend_on_seed_and_user_alone(draw):
    whole = draw(3, USERS, 10)
    np.testing.assert_array_equal(draw(3, USERS[::-3], 10), whole[::-3])
    np.testing.assert_array_equal(draw(3, USERS, 7), whole[:, :7])
    assert (draw(4, USERS, 10) != whole).any()


def test_rounded_sums_are_those_of_whole_numbers_and_nan_counts_as_zero():
    values = np.random.default_rng(1).normal(size=(300, 2, 3))
    values[::7, 1, 2] = np.nan
    expected = [
        sum(round(Fraction(value) * 2**30) for value in column if value == value)
        for column in values.reshape(300, 6).T.tolist()
    ]
    sums = rounded_sums(values, 2.0**30)
    assert sums.dtype == np.int64
    np.testing.assert_array_equal(sums, np.reshape(expected, (2, 3)))
    np.testing.assert_array_equal(rounded_sums(values[:0], 1.0), np.zeros((2, 3)))
    np.testing.assert_array_equal(rounded_sums(values[:, ::-1], 2.0**30), sums[::-1])
