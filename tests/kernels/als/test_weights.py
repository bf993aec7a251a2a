"""Unobserved weights, L of each row, nu_star's scale, and the balance of weights, by hand."""

import numpy as np
import pytest

from recsys_spark.kernels.als.spec import PRESETS, resolve_spec
from recsys_spark.kernels.als.weights import (
    counted_pairs,
    nu_star_scale,
    ratio_warning,
    row_regularization,
    unobserved_weights,
    weight_ratio,
)

COUNTS = np.array([0.0, 4.0])


@pytest.mark.parametrize(
    ("preset", "given", "expected"),
    [
        ("ials", {"regularization": 0.5}, [0.5 * 10, 0.5 * 14]),  # 0.1 of 100 are counted
        ("ials", {"regularization": 0.5, "beta": 0.0}, [0, 0.5 * 4]),
        ("ials", {"regularization": 0.5, "beta": 0.05, "nu": 0.5}, [0.5 * 5**0.5, 0.5 * 3]),
        ("irspack", {"regularization": 0.5}, [0.5 * 100, 0.5 * 104]),
        ("hu2008", {"regularization": 0.5}, [0.5, 0.5]),
        ("mllib", {"regularization": 0.5}, [0, 2]),
        ("explicit", {"regularization": 0.5}, [0, 2]),
    ],
)
def test_row_regularization_by_hand(preset, given, expected):
    for side in ("user", "item"):
        penalty = row_regularization(COUNTS, 100, resolve_spec(preset, **given), side)
        np.testing.assert_allclose(penalty, expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("counted", "expected"),
    [("all", [1, 1, 1]), ("positive", [1, 0, 1]), ("weights", [2, 5, 0.5])],
)
def test_pairs_count_by_number_or_weight(counted, expected):
    a, b = np.array([2, 5, 0.5], np.float32), np.array([3, 0, 1], np.float32)
    assert counted_pairs(a, b, resolve_spec("ials", counted=counted)).tolist() == expected


def test_each_side_may_have_its_own_strength():
    spec = resolve_spec("mllib", regularization=0.5, item_regularization=2.0)
    assert row_regularization(COUNTS, 100, spec, "user").tolist() == [0, 2]
    assert row_regularization(COUNTS, 100, spec, "item").tolist() == [0, 8]


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [
        (0.0, [1, 1, 1]),
        (1.0, [0.5, 0.5, 2]),
        (0.5, [0.75, 0.75, 1.5]),
        (-1.0, [4 / 3, 4 / 3, 1 / 3]),
    ],
)
def test_unobserved_weights_are_powers_with_mean_one(exponent, expected):
    weights = unobserved_weights([4, 4, 16], exponent)
    assert weights.dtype == np.float64
    np.testing.assert_allclose(weights, expected, rtol=1e-15)
    assert weights.mean() == pytest.approx(1.0)


def test_unobserved_weights_of_other_rows_keep_the_mean_of_their_side():
    weights = unobserved_weights([4, 25], 0.5, side=[4, 4, 16])
    np.testing.assert_allclose(weights, [0.75, 1.875], rtol=1e-15)


def test_unobserved_weights_of_one_row_are_one():
    assert unobserved_weights([7], 0.8).tolist() == [1.0]


def irspacks_scale(user_counts, item_counts, alpha0, nu):
    """compute_reg_scale of irspack, cell by cell."""
    users = [(n + alpha0 * len(item_counts)) ** nu for n in user_counts]
    return sum(users) + sum((n + alpha0 * len(user_counts)) ** nu for n in item_counts)


@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("nu_star", [0.3, 1.0])
def test_nu_star_keeps_the_sum_of_the_penalties(nu, nu_star):
    users, items = [3.0, 1.0, 5.0], [2.0, 7.0]
    spec = resolve_spec("irspack", unobserved_weight=0.2, nu=nu, nu_star=nu_star)
    scale = nu_star_scale(np.array(users), np.array(items), spec)
    expected = irspacks_scale(users, items, 0.2, nu_star) / irspacks_scale(users, items, 0.2, nu)
    assert scale == pytest.approx(expected, rel=1e-14)


def test_without_nu_star_or_at_it_the_scale_is_one():
    counts = np.array([3.0, 1.0])
    assert nu_star_scale(counts, counts, resolve_spec("ials", nu=0.4)) == 1.0
    assert nu_star_scale(counts, counts, resolve_spec("ials", nu=0.4, nu_star=0.4)) == 1.0


def test_weight_ratio_is_of_the_pull_to_one_and_to_zero():
    spec = resolve_spec("ials", unobserved_weight=0.2)
    # Five likes of a = b = 2 and a dislike of a = 3, b = 0, among 100 cells of weight 0.2.
    assert weight_ratio(13.0, 10.0, 100.0, spec) == pytest.approx(10 / (0.2 * 100 + 3))
    # Where targets are 1, nothing pulls likes to 0: b = a + w0 takes their 0.2 away.
    assert weight_ratio(10.0, 11.0, 100.0, spec) == pytest.approx(11 / (0.2 * 95))
    assert weight_ratio(10.0, 10.0, 100.0, resolve_spec("ials", unobserved_weight=0.0)) == np.inf


@pytest.mark.parametrize(
    ("rows", "users", "items", "w0"),
    [
        (10.0e6, 136_677, 20_108, 0.1),
        (33.6e6, 571_355, 41_140, 0.02),
        (994_169, 6_040, 3_706, 0.3),
        (1_445_622, 55_187, 9_916, 0.007),
    ],
)
def test_googles_published_settings_pass_without_a_warning(rows, users, items, w0):
    spec = resolve_spec("ials", unobserved_weight=w0)
    ratio = weight_ratio(rows, rows, users * items, spec)
    assert 0.03 < ratio < 0.5
    assert ratio_warning(ratio, spec) is None


@pytest.mark.parametrize(
    ("ratio", "cure"),
    [
        (100.0, "raise unobserved_weight"),
        (np.inf, "raise unobserved_weight"),
        (1e-5, "lower unobserved_weight"),
    ],
)
def test_a_ratio_far_off_is_warned_about_with_the_cure(ratio, cure):
    assert cure in ratio_warning(ratio, PRESETS["ials"])
    assert "inf times" not in ratio_warning(ratio, PRESETS["ials"])
    assert "alpha" not in ratio_warning(ratio, PRESETS["ials"]), "binary weights do not use it"
    assert "change alpha" in ratio_warning(ratio, PRESETS["hu2008"])
    assert ratio_warning(ratio, PRESETS["mllib_explicit"]) is None
