"""What lists are like, from frames to metrics: against the definitions, for ids of any type."""

import random

import pytest
from chispa import assert_approx_df_equality, assert_df_equality
from pyspark.sql import functions as F

from recsys_spark.errors import ContractError
from recsys_spark.evaluation import measure_lists
from recsys_spark.kernels.metrics.beyond_accuracy import LIST_METRICS
from tests.reference import lists as plain

DRAW = random.Random(6)
CUTOFFS = [2, 5]
ITEMS = {
    f"i{at}": (
        DRAW.choice([0.1, 0.2, 0.4]),
        [DRAW.choice([-1.0, 0.5, 2.0]) for _ in range(3)] if at % 5 else None,
        DRAW.sample("abcde", DRAW.randint(1, 3)) if at % 4 else None,
    )
    for at in range(20)
}
NAMES = [*ITEMS, "unknown"]
LISTS = {f"u{at}": DRAW.sample(NAMES, DRAW.randint(0, 8)) for at in range(30)}
TRUTH = {user: DRAW.sample(NAMES, 6) for user in LISTS if user != "u4"}
HISTORY = {user: DRAW.sample(NAMES, 5) for user in LISTS if user != "u5"}


def frames(spark):
    entries = "array<struct<item_id: string, score: float, rank: int>>"
    rows = [
        (user, [(item, 0.0, rank) for rank, item in enumerate(items, start=1)][::-1])
        for user, items in LISTS.items()
    ]
    catalog = [(item, *traits) for item, traits in ITEMS.items()]
    pairs = [
        spark.createDataFrame(
            [(user, item) for user, items in part.items() for item in items],
            "user_id string, item_id string",
        )
        for part in (TRUTH, HISTORY)
    ]
    return (
        spark.createDataFrame(rows, f"user_id string, recommendations {entries}"),
        spark.createDataFrame(
            catalog,
            "item_id string, users double, factors array<float>, attributes array<string>",
        ),
        *pairs,
    )


def measured(spark, partitions=2):
    lists, items, truth, history = (frame.repartition(partitions) for frame in frames(spark))
    return measure_lists(lists, items, CUTOFFS, truth=truth, history=history)


def test_every_list_and_cutoff_follows_the_definitions(spark):
    rows = {(row["user_id"], row["k"]): row for row in measured(spark).collect()}
    assert set(rows) == {(user, k) for user in LISTS for k in CUTOFFS}
    for (user, k), row in rows.items():
        truth, history = TRUTH.get(user, []), HISTORY.get(user, [])
        expected = plain.list_metrics(LISTS[user], truth, history, ITEMS, k)
        assert {name: row[name] for name in LIST_METRICS} == pytest.approx(expected, abs=1e-6)
        assert (row["model"], row["split"], row["segment"]) == ("model", "test", "all")


def test_list_metrics_without_their_inputs_are_null(spark):
    lists, items, *_ = frames(spark)
    bare = measure_lists(lists, items.select("item_id", "users"), CUTOFFS)
    row = bare.agg(*(F.count(name).alias(name) for name in LIST_METRICS)).first()
    counts = row.asDict()
    for name in ("diversity", "attribute_diversity", "miscalibration"):
        assert counts.pop(name) == 0
    assert min(counts.values()) > 0


def test_ids_of_another_type(spark):
    lists, items, truth, history = frames(spark)
    number = F.coalesce(F.substring("item_id", 2, 9).try_cast("bigint"), F.lit(-1))
    numbered = [frame.withColumn("item_id", number) for frame in (items, truth, history)]
    entries = F.transform(
        "recommendations",
        lambda entry: F.struct(
            F.coalesce(F.substring(entry["item_id"], 2, 9).try_cast("int"), F.lit(-1)).alias(
                "item_id"
            ),
            entry["rank"].alias("rank"),
        ),
    )
    found = measure_lists(
        lists.withColumn("recommendations", entries), numbered[0], CUTOFFS,
        truth=numbered[1], history=numbered[2],
    )  # fmt: skip
    expected = measured(spark).sort("user_id", "k")
    assert_approx_df_equality(found.sort("user_id", "k"), expected, 1e-12)


def test_partitions_do_not_change_a_bit(spark):
    one, other = (measured(spark, partitions).sort("user_id", "k") for partitions in (1, 5))
    assert_df_equality(one, other)


def test_a_missing_column_is_named(spark):
    lists, items, *_ = frames(spark)
    with pytest.raises(ContractError, match="items lacks the column users"):
        measure_lists(lists, items.drop("users"), CUTOFFS)
