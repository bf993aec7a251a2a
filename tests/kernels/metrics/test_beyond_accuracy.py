"""What lists are like: each metric by hand, then all of them against plain Python."""

from math import log, log2, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.metrics.beyond_accuracy import LIST_METRICS, Traits, list_metrics
from recsys_spark.kernels.ragged import Coded
from tests.kernels.ragged import ragged
from tests.reference import lists as plain

SHARES = [0.5, 0.25, 0.25, 0.125]
FACTORS = [[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 0.0]]
ATTRIBUTES = [["a"], ["a", "b"], ["c"], []]
ITEMS = dict(enumerate(zip(SHARES, FACTORS, ATTRIBUTES, strict=True)))


def traits(items):
    items = dict(sorted(items.items()))
    ranks = plain.popularity_ranks({item: share for item, (share, _, _) in items.items()})
    vectors = np.array([factors for _, factors, _ in items.values()])
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    names = sorted({name for _, _, names in items.values() for name in names})
    codes = [[names.index(name) for name in attributes] for _, _, attributes in items.values()]
    return Traits(
        -np.log2([share for share, _, _ in items.values()]),
        np.array([ranks[item] for item in items], dtype=np.float64),
        np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0),
        *ragged(codes),
    )


def measure(lists, relevant, histories, items, cutoffs):
    hits = [item in truth for ranked, truth in zip(lists, relevant, strict=True) for item in ranked]
    out = list_metrics(
        Coded(*ragged(lists)),
        np.array(hits, dtype=bool),
        Coded(*ragged(histories)),
        traits(items),
        np.array(cutoffs),
    )
    return [[dict(zip(LIST_METRICS, at, strict=True)) for at in user] for user in out.tolist()]


def value(metric, ranked, k, relevant=(), history=()):
    return measure([ranked], [relevant], [history], ITEMS, [k])[0][0][metric]


def test_novelty_is_the_mean_self_information():
    assert value("novelty", [0, 1, 3], 2) == pytest.approx((-log2(0.5) - log2(0.25)) / 2)


def test_popularity_rank_is_a_share_of_the_catalog_and_ties_share_theirs():
    assert value("popularity_rank", [1], 1) == pytest.approx(2.5 / 4)
    assert value("popularity_rank", [0, 3], 2) == pytest.approx((1 + 4) / 2 / 4)


def test_serendipity_counts_hits_that_popularity_would_rank_lower():
    assert value("serendipity", [3, 0], 2, relevant={3, 0}) == pytest.approx((4 - 1) / 4 / 2)
    assert value("serendipity", [3, 0], 2, relevant={0}) == 0


def test_diversity_is_the_mean_distance_of_factors():
    assert value("diversity", [0, 1, 2], 3) == pytest.approx((0 + 1 + 1) / 3)
    assert value("diversity", [0, 3, 2], 3) == pytest.approx(1.0)  # item 3 has none
    assert np.isnan(value("diversity", [0, 3], 2))


def test_attribute_diversity_is_the_mean_distance_of_attributes():
    assert value("attribute_diversity", [0, 1, 2], 2) == pytest.approx(1 - 1 / sqrt(2))
    assert value("attribute_diversity", [0, 1, 2, 3], 4) == pytest.approx(
        (1 - 1 / sqrt(2) + 1 + 1) / 3
    )


def test_miscalibration_is_the_divergence_from_the_history():
    assert value("miscalibration", [0, 1], 1, history=[0]) == pytest.approx(0, abs=1e-15)
    wanted = 0.5 * log(0.5 / (0.99 * 0.5 + 0.005)) + 0.5 * log(0.5 / 0.005)
    assert value("miscalibration", [1, 2], 1, history=[0, 2]) == pytest.approx(wanted)
    assert np.isnan(value("miscalibration", [1], 1, history=[3]))


def test_an_empty_list_has_no_value_but_no_serendipity():
    found = measure([[]], [{1}], [[1]], ITEMS, [3])[0][0]
    assert found.pop("serendipity") == 0
    assert np.isnan(list(found.values())).all()


RANKED = st.lists(st.integers(-1, 7), unique=True, max_size=8)
KNOWN = st.lists(st.integers(0, 7), unique=True, max_size=8)
NUMBERS = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
WORLD = st.fixed_dictionaries(
    {
        at: st.tuples(
            st.sampled_from([0.1, 0.25, 0.5, 1.0]),
            st.lists(NUMBERS, min_size=3, max_size=3),
            st.lists(st.sampled_from("abcd"), unique=True, max_size=3),
        )
        for at in range(8)
    }
)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(RANKED, st.sets(st.integers(0, 7)), KNOWN), min_size=1, max_size=4),
    WORLD,
    st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True).map(sorted),
)
def test_all_metrics_equal_their_definitions(users, items, cutoffs):
    lists, relevant, histories = zip(*users, strict=True)
    found = measure(lists, relevant, histories, items, cutoffs)
    for user, by_cutoff in enumerate(found):
        for k, metrics in zip(cutoffs, by_cutoff, strict=True):
            expected = plain.list_metrics(*users[user], items, k)  # type: ignore[call-arg]
            expected = {n: np.nan if v is None else v for n, v in expected.items()}
            assert metrics == pytest.approx(expected, abs=1e-9, nan_ok=True)
