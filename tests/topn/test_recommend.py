"""Lists against sorting everything: seen items, ties, unknown users, filling, any partitioning."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.topn.business_rules import Policy
from recsys_spark.topn.catalog import Tally, with_factors
from recsys_spark.topn.recommend import make_lists, read_catalog
from recsys_spark.topn.request import ByFactors, Layout, Request
from tests.reference.topn import top_n

USERS, ITEMS, RANK = 16, 12, 3
UNKNOWN = ("newcomer", None)
COLD_ITEMS = {3, 8}  # in the history, without factors
Entry = tuple[Any, float, int]


class World:
    """Integer-valued factors, so that scores are exact and ties frequent."""

    def __init__(self, item_type: str) -> None:
        draw = random.Random(11)
        grid = [[draw.randint(-1, 2) for _ in range(RANK)] for _ in range(USERS + ITEMS)]
        self.users, self.items = grid[:USERS], grid[USERS:]
        self.pairs = {(u, i) for u in range(USERS - 1) for i in range(ITEMS) if draw.random() < 0.4}
        self.pairs |= {(USERS - 1, i) for i in range(ITEMS)}  # has seen everything
        names = draw.sample(range(1, 200), ITEMS)
        self.item_type = item_type
        self.ids = [str(n) for n in names] if item_type == "string" else names
        self.order = sorted(range(ITEMS), key=lambda i: self.ids[i])
        counts = [sum(i == item for _, i in self.pairs) for item in range(ITEMS)]
        self.popularity = [count / USERS for count in counts]

    def request(
        self,
        spark: SparkSession,
        n: int,
        fill: bool,
        partitions: int = 2,
        label: str = "id",
        tiles: int = 1,
    ) -> Request:
        """By the factors, in two files; the catalog has its factors unless it is tiled."""

        def factors(rows: list[list[int]], left_out: set[int]) -> DataFrame:
            table = [
                (at, [float(x) for x in row]) for at, row in enumerate(rows) if at not in left_out
            ]
            return spark.createDataFrame(table, "id int, factors array<float>")

        known = [(f"user{u}", u) for u in range(USERS)]
        history = spark.createDataFrame(sorted(self.pairs), "user int, item int")
        ids = spark.createDataFrame(
            list(zip(self.ids, range(ITEMS), strict=True)), f"id {self.item_type}, index int"
        )
        users = spark.createDataFrame([*known, UNKNOWN], "user_id string, user int")
        items = factors(self.items, COLD_ITEMS)
        catalog = read_catalog(history.repartition(partitions), ids, label)
        return Request(
            users.repartition(partitions),
            catalog if tiles > 1 else with_factors(catalog, items),
            n,
            fill,
            ByFactors(factors(self.users, {0}), items, tiles),
            history,
            layout=Layout(2),
        )

    def expected(self, user: int | None, n: int, fill: bool, model: bool) -> list[Entry]:
        """By sorting, in the order of the item ids."""
        seen = {place for place, i in enumerate(self.order) if (user, i) in self.pairs}
        candidates = [i not in COLD_ITEMS for i in self.order]
        scored: list[tuple[int, float]] = []
        if model and user not in (None, 0):
            vector = np.array(self.users[user])
            scores = [float(vector @ np.array(self.items[i])) for i in self.order]
            scored = top_n(scores, candidates, seen, n)
        if fill:
            without = seen | {place for place, _ in scored}
            popularity = [self.popularity[i] for i in self.order]
            scored += top_n(popularity, [True] * ITEMS, without, n - len(scored))
        return [
            (self.ids[self.order[place]], float(np.float32(score)), rank)
            for rank, (place, score) in enumerate(scored, start=1)
        ]

    def source(self, user: int | None, n: int, model: bool) -> str:
        by_model = len(self.expected(user, n, False, model))
        listed = len(self.expected(user, n, True, model))
        return "popular" if not by_model else "model+popular" if listed > by_model else "model"


@pytest.fixture(scope="module", params=["string", "bigint"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def compare(spark: SparkSession, world: World, actual: DataFrame, rows: list[Any]) -> None:
    kind = f"array<struct<item_id: {world.item_type}, score: float, rank: int>>"
    expected = spark.createDataFrame(rows, f"user_id string, recommendations {kind}, source string")
    assert_df_equality(actual, expected, ignore_row_order=True, ignore_nullable=True)


def everyone() -> list[tuple[str, int | None]]:
    return [*((f"user{u}", u) for u in range(USERS)), UNKNOWN]


@pytest.mark.parametrize("n", [3, ITEMS + 5], ids=["three", "more_than_there_are"])
def test_filled_lists_are_those_of_sorting_everything(
    spark: SparkSession, world: World, n: int
) -> None:
    actual = make_lists(world.request(spark, n, fill=True)).every()
    rows = [
        (name, world.expected(user, n, True, True), world.source(user, n, True))
        for name, user in everyone()
    ]
    lengths = {name: len(entries) for name, entries, _ in rows}
    assert lengths[f"user{USERS - 1}"] == 0
    assert lengths["newcomer"] == min(n, ITEMS)
    if n > ITEMS:
        assert {source for *_, source in rows} == {"model", "model+popular", "popular"}
    compare(spark, world, actual, rows)


def test_without_filling_lists_are_the_models_alone(spark: SparkSession, world: World) -> None:
    actual = make_lists(world.request(spark, 4, fill=False)).every()
    rows = []
    for name, user in everyone():
        entries = world.expected(user, 4, False, True)
        rows.append((name, entries, "model" if entries else "popular"))
    compare(spark, world, actual, rows)


def test_without_a_model_every_user_gets_what_is_popular_and_unseen(
    spark: SparkSession, world: World
) -> None:
    request = replace(world.request(spark, 3, fill=True), ranked_by=None)
    actual = make_lists(request).every()
    rows = [(name, world.expected(user, 3, True, False), "popular") for name, user in everyone()]
    compare(spark, world, actual, rows)


def test_lists_without_seen_rows_leave_out_no_item(spark: SparkSession) -> None:
    world = World("string")
    request = replace(world.request(spark, ITEMS, fill=True), seen=None)
    actual = make_lists(request).every()
    lists = {row["user_id"]: row["recommendations"] for row in actual.collect()}
    assert {name: len(entries) for name, entries in lists.items()} == {
        name: ITEMS for name, _ in everyone()
    }
    assert all(len({entry["item_id"] for entry in entries}) == ITEMS for entries in lists.values())


def test_string_ids_break_ties_as_strings(spark: SparkSession) -> None:
    ids = ["10", "9", "2", "B", "a", "é"]
    table = [(at, [1.0]) for at in range(len(ids))]
    factors = spark.createDataFrame(table, "id int, factors array<float>")
    pairs = [(0, at) for at in range(len(ids))]
    named = spark.createDataFrame([(x, at) for at, x in enumerate(ids)], "id string, index int")
    catalog = read_catalog(spark.createDataFrame(pairs, "user int, item int"), named)
    request = Request(
        spark.createDataFrame([("u", 0)], "user_id string, user int"),
        with_factors(catalog, factors),
        n=10,
        fill=True,
        ranked_by=ByFactors(factors),
    )
    row = make_lists(request).every().first()
    assert row is not None
    assert [entry["item_id"] for entry in row["recommendations"]] == sorted(ids)


def test_lists_can_name_items_by_index(spark: SparkSession) -> None:
    world = World("string")
    by_id, by_index = (
        make_lists(world.request(spark, 5, fill=True, label=label)).every().collect()
        for label in ("id", "index")
    )
    named = {
        row["user_id"]: [world.ids[entry["item_id"]] for entry in row["recommendations"]]
        for row in by_index
    }
    assert named == {
        row["user_id"]: [entry["item_id"] for entry in row["recommendations"]] for row in by_id
    }


def test_partitions_do_not_change_a_bit(spark: SparkSession) -> None:
    world = World("string")
    one, seven = (
        sorted(map(str, make_lists(world.request(spark, 5, True, parts)).every().collect()))
        for parts in (1, 7)
    )
    assert one == seven


def test_lists_in_parts_are_those_in_one_piece(spark: SparkSession) -> None:
    request = replace(World("string").request(spark, 5, fill=True), layout=Layout(2, 3))
    lists = make_lists(request)
    parts = [lists.of(lists.rows.where(F.col("part") == part)) for part in range(6)]
    apart = [row for part in parts for row in part.frame().collect()]
    assert len(apart) == USERS + 1
    assert sorted(map(str, apart)) == sorted(map(str, lists.every().collect()))


def test_lists_without_a_layout_keep_the_order_of_the_users(spark: SparkSession) -> None:
    """Where users bring their factors and what they have seen, nothing is joined or shuffled."""
    world = World("string")
    request = world.request(spark, 5, fill=True)
    expected = {row["user_id"]: row for row in make_lists(request).every().collect()}
    rows = [
        (f"user{u}", None if u == 0 else [float(x) for x in world.users[u]], sorted(
            item for user, item in world.pairs if user == u
        ))
        for u in reversed(range(USERS))
    ]  # fmt: skip
    users = spark.createDataFrame(
        rows, "user_id string, factors array<float>, seen array<bigint>"
    ).coalesce(1)
    own = replace(request, users=users, ranked_by=None, seen=None, layout=None)
    assert make_lists(own).every().collect() == [expected[name] for name, *_ in rows]


@pytest.mark.parametrize("tiles", [2, 5, ITEMS + 3])
def test_tiles_do_not_change_a_bit(spark: SparkSession, tiles: int) -> None:
    world = World("string")
    policy = Policy(
        removed=spark.createDataFrame([(1, "denied"), (5, "denied")], "item int, rule string"),
        blocked=spark.createDataFrame([("user3", 2), ("user4", 7)], "user_id string, item int"),
        min_score=-1.0,
        segments=spark.createDataFrame(
            [("user5", "s"), ("user6", "s"), ("newcomer", "s")], "user_id string, segment string"
        ),
        allowed_in=spark.createDataFrame(
            [("s", item) for item in (0, 2, 4, 9)], "segment string, item int"
        ),
    )
    whole, tiled = Tally.of(spark), Tally.of(spark)
    one, several = (
        sorted(map(str, make_lists(replace(request, policy=policy), tally).every().collect()))
        for tally, request in (
            (whole, world.request(spark, 5, fill=True)),
            (tiled, world.request(spark, 5, fill=True, tiles=tiles)),
        )
    )
    assert one == several
    assert tiled.below.value == whole.below.value > 0
    assert tiled.possible.value == whole.possible.value
