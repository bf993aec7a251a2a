"""How similar two lists are, by hand and against plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.metrics.list_overlap import AGREEMENT, list_agreement
from tests.kernels.ragged import ragged
from tests.reference import lists as plain


def measure(ones, others, cutoffs):
    out = list_agreement(*ragged(ones), *ragged(others), np.array(cutoffs))  # type: ignore[call-arg]
    return [[dict(zip(AGREEMENT, at, strict=True)) for at in user] for user in out.tolist()]


def test_overlap_is_the_share_of_common_items():
    (two, four) = measure([[1, 2, 3, 4]], [[2, 9, 1, 8]], [2, 4])[0]
    assert (two["overlap"], four["overlap"]) == (1 / 2, 2 / 4)
    assert measure([[1, 2]], [[2, 5, 1, 8]], [4])[0][0]["overlap"] == 2 / 4


def test_rbo_weighs_the_first_ranks_more():
    found = measure([[1, 2]], [[1, 3]], [2])[0][0]["rbo"]
    assert found == pytest.approx(0.5 * 0.81 + 0.1 / 0.9 * (0.9 + 0.5 * 0.81))
    assert found > measure([[2, 1]], [[3, 1]], [2])[0][0]["rbo"]


def test_a_list_agrees_with_itself_and_an_empty_one_with_nothing():
    assert (
        measure([[5, 3, 1]], [[5, 3, 1]], [2, 9])[0]
        == [pytest.approx({"overlap": 1.0, "rbo": 1.0})] * 2
    )
    assert measure([[5, 3]], [[]], [2])[0][0] == {"overlap": 0.0, "rbo": 0.0}
    assert np.isnan(list(measure([[]], [[]], [2])[0][0].values())).all()


RANKED = st.lists(st.integers(0, 9), unique=True, max_size=8)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(RANKED, RANKED), min_size=1, max_size=5),
    st.lists(st.integers(1, 10), min_size=1, max_size=3, unique=True).map(sorted),
)
def test_overlap_metrics_equal_their_definitions(users, cutoffs):
    found = measure([one for one, _ in users], [other for _, other in users], cutoffs)
    for (one, other), by_cutoff in zip(users, found, strict=True):
        for k, metrics in zip(cutoffs, by_cutoff, strict=True):
            expected = plain.agreement(one, other, k)
            expected = {n: np.nan if v is None else v for n, v in expected.items()}
            assert metrics == pytest.approx(expected, abs=1e-12, nan_ok=True)
