"""The weights a, b and L of each preset, number by number."""

import numpy as np
import pytest

from recsys_spark.kernels.spec import resolve_spec
from recsys_spark.kernels.weights import counted_pairs, pair_weights, row_regularization

VALUES = np.array([3.0, 0.5, 0.0, -2.0])


@pytest.mark.parametrize(
    ("preset", "given", "a", "b"),
    [
        ("ials", {}, [1, 1, 1, 1], [1, 1, 0, 0]),
        ("ials", {"weighting": "linear", "alpha": 2.0}, [6, 1, 0, 4], [6, 1, 0, 0]),
        ("ials", {"target": "unit"}, [1, 1, 1, 1], [1.1, 1.1, 0, 0]),
        ("hu2008", {}, [120, 20, 0, 80], [121, 21, 0, 0]),
        ("mllib", {"alpha": 2.0}, [6, 1, 0, 4], [7, 2, 0, 0]),
        ("explicit", {}, [1, 1, 1, 1], [3, 0.5, 0, -2]),
        ("hu2008", {"target": "value", "alpha": 1.0}, [3, 0.5, 0, 2], [12, 0.75, 0, -6]),
    ],
)
def test_pair_weights_by_hand(preset, given, a, b):
    left, right = pair_weights(VALUES, resolve_spec(preset, **given))
    np.testing.assert_allclose(left, a, rtol=1e-15)
    np.testing.assert_allclose(right, b, rtol=1e-15)


def test_log_weights_use_the_magnitude_over_epsilon():
    spec = resolve_spec("ials", weighting="log", alpha=3.0, epsilon=0.5)
    a, b = pair_weights(VALUES, spec)
    np.testing.assert_allclose(a, 3 * np.log([7, 2, 1, 5]), rtol=1e-12)
    np.testing.assert_allclose(b, [a[0], a[1], 0, 0])


@pytest.mark.parametrize(("preset", "target"), [("ials", 1 / 1.1), ("hu2008", 1), ("mllib", 1)])
def test_target_of_a_like(preset, target):
    spec = resolve_spec(preset)
    a, b = pair_weights(np.array([1.0]), spec)
    assert b[0] / (spec.unobserved_weight + a[0]) == pytest.approx(target)


def test_mllib_counts_positives_and_the_others_count_everything():
    assert counted_pairs(VALUES, resolve_spec("mllib")).tolist() == [1, 1, 0, 0]
    for preset in ("ials", "hu2008", "explicit"):
        assert counted_pairs(VALUES, resolve_spec(preset)).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("preset", "given", "expected"),
    [
        ("ials", {"regularization": 0.5}, [0.5 * 10, 0.5 * 14]),  # 0.1 of 100 are counted
        ("ials", {"regularization": 0.5, "beta": 0.0}, [0, 0.5 * 4]),
        ("ials", {"regularization": 0.5, "beta": 0.05, "nu": 0.5}, [0.5 * 5**0.5, 0.5 * 3]),
        ("hu2008", {"regularization": 0.5}, [0.5, 0.5]),
        ("mllib", {"regularization": 0.5}, [0, 2]),
        ("explicit", {"regularization": 0.5}, [0, 2]),
    ],
)
def test_row_regularization_by_hand(preset, given, expected):
    penalty = row_regularization(np.array([0.0, 4.0]), 100, resolve_spec(preset, **given))
    np.testing.assert_allclose(penalty, expected, rtol=1e-15)
