"""Factors of new items, against means by hand."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql.types import StringType

from recsys_spark.topn.catalog import Catalog
from recsys_spark.topn.cold_items import estimate

FACTORS = np.array([[4, 0], [0, 2], [2, 6], [0, 0], [0, 0], [0, 0]], np.float32)
CATALOG = Catalog(
    np.arange(6), pa.array(list("abcdef")), StringType(), FACTORS,
    np.array([True, True, True, False, False, False]), np.zeros(6),
)  # fmt: skip


@pytest.fixture
def new(spark):
    return spark.createDataFrame([(3,), (4,), (0,)], "item int")


def test_new_items_have_the_mean_of_their_genres(spark, new):
    """Sea: a and c, mean (3, 3). War: b, (0, 2). No other user has what is in space."""
    rows = [
        (0, ["sea"]), (1, ["war"]), (2, ["sea", "sea", None]),
        (3, ["war", "sea", "space"]), (4, ["space"]), (5, ["sea"]),
    ]  # fmt: skip
    genres = spark.createDataFrame(rows, "item int, genres array<string>").repartition(3)
    found = estimate(CATALOG, new, genres)
    expected = [[4, 0], [0, 2], [2, 6], [1.5, 2.5], [2, 8 / 3], [0, 0]]
    assert found.factors == pytest.approx(np.array(expected))
    assert found.scored.tolist() == CATALOG.scored.tolist()


def test_without_genres_they_have_the_mean_of_all(new):
    found = estimate(CATALOG, new, None)
    assert found.factors[3:5] == pytest.approx(np.array([[2, 8 / 3]] * 2))


def test_cold_items_without_new_or_known_items_are_not_estimated(spark, new):
    known = spark.createDataFrame([(0,)], "item int")
    assert estimate(CATALOG, known, None) is CATALOG
    cold = replace(CATALOG, scored=np.zeros(6, bool))
    assert estimate(cold, new, None) is cold
