"""Each metric by hand, then all of them against plain Python."""

from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.metrics.ranking import (
    METRICS,
    measure_lists,
    prepare_truth,
    ranking_metrics,
)
from recsys_spark.kernels.ragged import Coded
from tests.kernels.ragged import ragged
from tests.reference import ranking as plain


def measure(lists, truths, cutoffs):
    """Metrics by user, cut-off and name. truths: items, or items with their gains."""
    graded = any(isinstance(truth, dict) for truth in truths)
    gains = np.array([gain for truth in truths for gain in truth.values()]) if graded else None
    relevant = ragged([list(truth) for truth in truths])
    out = ranking_metrics(*ragged(lists), *relevant, np.array(cutoffs, dtype=np.int64), gains)  # type: ignore[call-arg]
    assert out.shape == (len(lists), len(cutoffs), len(METRICS))
    return [[dict(zip(METRICS, at, strict=True)) for at in user] for user in out.tolist()]


def value(metric, ranked, relevant, k):
    return measure([ranked], [relevant], [k])[0][0][metric]


def test_precision_is_hits_over_k_and_a_short_list_is_filled_with_misses():
    assert value("precision", [1, 9, 2, 8], [1, 2, 3], 4) == pytest.approx(2 / 4)
    assert value("precision", [1, 2], [1, 2, 3], 4) == pytest.approx(2 / 4)


def test_recall_is_hits_over_all_relevant():
    assert value("recall", [1, 9], [1, 2, 3], 2) == pytest.approx(1 / 3)


def test_recall_min_is_hits_over_what_the_list_could_hold():
    assert value("recall_min", [1, 9], [1, 2, 3], 2) == pytest.approx(1 / 2)
    assert value("recall_min", [1, 9], [1], 2) == 1


def test_an_item_that_is_relevant_twice_counts_once_with_the_larger_gain():
    twice = np.array([3, 7, 3, 7, 3]), np.array([1.0, 2.0, 4.0, 1.0, 3.0])
    lists = ragged([[7, 9, 3]])
    cutoffs, bounds = np.array([2, 3]), np.array([0, 5])
    out = ranking_metrics(*lists, bounds, twice[0], cutoffs, twice[1])  # type: ignore[call-arg]
    once = ranking_metrics(  # type: ignore[call-arg]
        *lists, np.array([0, 2]), np.array([3, 7]), cutoffs, np.array([4.0, 2.0])
    )
    np.testing.assert_array_equal(out, once)


def test_hits_are_marked_up_to_the_last_cutoff():
    cutoffs = np.array([1, 3])
    truth = prepare_truth(*ragged([[5, 2, 5], [9]]), cutoffs)  # type: ignore[call-arg]
    lists = Coded(*ragged([[2, 7, 5, 2], [1]]))
    _, hits = measure_lists(lists, truth, cutoffs)
    assert hits.tolist() == [True, False, True, False, False]


def test_a_truth_serves_several_lists_and_the_items_given_stay_as_they_are():
    bounds, items = ragged([[5, 2, 5], [9]])
    gains, cutoffs = np.array([1.0, 2.0, 3.0, 0.5]), np.array([1, 3])
    given = items.copy(), gains.copy(), bounds.copy()
    truth = prepare_truth(bounds, items, cutoffs, gains)
    for lists in ([[2, 7, 5], [1]], [[5], [9, 2]]):
        one = measure_lists(Coded(*ragged(lists)), truth, cutoffs)[0]
        np.testing.assert_array_equal(
            one,
            ranking_metrics(*ragged(lists), *given[2:], given[0], cutoffs, given[1]),  # type: ignore[call-arg]
        )
    for now, before in zip((items, gains, bounds), given, strict=True):
        np.testing.assert_array_equal(now, before)


def test_hit_rate_is_one_with_any_hit():
    assert value("hit_rate", [9, 8, 1], [1, 2], 3) == 1
    assert value("hit_rate", [9, 8, 1], [1, 2], 2) == 0


def test_mrr_is_the_inverse_rank_of_the_first_hit():
    assert value("mrr", [9, 8, 1, 2], [2, 1], 4) == pytest.approx(1 / 3)
    assert value("mrr", [9, 8, 1, 2], [2, 1], 2) == 0


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    assert value("f1", [1, 9, 2, 8], [1, 2, 3], 4) == pytest.approx(2 / (4 / 2 + 3 / 2))
    assert value("f1", [9], [1], 1) == 0


def test_map_sums_precision_at_each_hit_over_all_relevant():
    assert value("map", [1, 9, 2], [1, 2, 3, 4], 3) == pytest.approx((1 + 2 / 3) / 4)


def test_map_min_divides_by_what_the_list_could_hold():
    assert value("map_min", [1, 9, 2], [1, 2, 3, 4], 3) == pytest.approx((1 + 2 / 3) / 3)
    assert value("map_min", [1, 9, 2], [1, 2], 3) == pytest.approx((1 + 2 / 3) / 2)


def test_r_precision_looks_as_far_as_there_are_relevant_items():
    assert value("r_precision", [1, 9, 2], [1, 2], 3) == pytest.approx(1 / 2)
    assert value("r_precision", [1, 2], [1, 2, 3, 4], 2) == pytest.approx(2 / 4)


def test_rbp_weighs_hits_by_the_chance_that_they_are_looked_at():
    assert value("rbp", [1, 9, 2], [1, 2, 3], 3) == pytest.approx(0.2 * (1 + 0.8**2))


def test_graded_ndcg_by_value_and_by_powers_of_two():
    gains = {1: 3.0, 2: 1.0, 3: -2.0}
    ranked, discounts = [2, 3, 1], [1, 1 / log2(3), 1 / log2(4)]
    linear = (1 * discounts[0] + 3 * discounts[2]) / (3 * discounts[0] + 1 * discounts[1])
    powers = (1 * discounts[0] + 7 * discounts[2]) / (7 * discounts[0] + 1 * discounts[1])
    assert value("ndcg_linear", ranked, gains, 3) == pytest.approx(linear)
    assert value("ndcg_exponential", ranked, gains, 3) == pytest.approx(powers)
    assert value("ndcg_linear", [1], {1: 0.0}, 1) == 0
    assert value("ndcg_exponential", [1, 2], {1: 1e6, 2: 31.0}, 2) == pytest.approx(1.0)


def test_ndcg_is_the_discounted_gain_over_that_of_a_perfect_list():
    gain = 1 / log2(3) + 1 / log2(4)
    assert value("ndcg", [9, 1, 2], [1, 2], 3) == pytest.approx(gain / (1 + 1 / log2(3)))
    assert value("ndcg", [9, 1], [1, 2, 3], 2) == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))


def test_an_empty_list_counts_zero_everywhere():
    assert set(measure([[]], [[1, 2]], [3])[0][0].values()) == {0.0}


@pytest.mark.parametrize("k", [1, 3, 10])
def test_a_perfect_list_scores_one_where_neither_its_length_nor_r_limits_it(k):
    found = measure([list(range(k))], [list(range(5))], [k])[0][0]
    assert found.pop("precision") == min(k, 5) / k
    assert found.pop("f1") == pytest.approx(2 * min(k, 5) / (k + 5))
    assert found.pop("rbp") == pytest.approx(1 - 0.8 ** min(k, 5))
    for name in ("recall", "map", "r_precision"):
        assert found.pop(name) == pytest.approx(min(k, 5) / 5)
    assert found == pytest.approx(dict.fromkeys(found, 1.0), abs=1e-15)


def test_ranking_metrics_of_no_users():
    assert measure([], [], [5]) == []


ITEMS = st.integers(0, 12)
GAINS = st.dictionaries(ITEMS, st.sampled_from([-1.0, 0.0, 0.5, 1.0, 4.0]), min_size=1)
USERS = st.lists(
    st.tuples(st.lists(ITEMS, unique=True), GAINS),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=100)
@given(USERS, st.lists(st.integers(1, 15), min_size=1, max_size=4, unique=True).map(sorted))
def test_all_metrics_equal_their_definitions(users, cutoffs):
    found = measure([ranked for ranked, _ in users], [truth for _, truth in users], cutoffs)
    for (ranked, truth), by_cutoff in zip(users, found, strict=True):
        for k, metrics in zip(cutoffs, by_cutoff, strict=True):
            assert metrics == pytest.approx(plain.metrics(ranked, truth, k), abs=1e-12)
