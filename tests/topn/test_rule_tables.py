"""Tables of constraints, each by hand, and the policy that is made of them."""

from datetime import UTC, datetime

import pytest

from recsys_spark.topn.business_rules import Policy
from recsys_spark.topn.rule_tables import (
    RuleTables,
    popular_in_segments,
    removed_items,
    seldom_used,
    with_tables,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ["a", "b", "c", "d"]  # index 0 to 3


@pytest.fixture(scope="module")
def ids(spark):
    rows = [(name, at) for at, name in enumerate(NAMES)]
    return spark.createDataFrame(rows, "id string, index int")


def removed(ids, allow=None, deny=None, windows=None):
    spark = ids.sparkSession
    lists = (
        None if some is None else spark.createDataFrame([(x,) for x in some], "item_id string")
        for some in (allow, deny)
    )
    frame = None
    if windows is not None:
        kind = "item_id string, since string, until string"
        frame = spark.createDataFrame(windows, kind).selectExpr(
            "item_id", "cast(since as timestamp) since", "cast(until as timestamp) until"
        )
    found = removed_items(ids, *lists, frame, NOON)  # type: ignore[call-arg]
    return None if found is None else {(NAMES[row["item"]], row["rule"]) for row in found.collect()}


def test_without_rules_nothing_is_removed(ids):
    assert removed(ids) is None


def test_deny_list_removes_items_and_ignores_unknown_ids(ids):
    assert removed(ids, deny=["b", "x"]) == {("b", "denied")}


def test_allow_list_removes_other_items(ids):
    assert removed(ids, allow=["b", "c"]) == {("a", "not_allowed"), ("d", "not_allowed")}


def test_an_empty_list_of_what_is_allowed_leaves_nothing(ids):
    assert removed(ids, allow=[]) == {(name, "not_allowed") for name in NAMES}


def test_an_item_may_be_removed_by_several_rules(ids):
    assert removed(ids, allow=["a"], deny=["a", "b"]) == {
        ("a", "denied"), ("b", "denied"),
        ("b", "not_allowed"), ("c", "not_allowed"), ("d", "not_allowed"),
    }  # fmt: skip


def test_items_that_too_few_users_interacted_with_are_removed(spark, ids):
    pairs = [(user, item) for item, users in ((0, 3), (1, 2), (2, 1)) for user in range(users)]
    history = spark.createDataFrame(pairs, "user int, item int").repartition(2)
    for least, expected in ((1, "d"), (2, "cd"), (3, "bcd"), (4, "abcd")):
        seldom = seldom_used(history, ids, least)
        rows = removed_items(ids, None, None, None, NOON, seldom).collect()
        assert {(NAMES[row["item"]], row["rule"]) for row in rows} == {
            (name, "with_too_few_users") for name in expected
        }


@pytest.mark.parametrize(
    ("since", "until", "there"),
    [
        (None, None, True),
        ("2026-03-01 12:00:00", None, True),
        ("2026-03-01 12:00:01", None, False),
        (None, "2026-03-01 12:00:00", False),
        (None, "2026-03-01 12:00:01", True),
        ("2026-01-01", "2026-02-01", False),
    ],
)
def test_a_window_has_its_beginning_and_not_its_end(ids, since, until, there):
    expected = set() if there else {("c", "unavailable")}
    assert removed(ids, windows=[("c", since, until)]) == expected


def test_an_item_with_several_windows_can_be_had_in_any(ids):
    windows = [("c", "2026-01-01", "2026-02-01"), ("c", "2026-03-01", None)]
    assert removed(ids, windows=windows) == set()


def test_popular_items_of_a_segment_are_counted_among_its_users(spark):
    rows = [("u", 0), ("u", 2), ("v", 2), ("w", 3), ("x", 3)]
    history = spark.createDataFrame(rows, "user_id string, item int")
    segments = spark.createDataFrame(
        [("u", "s"), ("v", "s"), ("w", "t"), ("unknown", "t")], "user_id string, segment string"
    )
    frame = popular_in_segments(history, segments, 1)
    assert sorted(map(tuple, frame.collect())) == [("s", 2, 1.0), ("t", 3, 1.0)]
    every = popular_in_segments(history, segments, 9)
    assert ("s", 0, 0.5) in set(map(tuple, every.collect()))


def test_constraints_are_looked_up_in_the_interactions(spark, ids):
    """Item d has its first event on the last day; x and y are unknown."""
    events = [("u", 0, 1), ("v", 0, 9), ("v", 1, 2), ("v", 3, 9)]
    history = spark.createDataFrame(events, "user_id string, item int, day int").selectExpr(
        "*", "hash(user_id) user", "timestamp_seconds(86400 * day) timestamp"
    )
    pairs = [("u", "a"), ("u", "a"), ("u", "x")]
    allowed = [("s", "c"), ("t", "y")]
    given = RuleTables(
        NOON,
        min_users=1,
        blocked=spark.createDataFrame(pairs, "user_id string, item_id string"),
        segments=spark.createDataFrame([("u", "s")], "user_id string, segment string"),
        popular=5,
        allowed_in=spark.createDataFrame(allowed, "segment string, item_id string"),
        new_items=spark.createDataFrame([("b",), ("x",)], "item_id string"),
        new_days=1.0,
    )
    found = with_tables(Policy(diversity=0.5, new_slots=1), given, history, ids)

    def rows(frame):
        return sorted(map(tuple, frame.collect()))

    assert found.diversity == 0.5
    assert rows(found.removed) == [(2, "with_too_few_users")]
    assert rows(found.blocked) == [("u", 0)]
    assert rows(found.popular_in) == [("s", 0, 1.0)]
    assert rows(found.allowed_in) == [("s", 2), ("t", -1)]
    assert rows(found.new_items) == [(1,), (3,)]
    assert with_tables(Policy(), RuleTables(NOON), history, ids) == Policy()
