"""Errors of predicted ratings against NumPy and against Spark's own evaluator."""

import numpy as np
import pytest
from chispa import assert_df_equality
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.evaluation import predict_ratings, rating_error
from recsys_spark.schema import FACTORS
from recsys_spark.schema import METRICS as TABLE

DRAW = np.random.default_rng(2)
X = DRAW.normal(size=(6, 4)).astype(np.float32)
Y = DRAW.normal(size=(5, 4)).astype(np.float32)
PAIRS = [(u, i, float(DRAW.integers(1, 10)) / 2) for u in range(8) for i in range(7) if (u + i) % 2]
KNOWN = [(u, i, value) for u, i, value in PAIRS if u < len(X) and i < len(Y)]
TRUTH = "user int, item int, value double"


def factors(spark: SparkSession, matrix: np.ndarray) -> DataFrame:
    return spark.createDataFrame(list(enumerate(matrix.tolist())), FACTORS)


def predictions(spark: SparkSession, pairs: list[tuple[int, int, float]]) -> DataFrame:
    truth = spark.createDataFrame(pairs, TRUTH)
    return predict_ratings(truth, factors(spark, X), factors(spark, Y))


def figures(frame: DataFrame, segment: str = "all") -> dict[str, tuple[float | None, int]]:
    rows = frame.where(f"segment = '{segment}'").collect()
    return {row["metric"]: (row["value"], row["users"]) for row in rows}


def errors(pairs: list[tuple[int, int, float]]) -> np.ndarray:
    return np.array([np.float32(X[u].astype(float) @ Y[i]) - value for u, i, value in pairs])


def test_errors_are_those_of_the_known_pairs(spark: SparkSession) -> None:
    actual = rating_error(predictions(spark, PAIRS), "run")
    found, users = figures(actual), len({u for u, _, _ in KNOWN})
    assert len(KNOWN) < len(PAIRS)
    assert found["rmse"] == (pytest.approx(np.sqrt(np.mean(errors(KNOWN) ** 2)), abs=1e-6), users)
    assert found["mae"] == (pytest.approx(np.mean(np.abs(errors(KNOWN))), abs=1e-6), users)
    assert actual.columns == TABLE.names
    row = actual.select("run_id", "model", "split", "k").distinct().collect()
    assert [tuple(one) for one in row] == [("run", "model", "test", None)]


def test_errors_agree_with_sparks_evaluator(spark: SparkSession) -> None:
    rows = [(float(X[u] @ Y[i]), value) for u, i, value in KNOWN]
    frame = spark.createDataFrame(rows, "prediction double, label double")
    found = figures(rating_error(predictions(spark, PAIRS), "run"))
    assert set(found) == {"rmse", "mae", "r2"}
    for name, (value, _) in found.items():
        theirs = RegressionEvaluator(metricName=name).evaluate(frame)
        assert value == pytest.approx(theirs, abs=1e-5)


def test_each_true_rating_has_its_own_errors(spark: SparkSession) -> None:
    actual = rating_error(predictions(spark, PAIRS), "run")
    values = {value for _, _, value in KNOWN}
    names = {row["segment"] for row in actual.select("segment").distinct().collect()}
    assert names == {"all"} | {f"value={value:g}" for value in values}
    for value in values:
        some = [pair for pair in KNOWN if pair[2] == value]
        found = figures(actual, f"value={value:g}")
        assert set(found) == {"rmse", "mae"}
        assert found["mae"][0] == pytest.approx(np.abs(errors(some)).mean(), abs=1e-6)


def test_many_different_ratings_are_parted_into_ten_ranges(spark: SparkSession) -> None:
    pairs = [(u, i, 100.0 + 7 * u + i) for u in range(6) for i in range(5)]
    actual = rating_error(predictions(spark, pairs), "run")
    names = {row["segment"] for row in actual.select("segment").distinct().collect()} - {"all"}
    assert 5 < len(names) <= 10
    assert "value=100 to 103.9" in names
    some = [pair for pair in pairs if pair[2] < 103.9]
    assert figures(actual, "value=100 to 103.9")["rmse"][0] == pytest.approx(
        np.sqrt(np.mean(errors(some) ** 2)), abs=1e-4
    )


def test_equal_ratings_leave_nothing_to_explain(spark: SparkSession) -> None:
    same = [(u, i, 3.0) for u, i, _ in KNOWN]
    assert set(figures(rating_error(predictions(spark, same), "run"))) == {"rmse", "mae"}


def test_rating_error_without_known_ratings_has_no_row(spark: SparkSession) -> None:
    assert rating_error(predictions(spark, [(99, 0, 3.0), (0, 99, 3.0)]), "run").isEmpty()


def test_partitions_do_not_change_a_bit(spark: SparkSession) -> None:
    one, seven = (
        rating_error(predictions(spark, pairs).repartition(partitions), "run")
        for pairs, partitions in ((PAIRS, 1), (PAIRS[::-1], 7))
    )
    assert_df_equality(one, seven, ignore_row_order=True)
