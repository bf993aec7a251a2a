"""Ranking metrics and their means, against the definitions and against Spark's own."""

import random
from typing import Any

import pytest
from chispa import assert_approx_df_equality, assert_df_equality
from pyspark.ml.evaluation import RankingEvaluator
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from reference.ranking import metrics

from recsys_spark.kernels.ranking import METRICS
from recsys_spark.schema import METRICS as TABLE
from recsys_spark.schema import metrics_per_user
from recsys_spark.stages.evaluate import evaluate
from recsys_spark.stages.summarise import summarise

CUTOFFS = [1, 3, 10]
LISTS = "user_id string, recommendations array<struct<item_id: int, score: float, rank: int>>"
TRUTH = "user_id string, item int"


def invented() -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Lists of 0 to 12 items and 1 to 8 relevant ones; one user in five has no list."""
    draw = random.Random(4)
    users = [f"u{at}" for at in range(40)]
    lists = {user: draw.sample(range(20), draw.randint(0, 12)) for user in users if user[-1] > "1"}
    truth = {user: draw.sample(range(25), draw.randint(1, 8)) for user in users}
    return lists, truth


RANKED, RELEVANT = invented()


def list_frame(spark: SparkSession, lists: dict[str, list[int]]) -> DataFrame:
    """Entries stand in any order: their rank decides."""
    rows = []
    for user, items in lists.items():
        entries: list[Any] = [(item, 0.5, rank) for rank, item in enumerate(items, start=1)]
        rows.append((user, random.Random(user).sample(entries, len(entries))))
    return spark.createDataFrame(rows, LISTS)


def truth_frame(spark: SparkSession, truth: dict[str, list[int]]) -> DataFrame:
    return spark.createDataFrame([(u, item) for u, items in truth.items() for item in items], TRUTH)


@pytest.fixture(scope="module")
def per_user(spark: SparkSession) -> DataFrame:
    truth = truth_frame(spark, RELEVANT)
    lists = list_frame(spark, RANKED | {"nobody": [1, 2, 3]})
    return evaluate(lists, truth.union(truth), CUTOFFS, "model", "test").localCheckpoint()


def test_every_user_and_cutoff_follows_the_definitions(
    spark: SparkSession, per_user: DataFrame
) -> None:
    schema = metrics_per_user(truth_frame(spark, RELEVANT).schema["user_id"].dataType)
    rows = []
    for user, relevant in RELEVANT.items():
        for k in CUTOFFS:
            values = metrics(RANKED.get(user, []), set(relevant), k)
            rows.append((user, "model", "test", k, *(values[name] for name in METRICS)))
    expected = spark.createDataFrame(rows, schema).sort("user_id", "k")
    assert_approx_df_equality(per_user.sort("user_id", "k"), expected, 1e-12)


def test_users_without_a_list_count_zero(per_user: DataFrame) -> None:
    without = [user for user in RELEVANT if user not in RANKED]
    rows = per_user.where(F.col("user_id").isin(without)).collect()
    assert len(rows) == len(without) * len(CUTOFFS) > 0
    assert {row[name] for row in rows for name in METRICS} == {0.0}


def test_means_are_over_all_users_with_truth(spark: SparkSession, per_user: DataFrame) -> None:
    actual = summarise(per_user, "run").sort("k", "metric")
    rows = []
    for k in CUTOFFS:
        each = [metrics(RANKED.get(u, []), set(relevant), k) for u, relevant in RELEVANT.items()]
        for name in METRICS:
            mean = sum(values[name] for values in each) / len(RELEVANT)
            rows.append(("run", "model", "test", name, k, "all", mean, None, None, len(RELEVANT)))
    expected = spark.createDataFrame(rows, TABLE).sort("k", "metric")
    assert_approx_df_equality(actual, expected, 1e-12, ignore_nullable=True)


def test_means_do_not_depend_on_partitions_by_a_bit(per_user: DataFrame) -> None:
    one, seven = (
        summarise(per_user.repartition(partitions), "run").sort("k", "metric")
        for partitions in (1, 7)
    )
    assert_df_equality(one, seven)


def test_models_and_splits_are_summarised_apart(spark: SparkSession) -> None:
    lists, truth = list_frame(spark, {"u": [1]}), truth_frame(spark, {"u": [1], "v": [1]})
    both = evaluate(lists, truth, [1], "model", "test").unionByName(
        evaluate(lists.where("false"), truth, [1], "popularity", "validation")
    )
    found = summarise(both, "run").where("metric = 'recall'").select("model", "split", "value")
    rows = [("model", "test", 0.5), ("popularity", "validation", 0.0)]
    expected = spark.createDataFrame(rows, "model string, split string, value double")
    assert_df_equality(found, expected, ignore_row_order=True, ignore_nullable=True)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("precision", "precisionAtK"), ("recall", "recallAtK"), ("ndcg", "ndcgAtK")],
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


def test_string_and_long_users_keep_their_type(spark: SparkSession) -> None:
    lists = list_frame(spark, {"7": [1]}).withColumn("user_id", F.col("user_id").cast("bigint"))
    truth = truth_frame(spark, {"7": [1]}).withColumn("user_id", F.col("user_id").cast("bigint"))
    rows = evaluate(lists, truth, [2], "model", "test").select("user_id", "precision").collect()
    assert [tuple(row) for row in rows] == [(7, 0.5)]
