"""Tables of others: repeated items and users, missing ranks, odd names and types, NaN."""

import math

import pytest
from pyspark.sql import functions as F

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.evaluation import (
    TopNEvaluator,
    measure_agreement,
    measure_exposure,
    measure_full_ranking,
    measure_lists,
    measure_ranking,
    predict_ratings,
    rating_error,
    summarise,
)
from recsys_spark.kernels.metrics.list_overlap import AGREEMENT
from recsys_spark.kernels.metrics.ranking import METRICS
from tests.reference.ranking import metrics

ENTRIES = "user_id int, recommendations array<struct<item_id: int, rank: int>>"
LISTED = {1: [5, 5, 3, 5, 9], 2: [7, 7, 7, 7, 7], 3: [4, 2, 6, 8, 1]}
MISSED = {1: [5, 0, 3, 0, 9], 2: [7, 0, 0, 0, 0], 3: LISTED[3]}  # 0 is nowhere else
TRUTH = {1: {5: 2.0, 9: 1.0}, 2: {7: 1.0}, 3: {8: 3.0, 11: 1.0}}
KS = [1, 2, 5]


def lists_of(spark, lists, schema=ENTRIES):
    rows = [(u, [(item, at) for at, item in enumerate(items, 1)]) for u, items in lists.items()]
    return spark.createDataFrame(rows, schema)


@pytest.fixture(scope="module")
def truth(spark):
    rows = [(u, item, gain) for u, items in TRUTH.items() for item, gain in items.items()]
    return spark.createDataFrame(rows, "user_id int, item_id int, value double")


def of_users(frame, names):
    return {
        (row["user_id"], row["k"]): [row[name] for name in names]
        for row in frame.orderBy("user_id", "k").collect()
    }


def expected(lists):
    return {
        (user, k): pytest.approx([metrics(items, TRUTH[user], k)[name] for name in METRICS])
        for user, items in lists.items()
        for k in KS
    }


def test_repeated_items_of_a_list_are_misses_in_every_ranking_metric(spark, truth):
    found = of_users(measure_ranking(lists_of(spark, LISTED), truth, KS), METRICS)
    assert found == expected(MISSED)
    assert all(0 <= value <= 1 for values in found.values() for value in values)


def test_repeated_items_do_not_raise_agreement_or_exposure(spark):
    lists, other = lists_of(spark, LISTED), lists_of(spark, {u: [5, 7, 4, 1, 2] for u in LISTED})
    apart = {u: [item or -at for at, item in enumerate(row)] for u, row in MISSED.items()}
    one = of_users(measure_agreement(lists, other, KS), AGREEMENT)
    assert one == of_users(measure_agreement(lists_of(spark, apart), other, KS), AGREEMENT)
    assert all(0 <= value <= 1 for values in one.values() for value in values)
    items = spark.range(1, 12).select(F.col("id").cast("int").alias("item_id"))
    table = measure_exposure(lists, items, [5], "run").table.collect()
    values = {row["metric"]: row["value"] for row in table}
    assert values["item_coverage"] == pytest.approx(9 / 11)
    assert values["personalisation"] == 1.0  # no item is in two lists


def test_repeated_items_count_once_in_metrics_of_lists(spark, truth):
    items = spark.createDataFrame(
        [(item, 1.0 / item) for item in range(1, 12)], "item_id int, users double"
    )
    names = ("novelty", "popularity_rank", "serendipity")
    one, other = (
        of_users(measure_lists(lists_of(spark, lists), items, [5], truth=truth), names)
        for lists in (LISTED, MISSED)
    )
    assert one == other


def test_several_rows_of_a_user_are_one_list(spark, truth):
    """Entries by their place: firsts, then seconds; of one place by item id."""
    lists = lists_of(spark, {1: [9, 3], 2: [4], 3: [4, 2]})
    twice = lists.union(lists_of(spark, {1: [5, 8], 2: [7, 1]}))
    merged = {1: [5, 9, 3, 8], 2: [4, 7, 1], 3: [4, 2]}
    assert of_users(measure_ranking(twice, truth, KS), METRICS) == expected(merged)
    assert of_users(measure_ranking(twice.repartition(5), truth, KS), METRICS) == expected(merged)


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        ([5, 3, 9], "array<int>"),
        ([(5, 0.9), (3, 0.5), (9, 0.1)], "array<struct<item_id: bigint, score: float>>"),
        ([(9, None), (3, 2), (5, 1)], "array<struct<item_id: int, rank: int>>"),
        ([(9, 7.5), (3, 2.0), (5, -1.0)], "array<struct<item_id: smallint, rank: double>>"),
    ],
)
def test_lists_with_and_without_ranks_are_taken_best_first(spark, truth, entries, kind):
    frame = spark.createDataFrame([(1, entries)], f"user_id bigint, recommendations {kind}")
    found = of_users(measure_ranking(frame, truth.where("user_id = 1"), KS), METRICS)
    assert found == expected({1: [5, 3, 9]})


def test_gains_that_are_no_numbers_count_zero(spark, truth):
    odd = truth.withColumn(
        "value",
        F.when(F.col("item_id") == 5, float("nan")).when(F.col("item_id") == 8, float("inf")),
    )
    found = measure_ranking(lists_of(spark, LISTED), odd, [5]).collect()
    assert {row[name] for row in found for name in ("ndcg_linear", "ndcg_exponential")} == {0.0}


def test_metrics_refuse_unusable_inputs_with_a_message(spark, truth):
    lists = lists_of(spark, LISTED)
    text = lists_of(
        spark, {1: ["tea"]}, "user_id int, recommendations array<struct<item_id string, rank int>>"
    )
    named = text.withColumn("recommendations", F.expr("transform(recommendations, e -> e.item_id)"))
    items = truth.select("item_id", F.lit(0.5).alias("users")).distinct()
    strangers = truth.withColumn("user_id", F.col("user_id").cast("string"))
    for measured in (text, named):
        with pytest.raises(
            ContractError, match=r"recommendations is string .* truth is (int|bigint)"
        ):
            measure_ranking(measured, truth, [1])
    with pytest.raises(ContractError, match=r"items is int: cast one"):
        measure_lists(text, items, [1])
    with pytest.raises(
        ContractError, match=r"user_id of recommendations is int .* truth is string"
    ):
        measure_ranking(lists, strangers, [1])
    with pytest.raises(ContractError, match=r"item_id of (reference|recommendations) is"):
        measure_agreement(lists, text, [1])
    measured = measure_ranking(lists, truth, [1])
    segments = strangers.select("user_id", F.lit("a").alias("segment"))
    with pytest.raises(ContractError, match="user_id of segments is string"):
        summarise(measured, "run", segments)
    with pytest.raises(ContractError, match="has an item twice"):
        measure_lists(lists, items.union(items), [1])
    mllib = "user_id int, recommendations array<struct<item: int, rating: float>>"
    with pytest.raises(ContractError, match="have no item_id; they have item, rating"):
        measure_ranking(lists_of(spark, {}, mllib), truth, [1])
    with pytest.raises(ContractError, match="recommendations is int; it must be an array"):
        measure_ranking(lists.withColumn("recommendations", F.lit(1)), truth, [1])
    with pytest.raises(ContractError, match="value of truth is string"):
        measure_ranking(lists, truth.withColumn("value", F.lit("a")), [1])
    with pytest.raises(ConfigError, match="curve_at is 3; choose one of k"):
        measure_exposure(lists, items, [1, 5], "run", curve_at=3)
    for k in ([], [0, 10]):
        with pytest.raises(ConfigError, match=r"k is .*1 or more"):
            measure_ranking(lists, truth, k)


def test_evaluator_takes_repeated_items_and_names_with_dots(spark):
    names = {"user_id": "the.user", "item_id": "an`item", "recommendations": "my.lists"}
    rows = [(u, float(item), LISTED[u]) for u, items in TRUTH.items() for item in items]
    frame = spark.createDataFrame(rows, "user_id int, item_id double, recommendations array<int>")
    frame = frame.withColumnsRenamed(names)
    evaluator = TopNEvaluator(
        metricName="recall", k=5, userCol="the.user", itemCol="an`item",
        recommendationsCol="my.lists",
    )  # fmt: skip
    recall = [metrics(MISSED[user], TRUTH[user], 5)["recall"] for user in TRUTH]
    assert evaluator.evaluate(frame) == pytest.approx(sum(recall) / 3)
    flat = frame.withColumn("my.lists", F.lit(1))
    with pytest.raises(ContractError, match=r"my\.lists is int; it must be an array"):
        evaluator.evaluate(flat)


FACTORS = "id int, factors array<float>"


def test_factors_that_are_not_finite_rank_nothing(spark):
    truth = spark.createDataFrame([(1, 1, 2), (2, 2, 3)], "user_id int, user int, item int")
    seen = truth.where("false").select("user", "item")
    items = spark.createDataFrame([(i, [float(i)]) for i in range(5)], FACTORS)
    users = spark.createDataFrame([(1, [math.nan]), (2, [1.0])], FACTORS)
    found = measure_full_ranking(truth, seen, {"m": (users, items)}).orderBy("user_id").collect()
    assert [row["auc"] for row in found] == [0.5, 0.75]
    with pytest.raises(ContractError, match="item factors of m are NaN"):
        measure_full_ranking(truth, seen, {"m": (users, users)})
    with pytest.raises(ContractError, match="item factors of m has an item twice"):
        measure_full_ranking(truth, seen, {"m": (users, items.union(items))})
    with pytest.raises(ContractError, match="item of truth is string; it must be whole numbers"):
        measure_full_ranking(truth.withColumn("item", F.lit("tea")), seen, {"m": (users, items)})


def test_rating_errors_leave_out_what_is_no_rating(spark):
    rows = [(1, 1, 2.0), (1, 2, math.nan), (1, 2, None), (1, 2, math.inf), (2, 1, 3.0)]
    truth = spark.createDataFrame(rows, "user int, item int, value double")
    items = spark.createDataFrame([(1, [1.0]), (2, [2.0])], FACTORS)
    users = spark.createDataFrame([(1, [1.0]), (2, [1.0])], FACTORS)
    errors = rating_error(predict_ratings(truth, users, items), "run").where("segment = 'all'")
    assert {row["metric"]: row["value"] for row in errors.collect()}["mae"] == 1.5
    broken = spark.createDataFrame([(1, [math.nan]), (2, [1.0])], FACTORS)
    predicted = predict_ratings(truth, broken, items)
    assert rating_error(predicted, "run").where("segment = 'all'").collect() == []
    with pytest.raises(ContractError, match="value of truth is string"):
        predict_ratings(truth.withColumn("value", F.lit("a")), users, items)
