"""Which users and items a metric is averaged over."""

import numpy as np
import pytest
from pyspark.sql import functions as F

from recsys_spark.evaluation.segments import (
    BY_POPULARITY,
    activity,
    by_activity,
    by_attribute,
    by_popularity,
)


def segments(frame):
    return sorted((row[0], row["segment"]) for row in frame.collect())


def pairs(spark, rows):
    """A row a user and number, so many of each."""
    return spark.createDataFrame(
        [(user, at) for user, count in rows.items() for at in range(count)], "user int, item int"
    )


def test_users_are_cold_light_or_heavy(spark):
    rows = [(f"u{at}", count) for at, count in enumerate([1, 2, 3, 4, 7, 9, 0])]
    frame = spark.createDataFrame(rows, "user_id string, rows int")
    named = frame.select("user_id", by_activity(F.col("rows"), 3, 5.5).alias("segment"))
    assert segments(named) == [
        ("u0", "activity=cold"), ("u1", "activity=cold"), ("u2", "activity=light"),
        ("u3", "activity=light"), ("u4", "activity=heavy"), ("u5", "activity=heavy"),
        ("u6", "activity=cold"),
    ]  # fmt: skip


def test_the_median_is_that_of_evaluated_users_who_are_not_cold(spark):
    train = pairs(spark, {0: 1, 1: 2, 2: 3, 3: 4, 4: 6, 9: 50})  # 9 is not evaluated
    held_out, fold_in = pairs(spark, dict.fromkeys(range(8), 2)), pairs(spark, {4: 1, 5: 9, 6: 1})
    assert activity(train, held_out, fold_in, 3) == (6, 5.5)  # of 3, 4, 7 and 9
    assert activity(train, held_out, None, 3) == (6, 4.0)  # of 3, 4 and 6
    assert activity(train, held_out, None, 60) == (6, 0.0)


def test_each_value_of_an_attribute_is_a_segment(spark):
    table = spark.createDataFrame(
        [("a", "DE", 3), ("b", None, 3), ("c", "FR", None)],
        "user_id string, country string, `age group` int",
    )
    assert segments(by_attribute(table)) == [
        ("a", "age group=3"), ("a", "country=DE"), ("b", "age group=3"), ("c", "country=FR"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Half of 100 rows: 40 and 20; four fifths: 10 and 10 more; equal ones stay together.
        ([40, 20, 10, 10, 5, 5, 5, 3, 2], "head head torso torso tail tail tail tail tail"),
        ([2, 2, 2, 2], "head head head head"),
        ([10], "head"),
    ],
)
def test_items_are_of_the_head_the_torso_or_the_tail(rows, expected):
    found = [BY_POPULARITY[part] for part in by_popularity(np.array(rows))]
    assert found == [f"items={name}" for name in expected.split()]
