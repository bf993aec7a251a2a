"""Spark ML's tuning on ranking."""

import pytest
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit
from pyspark.sql import functions as F

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.evaluation import TopNEvaluator
from recsys_spark.ml.estimator import WALS
from tests.reference.ranking import metrics

LISTS = {1: [5, 3, 9], 2: [7], 3: None}
TRUTH = {1: {3: 2.0, 8: 1.0}, 2: {7: 3.0}, 3: {5: 1.0}}


def held_out(spark, kind="array<struct<item: int, rating: float>>"):
    rows = [
        (user, item, value, LISTS[user])
        for user, relevant in TRUTH.items()
        for item, value in relevant.items()
    ]
    frame = spark.createDataFrame(rows, "user int, item int, value double, list array<int>")
    entries = F.transform("list", lambda item: F.struct(item, F.lit(0.5)))
    lists = entries if "struct" in kind else F.col("list")
    return frame.withColumn("recommendations", lists.cast(kind)).drop("list")


@pytest.mark.parametrize("kind", ["array<int>", "array<struct<item: int, rating: float>>"])
@pytest.mark.parametrize("name", ["ndcg", "recall", "mrr"])
def test_values_are_means_over_users(spark, name, kind):
    expected = [metrics(LISTS[user] or [], TRUTH[user], 2)[name] for user in TRUTH]
    found = TopNEvaluator(metricName=name, k=2).evaluate(held_out(spark, kind))
    assert found == pytest.approx(sum(expected) / 3, abs=1e-9)


def test_graded_metrics_take_their_gains_from_a_column(spark):
    expected = [metrics(LISTS[user] or [], TRUTH[user], 3)["ndcg_linear"] for user in TRUTH]
    evaluator = TopNEvaluator(metricName="ndcg_linear", k=3, valueCol="value")
    assert evaluator.evaluate(held_out(spark)) == pytest.approx(sum(expected) / 3, abs=1e-9)


def test_evaluator_names_missing_columns(spark):
    with pytest.raises(ContractError, match="WALS adds it if numItems is set"):
        TopNEvaluator().evaluate(held_out(spark).drop("recommendations"))
    with pytest.raises(ConfigError, match="choose one of precision"):
        TopNEvaluator(metricName="rmse").evaluate(held_out(spark))


def test_evaluator_is_saved_and_read(tmp_path, spark):
    path = str(tmp_path / "evaluator")
    TopNEvaluator(metricName="recall", k=7).save(path)
    read = TopNEvaluator.load(path)
    assert (read.getOrDefault("metricName"), read.getOrDefault("k")) == ("recall", 7)
    assert read.isLargerBetter()


def ratings(spark):
    rows = [
        (user, item, 1.0)
        for user in range(24)
        for item in range(16)
        if (user + item) % 4 == 0 or (user % 2 == item % 2 and (user * item) % 3)
    ]
    return spark.createDataFrame(rows, "user int, item int, rating float")


def test_transform_lists_what_training_did_not_know(spark):
    train = ratings(spark)
    model = WALS(rank=4, maxIter=2, numItems=5).fit(train)
    rows = model.transform(train.where("user < 3")).select("user", "recommendations").collect()
    known = {(row["user"], row["item"]) for row in train.collect()}
    lists = {row["user"]: [entry["item"] for entry in row["recommendations"]] for row in rows}
    assert set(lists) == {0, 1, 2}
    assert not {(user, item) for user, items in lists.items() for item in items} & known
    assert {len(items) for items in lists.values()} == {5}
    with pytest.raises(ConfigError, match="set recommendationsCol"):
        model.transform(train.withColumn("recommendations", F.lit(1)))


@pytest.mark.parametrize("tuner", [CrossValidator, TrainValidationSplit])
def test_spark_s_tuners_choose_by_ndcg(spark, tuner):
    wals = WALS(rank=4, maxIter=2, numItems=5)
    grid = ParamGridBuilder().addGrid(wals.getParam("regParam"), [0.01, 1000.0]).build()
    fitted = tuner(
        estimator=wals, estimatorParamMaps=grid, evaluator=TopNEvaluator(k=5), seed=1,
        **({"numFolds": 2} if tuner is CrossValidator else {}),
    ).fit(ratings(spark))  # fmt: skip
    values = getattr(fitted, "avgMetrics", None) or fitted.validationMetrics
    assert len(values) == 2
    assert values[0] > 0
    assert fitted.bestModel.rank == 4
