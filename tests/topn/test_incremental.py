"""Whose lists are made anew, rule by rule."""

from datetime import datetime

import pytest

from recsys_spark.topn.incremental import changed_users, reusable_lists

WHEN, LATER = datetime(2026, 1, 1), datetime(2026, 1, 2)
ROWS = "user_id string, item_id string, value double, timestamp timestamp"
LISTS = "user_id string, recommendations array<struct<item_id: string, score: float, rank: int>>"
BEFORE = [
    ("same", "a", 1.0, WHEN),
    ("same", "b", 2.0, None),
    ("more", "a", 1.0, WHEN),
    ("less", "a", 1.0, WHEN),
    ("less", "b", 1.0, WHEN),
    ("other", "a", 1.0, WHEN),
    ("rated", "a", 1.0, WHEN),
    ("again", "a", 1.0, WHEN),
    ("gone", "a", 1.0, WHEN),
]
NOW = [
    ("same", "b", 2.0, None),
    ("same", "a", 1.0, WHEN),
    ("more", "a", 1.0, WHEN),
    ("more", "c", 1.0, WHEN),
    ("less", "a", 1.0, WHEN),
    ("other", "b", 1.0, WHEN),
    ("rated", "a", 5.0, WHEN),
    ("again", "a", 1.0, LATER),
    ("new", "a", 1.0, WHEN),
]


def test_a_user_has_changed_if_any_row_has(spark):
    now, before = (spark.createDataFrame(rows, ROWS).repartition(3) for rows in (NOW, BEFORE))
    found = {row["user_id"] for row in changed_users(now, before).collect()}
    assert found == {"more", "less", "other", "rated", "again", "new"}


@pytest.fixture(scope="module")
def lists(spark):
    """Two entries each, but for one."""
    names = {"ann": "ab", "bob": "bc", "cyd": "cd", "dan": "a"}
    rows = [
        (user, [(item, 1.0, at) for at, item in enumerate(items, start=1)])
        for user, items in names.items()
    ]
    return spark.createDataFrame(rows, LISTS)


def kept(lists, changed=(), removed=None, blocked=None):
    spark = lists.sparkSession
    users = spark.createDataFrame([(user,) for user in changed], "user_id string")
    kinds = "item_id string, rule string", "user_id string, item_id string"
    rules = (
        None if rows is None else spark.createDataFrame(rows, kind)
        for rows, kind in zip((removed, blocked), kinds, strict=True)
    )
    return {row["user_id"] for row in reusable_lists(lists, users, *rules, 2).collect()}  # type: ignore[call-arg]


def test_lists_of_the_wanted_length_stay(lists):
    assert kept(lists) == {"ann", "bob", "cyd"}


def test_incremental_changed_users_are_recomputed(lists):
    assert kept(lists, changed=["ann", "dan", "eve"]) == {"bob", "cyd"}


def test_incremental_lists_with_forbidden_items_are_recomputed(lists):
    assert kept(lists, removed=[("b", "denied"), ("b", "unavailable"), ("x", "denied")]) == {"cyd"}
    assert kept(lists, blocked=[("ann", "c"), ("bob", "c")]) == {"ann", "cyd"}
    assert kept(lists, removed=[("a", "denied")], blocked=[("cyd", "d")]) == {"bob"}


def test_lists_keep_what_their_segment_is_allowed(spark, lists):
    segments = spark.createDataFrame(
        [("ann", "s"), ("bob", "s"), ("cyd", "free")], "user_id string, segment string"
    )
    kinds = "segment string, item_id string"
    no_users = spark.createDataFrame([], "user_id string")
    for rows, expected in (
        ([("s", "a"), ("s", "b")], {"ann", "cyd"}),
        ([("s", None)], {"cyd"}),
        ([("other", "x")], {"ann", "bob", "cyd"}),
    ):
        allowed = spark.createDataFrame(rows, kinds)
        kept_now = reusable_lists(lists, no_users, None, None, 2, segments, allowed)
        assert {row["user_id"] for row in kept_now.collect()} == expected
