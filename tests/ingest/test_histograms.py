"""Histograms count every row once, in few bins."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from recsys_spark.ingest.histograms import binned, tallies

SCHEMA = "user long, item long, value double, timestamp timestamp"


def frame(spark, rows):
    return spark.createDataFrame(rows, SCHEMA)


def histograms(rows):
    return {name: binned(counts) for name, counts in tallies(rows).items()}


def test_popularity_is_counted_exactly(spark):
    rows = [
        (user, item, 1.0, None) for item, n in ((1, 123), (2, 123), (3, 7)) for user in range(n)
    ]
    assert tallies(frame(spark, rows))["popularity"] == {123: 2, 7: 1}


def test_histograms_of_stars_are_counts_by_star(spark):
    start = datetime(2024, 1, 1, 12)
    rows = [(user, int(star), star, start) for user in range(4) for star in (0.5, 3.0, 5.0)]
    found = histograms(frame(spark, [*rows, (0, 9, 3.0, start + timedelta(1))]))
    assert found["values"] == [[0.5, 0.5, 4], [3.0, 3.0, 5], [5.0, 5.0, 4]]
    assert found["activity"] == [[3.0, 3.0, 3], [4.0, 4.0, 1]]
    assert found["days"] == [[19723.0, 19723.0, 12], [19724.0, 19724.0, 1]]


def test_histograms_of_counts_without_times_have_bins_that_grow(spark):
    rows = [(user, user, float(user**3 - 50), None) for user in range(1, 200)]
    found = histograms(frame(spark, rows))
    assert found["days"] == []
    assert found["activity"] == [[1.0, 1.0, 199]]
    assert sum(count for *_, count in found["values"]) == 199


@pytest.mark.parametrize(
    "ats",
    [range(-100, 100), range(1, 100_000, 7), [2.0**at for at in range(60)], range(1000, 1100)],
    ids=["signed", "decades", "powers", "narrow"],
)
def test_bins_are_few_adjacent_and_complete(ats):
    bins = binned({float(at): 2 for at in ats})
    assert len(bins) == 24
    assert sum(count for *_, count in bins) == 2 * len(ats)
    assert (bins[0][0], bins[-1][1]) == (min(ats), max(ats))
    for (_, high, _), (low, top, _) in pairwise(bins):
        assert high == low < top
