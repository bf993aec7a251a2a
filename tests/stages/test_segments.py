"""Which users and items a metric is averaged over."""

import numpy as np
import pytest

from recsys_spark.stages.segments import (
    BY_POPULARITY,
    by_activity,
    by_attribute,
    by_popularity,
)


def segments(frame):
    return sorted((row[0], row["segment"]) for row in frame.collect())


def users(spark, rows):
    return spark.createDataFrame(list(rows.items()), "user_id string, rows int")


def test_users_are_cold_light_or_heavy(spark):
    rows = {"u0": 1, "u1": 2, "u2": 3, "u3": 4, "u4": 7, "u5": 9, "u6": 0}
    assert segments(by_activity(users(spark, rows), 3)) == [
        ("u0", "activity=cold"), ("u1", "activity=cold"), ("u2", "activity=light"),
        ("u3", "activity=light"), ("u4", "activity=heavy"), ("u5", "activity=heavy"),
        ("u6", "activity=cold"),
    ]  # fmt: skip


def test_everybody_may_be_cold(spark):
    assert segments(by_activity(users(spark, {"u0": 2}), 3)) == [("u0", "activity=cold")]


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
