"""Coverage, concentration and groups of listed items."""

import random

import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from recsys_spark.evaluation import measure_exposure
from recsys_spark.schema import METRICS as TABLE
from tests.reference import lists as plain

DRAW = random.Random(12)
ITEMS = [f"i{at}" for at in range(15)]
LISTS = [DRAW.sample(ITEMS[:12], DRAW.randint(1, 6)) for _ in range(20)]
GROUPS = [("i0", "a"), ("i1", "a"), ("i1", "b"), ("i14", "c")]


def frames(spark, partitions=2):
    rows = [
        (f"u{at}", [(item, rank) for rank, item in enumerate(ranked, start=1)])
        for at, ranked in enumerate([*LISTS, [], []])
    ]
    entries = "array<struct<item_id: string, rank: int>>"
    lists = spark.createDataFrame(rows, f"user_id string, recommendations {entries}")
    items = spark.createDataFrame([(item,) for item in ITEMS], "item_id string")
    groups = spark.createDataFrame(GROUPS, "item_id string, group string")
    return [frame.repartition(partitions) for frame in (lists, items, groups)]


def figures(frame):
    return {(row["metric"], row["k"], row["segment"]): row for row in frame.collect()}


def test_metrics_follow_the_definitions(spark):
    lists, items, _ = frames(spark)
    frame = measure_exposure(lists, items, [4, 2], "run", "mine", "validation").table
    assert frame.schema == TABLE
    found = figures(frame)
    for k in (2, 4):
        expected = plain.exposure([ranked[:k] for ranked in LISTS], ITEMS)
        expected["user_coverage"] = 20 / 22
        actual = {metric: row["value"] for (metric, at, _), row in found.items() if at == k}
        assert actual == pytest.approx(expected, abs=1e-12)
    for row in found.values():
        assert (row["run_id"], row["model"], row["split"]) == ("run", "mine", "validation")
        assert (row["segment"], row["users"]) == ("all", 20)


def test_groups_have_their_share_of_the_lists_and_of_the_catalog(spark):
    found = figures(measure_exposure(*frames(spark)[:2], [3], "run", groups=frames(spark)[2]).table)  # type: ignore[call-arg, misc]
    listed = [item for ranked in LISTS for item in ranked[:3]]
    for group in "abc":
        members = [item for item, name in GROUPS if name == group]
        share = sum(item in members for item in listed) / len(listed)
        assert found["exposure", 3, group]["value"] == pytest.approx(share)
        assert found["catalog_share", 3, group]["value"] == pytest.approx(len(members) / 15)


def test_exposure_separates_models_and_leaves_out_items_outside_the_catalog(spark):
    lists, items, groups = frames(spark)
    both = lists.withColumn("model", F.lit("a")).unionByName(
        lists.where("user_id < 'u13'").withColumn("model", F.lit("b"))
    )
    some = items.where("item_id != 'i3'")
    found = measure_exposure(both, some, [3], "run", ["a", "b"], groups=groups, curve_at=3)
    rows = {(r["model"], r["metric"], r["segment"]): r["value"] for r in found.table.collect()}
    for name, frame in (("a", lists), ("b", lists.where("user_id < 'u13'"))):
        alone = measure_exposure(frame, some, [3], "run", name, groups=groups)
        expected = {(r["metric"], r["segment"]): r["value"] for r in alone.table.collect()}
        assert {key[1:]: value for key, value in rows.items() if key[0] == name} == expected
        assert found.curves[name] == alone.curves[name]
        assert found.curves[name][0] == [0, 0]
        assert found.curves[name][-1] == [1, 1]


def test_partitions_do_not_change_a_bit(spark):
    one, other = (
        measure_exposure(*frames(spark, partitions)[:2], [2, 4], "run").table.sort("metric", "k")  # type: ignore[call-arg]
        for partitions in (1, 5)
    )
    assert_df_equality(one, other)


def test_exposure_of_no_users(spark):
    lists, items, _ = frames(spark)
    found = figures(measure_exposure(lists.where("user_id = 'u20'"), items, [5], "run").table)
    assert {metric: row["value"] for (metric, _, _), row in found.items()} == {
        "item_coverage": 0.0, "user_coverage": 0.0,
    }  # fmt: skip
