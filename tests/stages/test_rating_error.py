"""RMSE and MAE against NumPy and against Spark's own evaluator."""

import numpy as np
import pytest
from chispa import assert_df_equality
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.schema import FACTORS
from recsys_spark.schema import METRICS as TABLE
from recsys_spark.stages.rating_error import rating_error

DRAW = np.random.default_rng(2)
X = DRAW.normal(size=(6, 4)).astype(np.float32)
Y = DRAW.normal(size=(5, 4)).astype(np.float32)
PAIRS = [(u, i, float(DRAW.integers(1, 6))) for u in range(8) for i in range(7) if (u + i) % 2]
KNOWN = [(u, i, value) for u, i, value in PAIRS if u < len(X) and i < len(Y)]
TRUTH = "user int, item int, value double"


def factors(spark: SparkSession, matrix: np.ndarray) -> DataFrame:
    return spark.createDataFrame(list(enumerate(matrix.tolist())), FACTORS)


def figures(frame: DataFrame) -> dict[str, tuple[float | None, int]]:
    return {row["metric"]: (row["value"], row["users"]) for row in frame.collect()}


def test_errors_are_those_of_the_known_pairs(spark: SparkSession) -> None:
    truth = spark.createDataFrame(PAIRS, TRUTH)
    actual = rating_error(truth, factors(spark, X), factors(spark, Y), "test", "run")
    errors = np.array([np.float32(X[u].astype(float) @ Y[i]) - value for u, i, value in KNOWN])
    found = figures(actual)
    users = len({u for u, _, _ in KNOWN})
    assert len(KNOWN) < len(PAIRS)
    assert found["rmse"] == (pytest.approx(np.sqrt(np.mean(errors**2)), abs=1e-6), users)
    assert found["mae"] == (pytest.approx(np.mean(np.abs(errors)), abs=1e-6), users)
    assert actual.columns == TABLE.names
    row = actual.select("run_id", "model", "split", "k", "segment").distinct().collect()
    assert [tuple(one) for one in row] == [("run", "model", "test", None, "all")]


def test_errors_agree_with_sparks_evaluator(spark: SparkSession) -> None:
    rows = [(float(X[u] @ Y[i]), value) for u, i, value in KNOWN]
    frame = spark.createDataFrame(rows, "prediction double, label double")
    truth = spark.createDataFrame(PAIRS, TRUTH)
    found = figures(rating_error(truth, factors(spark, X), factors(spark, Y), "test", "run"))
    for name, (value, _) in found.items():
        theirs = RegressionEvaluator(metricName=name).evaluate(frame)
        assert value == pytest.approx(theirs, abs=1e-5)


def test_nothing_known_gives_no_value(spark: SparkSession) -> None:
    truth = spark.createDataFrame([(99, 0, 3.0), (0, 99, 3.0)], TRUTH)
    actual = rating_error(truth, factors(spark, X), factors(spark, Y), "test", "run")
    assert figures(actual) == {"rmse": (None, 0), "mae": (None, 0)}


def test_partitions_do_not_change_a_bit(spark: SparkSession) -> None:
    one, seven = (
        rating_error(
            spark.createDataFrame(rows, TRUTH).repartition(partitions),
            factors(spark, X),
            factors(spark, Y),
            "test",
            "run",
        )
        for rows, partitions in ((PAIRS, 1), (PAIRS[::-1], 7))
    )
    assert_df_equality(one, seven, ignore_row_order=True)
