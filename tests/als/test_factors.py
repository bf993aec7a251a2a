"""Factors of one width in the place of another."""

import numpy as np
import pytest

from recsys_spark.als import factors
from recsys_spark.als.factors import Factors, initial_vectors, widened
from recsys_spark.kernels.als.spec import WalsSpec


@pytest.mark.parametrize("biases", ["none", "learned"])
def test_widened_factors_keep_their_values_and_start_the_new_columns(biases):
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


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_more_numbers_than_one_array_of_lists_takes_become_one_frame(spark, monkeypatch, rows):
    monkeypatch.setattr(factors, "_NUMBERS", 7)
    ids, vectors = np.arange(rows), np.arange(3 * rows, dtype=np.float32).reshape(-1, 3)
    table = Factors(ids, vectors).frame(spark).toArrow()
    assert table["id"].to_pylist() == ids.tolist()
    assert table["features"].to_pylist() == vectors.tolist()
