"""The k-core against removing by hand until nothing changes."""

import random
from collections import Counter

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.ingest.k_core import k_core

Pair = tuple[int, int]


def plain_core(pairs: set[Pair], min_user_items: int, min_item_users: int) -> set[Pair]:
    """One offending user or item at a time leaves, in arbitrary order."""
    pairs = set(pairs)
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        few = [p for p in pairs if users[p[0]] < min_user_items or items[p[1]] < min_item_users]
        if not few:
            return pairs
        user, item = few[0]
        drop_user = users[user] < min_user_items
        pairs = {p for p in pairs if (p[0] != user if drop_user else p[1] != item)}


def kept(spark: SparkSession, pairs: set[Pair], users: int, items: int) -> list[Pair]:
    frame = spark.createDataFrame(sorted(pairs), "user_id int, item_id int")
    core = k_core(frame, users, items, _checkpoint).select("user_id", "item_id")
    return [tuple(row) for row in core.collect()]


def _checkpoint(frame: DataFrame, _name: str) -> DataFrame:
    return frame.localCheckpoint()


def test_k_core_of_a_chain_is_empty(spark: SparkSession) -> None:
    """Every round takes one link away, so that a single round would leave most of it."""
    chain = {(at, at) for at in range(3)} | {(at, at + 1) for at in range(3)}
    square = {(u, i) for u in (10, 11) for i in (10, 11)}
    assert sorted(kept(spark, chain | square, 2, 2)) == sorted(square)


@pytest.mark.parametrize(("seed", "users", "items"), [(0, 3, 2), (1, 1, 4), (2, 4, 1), (3, 3, 3)])
def test_core_is_the_plain_fixpoint(spark: SparkSession, seed: int, users: int, items: int) -> None:
    draw = random.Random(seed)
    pairs = {(int(draw.paretovariate(0.6)) % 20, draw.randrange(16)) for _ in range(110)}
    expected = plain_core(pairs, users, items)
    assert 0 < len(expected) < len(pairs)
    assert sorted(kept(spark, pairs, users, items)) == sorted(expected)


def test_k_core_may_be_empty(spark: SparkSession) -> None:
    assert kept(spark, {(1, 1), (1, 2), (2, 1)}, 3, 3) == []


def test_k_core_of_one_keeps_all_rows(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(1, 1)], "user_id int, item_id int")

    def never(_frame: DataFrame, _name: str) -> DataFrame:
        raise AssertionError("a core of one needs no round")

    assert k_core(frame, 1, 1, never) is frame
