"""Which users and items a metric is averaged over."""

import pytest

from recsys_spark.stages.segments import by_activity, by_attribute, by_popularity


def history(spark, counts):
    """As many rows of each user as counted, of items 0, 1, and so on."""
    rows = [(user, item) for user, rows in counts.items() for item in range(rows)]
    return spark.createDataFrame(rows, "user int, item int")


def segments(frame):
    return sorted((row[0], row["segment"]) for row in frame.collect())


def test_users_are_cold_light_or_heavy(spark):
    counts = {0: 1, 1: 2, 2: 3, 3: 4, 4: 7, 5: 9, 9: 30}
    users = spark.createDataFrame([(f"u{at}", at) for at in range(7)], "user_id string, user int")
    found = segments(by_activity(users, history(spark, counts), 3))
    assert found == [
        ("u0", "activity=cold"), ("u1", "activity=cold"), ("u2", "activity=light"),
        ("u3", "activity=light"), ("u4", "activity=heavy"), ("u5", "activity=heavy"),
        ("u6", "activity=cold"),
    ]  # fmt: skip


def test_everybody_may_be_cold(spark):
    users = spark.createDataFrame([("u0", 0)], "user_id string, user int")
    assert segments(by_activity(users, history(spark, {0: 2}), 3)) == [("u0", "activity=cold")]


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
def test_items_are_of_the_head_the_torso_or_the_tail(spark, rows, expected):
    pairs = [(user, item) for item, count in enumerate(rows) for user in range(count)]
    found = segments(by_popularity(spark.createDataFrame(pairs, "user int, item int")))
    assert found == [(item, f"items={name}") for item, name in enumerate(expected.split())]
