"""The rules of a policy, each by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql.types import StringType

from recsys_spark.topn.business_rules import (
    Policy,
    list_rules,
    make_listing,
    popular_in_segments,
    removed_items,
    seldom_used,
    with_blocked,
    without,
)
from recsys_spark.topn.catalog import Catalogue

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ["a", "b", "c", "d"]  # index 0 to 3
CATALOGUE = Catalogue(  # in the order c, a, d; b has no rows
    np.array([2, 0, 3]), pa.array(["c", "a", "d"]), StringType(),
    np.ones((3, 2), np.float32), np.array([True, True, False]), np.array([0.5, 0.3, 0.1]),
)  # fmt: skip


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
    found = removed_items(ids, *lists, frame, NOON)
    return None if found is None else {(NAMES[row["item"]], row["rule"]) for row in found.collect()}


def test_without_rules_nothing_is_removed(ids):
    assert removed(ids) is None


def test_what_is_denied_is_removed_and_unknown_ids_do_nothing(ids):
    assert removed(ids, deny=["b", "x"]) == {("b", "denied")}


def test_only_what_is_allowed_stays(ids):
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


def test_removed_items_are_neither_scored_nor_popular(spark):
    frame = spark.createDataFrame(
        [(2, "denied"), (2, "unavailable"), (1, "denied")], "item int, rule string"
    )
    found = without(CATALOGUE, frame)
    assert found.scored.tolist() == [False, True, False]
    assert found.popularity.tolist() == [0.0, 0.3, 0.1]
    assert without(CATALOGUE, frame.limit(0)).scored.tolist() == CATALOGUE.scored.tolist()


def test_blocked_items_join_what_users_have_seen(spark):
    users = spark.createDataFrame(
        [("u", [1]), ("v", None), ("w", [4])], "user_id string, seen array<bigint>"
    )
    blocked = spark.createDataFrame([("u", 7), ("v", 8), ("x", 9)], "user_id string, item int")
    found = {row["user_id"]: row["seen"] for row in with_blocked(users, blocked).collect()}
    assert found == {"u": [1, 7], "v": [8], "w": [4]}


def test_genres_stand_in_the_order_of_the_catalogue(spark):
    rows = [(0, ["x", "y", "x"]), (1, ["z"]), (2, ["y"]), (3, [])]
    genres = spark.createDataFrame(rows, "item int, genres array<string>")
    rules = list_rules(CATALOGUE, Policy(genres=genres, max_per_genre=2, min_score=1))
    own = [part.tolist() for part in np.split(rules.groups.positions, rules.groups.indptr[1:-1])]
    assert [len(part) for part in own] == [1, 2, 0]  # c, a, d
    assert own[0][0] in own[1]
    assert len(set(own[1])) == 2
    assert (rules.most, rules.least) == (2, 1.0)


def test_without_genres_no_item_is_in_a_group():
    rules = list_rules(CATALOGUE, Policy())
    assert rules.groups.indptr.tolist() == [0, 0, 0, 0]
    assert rules.least == -np.inf


def test_popular_items_lose_score_and_the_most_popular_none():
    catalogue = replace(CATALOGUE, popularity=np.array([0.5, 0.125, 0.0]))
    found = make_listing(catalogue, Policy(popularity_discount=0.5), 3, fill=False)
    assert found.catalogue.factors.tolist() == [[1, 1], [2, 2], [1, 1]]
    assert make_listing(catalogue, Policy(), 3, fill=False).catalogue is catalogue


def test_reserved_places_are_the_new_ones_and_the_tails(spark):
    new = spark.createDataFrame([(3,), (1,)], "item int")
    policy = Policy(new_items=new, new_places=2, tail_places=1, tail_share=0.45)
    tail, fresh = make_listing(CATALOGUE, policy, 3, fill=False).reserved
    assert (tail.items.tolist(), tail.places) == ([False, True, False], 1), "d is not scored"
    assert (fresh.items.tolist(), fresh.places) == ([False, False, True], 2)
    removed = spark.createDataFrame([(3, "denied")], "item int, rule string")
    fresh = make_listing(CATALOGUE, replace(policy, removed=removed), 3, fill=False).reserved[1]
    assert not fresh.items.any()


def test_what_is_popular_in_a_segment_is_counted_among_its_users(spark):
    rows = [("u", 0), ("u", 2), ("v", 2), ("w", 3), ("x", 3)]
    history = spark.createDataFrame(rows, "user_id string, item int")
    segments = spark.createDataFrame(
        [("u", "s"), ("v", "s"), ("w", "t"), ("nobody", "t")], "user_id string, segment string"
    )
    frame = popular_in_segments(history, segments, 1)
    assert sorted(map(tuple, frame.collect())) == [("s", 2, 1.0), ("t", 3, 1.0)]
    every = popular_in_segments(history, segments, 9)
    assert ("s", 0, 0.5) in set(map(tuple, every.collect()))
    policy = Policy(
        popular_in=every,
        removed=spark.createDataFrame([(2, "denied")], "item int, rule string"),
        allowed_in=spark.createDataFrame([("t", 0), ("t", -1)], "segment string, item int"),
    )
    found = make_listing(CATALOGUE, policy, 3, fill=True).segments
    assert found["s"].popular.positions.tolist() == [1], "without what is removed"
    assert found["s"].popular.shares.tolist() == [0.5]
    assert found["s"].allowed is None
    assert found["t"].allowed.tolist() == [False, True, False]
