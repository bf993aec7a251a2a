"""The rules of a policy, each by hand."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from pyspark.sql.types import StringType

from recsys_spark.topn.business_rules import (
    Policy,
    list_rules,
    make_listing,
    with_blocked,
    without,
)
from recsys_spark.topn.catalog import Catalog

CATALOG = Catalog(  # items 2, 0 and 3: c, a, d
    np.array([2, 0, 3]), pa.array(["c", "a", "d"]), StringType(),
    np.ones((3, 2), np.float32), np.array([True, True, False]), np.array([0.5, 0.3, 0.1]),
)  # fmt: skip


def test_removed_items_are_neither_scored_nor_popular(spark):
    frame = spark.createDataFrame(
        [(2, "denied"), (2, "unavailable"), (1, "denied")], "item int, rule string"
    )
    found = without(CATALOG, frame)
    assert found.scored.tolist() == [False, True, False]
    assert found.popularity.tolist() == [0.0, 0.3, 0.1]
    assert without(CATALOG, frame.limit(0)).scored.tolist() == CATALOG.scored.tolist()


def test_blocked_items_join_what_users_have_seen(spark):
    users = spark.createDataFrame(
        [("u", [1]), ("v", None), ("w", [4])], "user_id string, seen array<bigint>"
    )
    blocked = spark.createDataFrame([("u", 7), ("v", 8), ("x", 9)], "user_id string, item int")
    found = {row["user_id"]: row["seen"] for row in with_blocked(users, blocked).collect()}
    assert found == {"u": [1, 7], "v": [8], "w": [4]}


def test_genres_stand_in_the_order_of_the_catalog(spark):
    rows = [(0, ["x", "y", "x"]), (1, ["z"]), (2, ["y"]), (3, [])]
    genres = spark.createDataFrame(rows, "item int, genres array<string>")
    rules = list_rules(CATALOG, Policy(genres=genres, max_per_genre=2, min_score=1))
    own = [part.tolist() for part in np.split(rules.groups.positions, rules.groups.indptr[1:-1])]
    assert [len(part) for part in own] == [1, 2, 0]  # c, a, d
    assert own[0][0] in own[1]
    assert len(set(own[1])) == 2
    assert (rules.most, rules.least) == (2, 1.0)


def test_without_genres_no_item_is_in_a_group():
    rules = list_rules(CATALOG, Policy())
    assert rules.groups.indptr.tolist() == [0, 0, 0, 0]
    assert rules.least == -np.inf


def test_popular_items_lose_score_and_the_most_popular_none():
    catalog = replace(CATALOG, popularity=np.array([0.5, 0.125, 0.0]))
    found = make_listing(catalog, Policy(popularity_discount=0.5), 3, fill=False)
    assert found.catalog.factors.tolist() == [[1, 1], [2, 2], [1, 1]]
    assert make_listing(catalog, Policy(), 3, fill=False).catalog is catalog


def test_reserved_slots_are_the_new_ones_and_the_tails(spark):
    new = spark.createDataFrame([(3,), (1,)], "item int")
    policy = Policy(new_items=new, new_slots=2, tail_slots=1, tail_share=0.45)
    tail, fresh = make_listing(CATALOG, policy, 3, fill=False).reserved
    assert (tail.items.tolist(), tail.slots) == ([False, True, False], 1), "d is not scored"
    assert (fresh.items.tolist(), fresh.slots) == ([False, False, True], 2)
    removed = spark.createDataFrame([(3, "denied")], "item int, rule string")
    fresh = make_listing(CATALOG, replace(policy, removed=removed), 3, fill=False).reserved[1]
    assert not fresh.items.any()


def test_segments_have_what_is_popular_and_allowed_in_them(spark):
    shares = [("s", 0, 0.5), ("s", 2, 1.0), ("t", 3, 1.0)]
    policy = Policy(
        popular_in=spark.createDataFrame(shares, "segment string, item int, share double"),
        removed=spark.createDataFrame([(2, "denied")], "item int, rule string"),
        allowed_in=spark.createDataFrame([("t", 0), ("t", -1)], "segment string, item int"),
    )
    found = make_listing(CATALOG, policy, 3, fill=True).segments
    assert found["s"].popular.positions.tolist() == [1], "without what is removed"
    assert found["s"].popular.shares.tolist() == [0.5]
    assert found["s"].allowed is None
    assert found["t"].allowed.tolist() == [False, True, False]
