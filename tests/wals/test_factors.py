"""Factors of one width in the place of another."""

import numpy as np
import pytest

from recsys_spark.kernels.spec import WalsSpec
from recsys_spark.wals.factors import Factors, initial_vectors, widened


@pytest.mark.parametrize("biases", ["none", "learned"])
def test_widened_factors_keep_what_they_had_and_begin_the_rest(biases):
    ids = np.array([3, 5, 9])
    small, large = (
        WalsSpec(rank=rank, biases=biases, target="value", unobserved_weight=0.0) for rank in (4, 7)
    )
    known = Factors(ids, initial_vectors("item", ids, small) + 1.0)
    wide = widened("item", known, large).vectors
    assert wide.shape == (3, large.width)
    np.testing.assert_array_equal(wide[:, :4], known.vectors[:, :4])
    np.testing.assert_array_equal(wide[:, 4:7], initial_vectors("item", ids, large)[:, 4:7])
    np.testing.assert_array_equal(wide[:, 7:], known.vectors[:, 4:])
