"""Popularity, and random scores."""

from datetime import datetime, timedelta

import numpy as np
from chispa import assert_df_equality

from recsys_spark.baselines.constant_scores import popularity_scores, random_scores, recent
from recsys_spark.evaluation.segments import count_rows


def history(spark, partitions=2):
    start = datetime(2024, 5, 1)
    rows = [(u, i, start + timedelta(days=u)) for u in range(9) for i in range(u + 1)]
    frame = spark.createDataFrame(rows, "user int, item int, timestamp timestamp")
    return frame.repartition(partitions)


def sides(spark, partitions=2):
    return [history(spark, partitions).select(side).distinct() for side in ("user", "item")]


def test_popularity_scores_are_the_rows_of_items_for_every_user(spark):
    counts = count_rows(history(spark), "item")
    users, items = popularity_scores(sides(spark)[0], counts)
    assert {row["id"]: row["factors"] for row in users.collect()} == {u: [1.0] for u in range(9)}
    assert {row["id"]: row["factors"] for row in items.collect()} == {
        i: [9.0 - i] for i in range(9)
    }


def test_recent_rows_are_counted_back_from_the_newest(spark):
    found = recent(history(spark), 2.0)
    assert {row["user"] for row in found.select("user").distinct().collect()} == {6, 7, 8}
    assert recent(history(spark).selectExpr("user", "null timestamp"), 2.0) is None


def test_random_directions_are_a_function_of_seed_and_index(spark):
    one = random_scores(*sides(spark), 3)  # type: ignore[call-arg]
    other = random_scores(*sides(spark, 5), 3)  # type: ignore[call-arg]
    for ours, theirs in zip(one, other, strict=True):
        assert_df_equality(ours.sort("id"), theirs.sort("id"))
    changed = random_scores(*sides(spark), 4)[0]  # type: ignore[call-arg]
    first, second = (
        {row["id"]: row["factors"] for row in frame.collect()} for frame in (one[0], changed)
    )
    assert first != second
    lengths = np.linalg.norm(np.array(list(first.values())), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-6)


def test_random_scores_are_uniform(spark):
    """Over many users every item comes first about equally often."""
    users = spark.range(3000).selectExpr("cast(id as int) user")
    items = spark.range(10).selectExpr("cast(id as int) item")
    ours, theirs = (
        np.array([row["factors"] for row in frame.sort("id").collect()])
        for frame in random_scores(users, items, 1)
    )
    first = np.bincount((ours @ theirs.T).argmax(axis=1), minlength=10)
    assert first.min() > 200
    assert first.max() < 420
