"""Ranking metrics of users, against the definitions and against Spark's own."""

import random
from typing import Any

import pytest
from chispa import assert_approx_df_equality, assert_df_equality
from pyspark.ml.evaluation import RankingEvaluator
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.errors import ContractError
from recsys_spark.evaluation import measure_ranking
from recsys_spark.kernels.metrics.ranking import METRICS
from recsys_spark.schema import per_user as schema_of
from tests.reference.ranking import metrics

CUTOFFS = [1, 3, 10]
LISTS = "user_id string, recommendations array<struct<item_id: int, score: float, rank: int>>"
TRUTH = "user_id string, item_id int, value double"


def invented() -> tuple[dict[str, list[int]], dict[str, dict[int, float]]]:
    """Lists of 0 to 12 items and 1 to 8 relevant ones; one user in five has no list."""
    draw = random.Random(4)
    users = [f"u{at}" for at in range(40)]
    lists = {user: draw.sample(range(20), draw.randint(0, 12)) for user in users if user[-1] > "1"}
    truth = {
        user: {item: draw.choice([-1.0, 0.5, 2.0, 5.0]) for item in draw.sample(range(25), count)}
        for user, count in ((user, draw.randint(1, 8)) for user in users)
    }
    return lists, truth


RANKED, RELEVANT = invented()


def list_frame(spark: SparkSession, lists: dict[str, list[int]]) -> DataFrame:
    """Entries stand in any order: their rank decides."""
    rows = []
    for user, items in lists.items():
        entries: list[Any] = [(item, 0.5, rank) for rank, item in enumerate(items, start=1)]
        rows.append((user, random.Random(user).sample(entries, len(entries))))
    return spark.createDataFrame(rows, LISTS)


def truth_frame(spark: SparkSession, truth: dict[str, dict[int, float]]) -> DataFrame:
    rows = [(user, item, gain) for user, items in truth.items() for item, gain in items.items()]
    return spark.createDataFrame(rows, TRUTH)


@pytest.fixture(scope="module")
def per_user(spark: SparkSession) -> DataFrame:
    """Every relevant pair stands there twice, once with a smaller gain."""
    truth = truth_frame(spark, RELEVANT)
    twice = truth.union(truth.withColumn("value", F.col("value") - 0.25))
    lists = list_frame(spark, RANKED | {"nobody": [1, 2, 3]})
    return measure_ranking(lists, twice, CUTOFFS).localCheckpoint()


def test_every_user_and_cutoff_follows_the_definitions(
    spark: SparkSession, per_user: DataFrame
) -> None:
    schema = schema_of(truth_frame(spark, RELEVANT).schema["user_id"].dataType, METRICS)
    rows = []
    for user, relevant in RELEVANT.items():
        for k in CUTOFFS:
            values = metrics(RANKED.get(user, []), relevant, k)
            rows.append((user, "model", "test", "all", k, *(values[name] for name in METRICS)))
    expected = spark.createDataFrame(rows, schema).sort("user_id", "k")
    assert_approx_df_equality(per_user.sort("user_id", "k"), expected, 1e-12)


def test_parts_of_the_truth_are_measured_by_themselves(spark: SparkSession) -> None:
    """Each as if it were all; a pair may be in several."""
    truth = truth_frame(spark, RELEVANT)
    parts = {"even": F.col("item_id") % 2 == 0, "large": F.col("item_id") > 12}
    named = [truth.where(rows).withColumn("segment", F.lit(name)) for name, rows in parts.items()]
    lists = list_frame(spark, RANKED)
    found = measure_ranking(lists, named[0].unionByName(named[1]), [3])
    for name, rows in parts.items():
        alone = measure_ranking(lists, truth.where(rows), [3]).withColumn("segment", F.lit(name))
        part = found.where(F.col("segment") == name)
        assert_df_equality(part, alone, ignore_row_order=True, ignore_nullable=True)


def test_ranking_metrics_separate_models(spark: SparkSession, per_user: DataFrame) -> None:
    """One without any list counts zero for all users."""
    lists, truth = list_frame(spark, RANKED), truth_frame(spark, RELEVANT)
    both = lists.withColumn("model", F.lit("model")).unionByName(
        lists.where("user_id < 'u3'").withColumn("model", F.lit("some"))
    )
    found = measure_ranking(both, truth, CUTOFFS, ["model", "some", "none"])
    whole = found.where("model = 'model'").sort("user_id", "k")
    assert_df_equality(whole, per_user.sort("user_id", "k"), ignore_nullable=True)
    zero = found.where("model = 'none'").agg(F.count("*"), F.sum("hit_rate")).first()
    assert tuple(zero or ()) == (len(RELEVANT) * len(CUTOFFS), 0.0)
    with pytest.raises(ContractError, match="recommendations lacks the column model"):
        measure_ranking(lists, truth, CUTOFFS, ["model"])


def test_users_without_a_list_count_zero(per_user: DataFrame) -> None:
    without = [user for user in RELEVANT if user not in RANKED]
    rows = per_user.where(F.col("user_id").isin(without)).collect()
    assert len(rows) == len(without) * len(CUTOFFS) > 0
    assert {row[name] for row in rows for name in METRICS} == {0.0}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("precision", "precisionAtK"),
        ("recall", "recallAtK"),
        ("ndcg", "ndcgAtK"),
        ("map_min", "meanAveragePrecisionAtK"),
    ],
)
def test_means_agree_with_sparks_evaluator(
    spark: SparkSession, per_user: DataFrame, ours: str, theirs: str
) -> None:
    rows = [
        ([float(i) for i in RANKED.get(user, [])], [float(i) for i in relevant])
        for user, relevant in RELEVANT.items()
    ]
    frame = spark.createDataFrame(rows, "prediction array<double>, label array<double>")
    means = per_user.groupBy("k").agg(F.mean(ours).alias("mean")).collect()
    assert {row["k"] for row in means} == set(CUTOFFS)
    for row in means:
        evaluator = RankingEvaluator(metricName=theirs, k=row["k"])
        assert row["mean"] == pytest.approx(evaluator.evaluate(frame), abs=1e-12)


@pytest.mark.parametrize(
    ("user", "item"), [("string", "string"), ("bigint", "bigint"), ("string", "int")]
)
def test_ids_of_any_type(spark: SparkSession, user: str, item: str) -> None:
    """Those of lists become those of the truth, where they differ."""
    lists = list_frame(spark, RANKED).withColumn("user_id", F.substring("user_id", 2, 9).cast(user))
    truth = truth_frame(spark, RELEVANT).select(
        F.substring("user_id", 2, 9).cast(user).alias("user_id"), F.col("item_id").cast(item)
    )
    found = measure_ranking(lists, truth, [3])
    assert found.schema["user_id"].dataType.simpleString() == user
    for row in found.collect():
        name = f"u{row['user_id']}"
        expected = metrics(RANKED.get(name, []), set(RELEVANT[name]), 3)
        assert {k: row[k] for k in METRICS} == pytest.approx(expected, abs=1e-12)


def test_a_missing_column_is_named(spark: SparkSession) -> None:
    lists, truth = list_frame(spark, RANKED), truth_frame(spark, RELEVANT)
    with pytest.raises(ContractError, match="truth lacks the column item_id"):
        measure_ranking(lists, truth.drop("item_id"), [3])
    with pytest.raises(ContractError, match="recommendations lacks the column recommendations"):
        measure_ranking(lists.drop("recommendations"), truth, [3])
