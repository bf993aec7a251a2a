"""Coverage and concentration from counts, against counting lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.metrics.exposure import exposure_metrics
from tests.reference import lists as plain


def test_equal_exposure_has_no_gini_and_all_the_entropy():
    found = exposure_metrics(np.array([3]), np.array([8]), 12)
    assert found["gini"] == pytest.approx(0)
    assert found["entropy"] == pytest.approx(3)
    assert found["item_coverage"] == 1


def test_personalisation_of_equal_lists_is_zero():
    found = exposure_metrics(np.array([0, 5]), np.array([7, 3]), 5)
    assert found["personalisation"] == pytest.approx(0)
    assert found["item_coverage"] == pytest.approx(3 / 10)
    assert found["gini"] == pytest.approx(0.7)


def test_exposure_of_empty_lists_is_zero():
    assert exposure_metrics(np.array([0]), np.array([4]), 0) == {"item_coverage": 0.0}
    assert exposure_metrics(np.array([], dtype=int), np.array([], dtype=int), 0) == {}


LISTS = st.lists(
    st.lists(st.integers(0, 9), unique=True, min_size=1, max_size=6), min_size=1, max_size=8
)


@settings(deadline=None, max_examples=100)
@given(LISTS)
def test_all_metrics_equal_their_definitions(lists):
    counts = [sum(item in ranked for ranked in lists) for item in range(10)]
    values, items = np.unique(counts, return_counts=True)
    found = exposure_metrics(values[::-1], items[::-1], len(lists))
    assert found == pytest.approx(plain.exposure(lists, range(10)), abs=1e-12)
