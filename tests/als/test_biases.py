"""Mean-based and damped biases against dense tables, subtracted and put back."""

import numpy as np
import pytest
from pyspark.sql import functions as F

from recsys_spark.als.biases import Biases, learn_biases, side_biases, with_baseline
from recsys_spark.als.prediction import clipped
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import dense_table, frame_of, ratings
from tests.reference.dense_wals import damped_biases

DAMPED = resolve_spec("lenskit_explicit", bias_damping=3.0)
MEANS = resolve_spec("mllib_explicit", biases="means")


def by_id(frame):
    return np.array([row["bias"] for row in sorted(frame.collect())])


def mean_biases(table):
    """b = half of what a side's mean differs from the mean of all."""
    mean = np.nanmean(table)
    return mean, (np.nanmean(table, axis=1) - mean) / 2, (np.nanmean(table, axis=0) - mean) / 2


@pytest.mark.parametrize("spec", [DAMPED, MEANS], ids=lambda spec: spec.biases)
def test_biases_are_those_of_the_dense_table(spark, spec):
    columns = ratings(seed=8, low=-2)
    table = dense_table(columns)
    biases = learn_biases(frame_of(spark, columns), spec)
    mean, user, item = damped_biases(table, 3.0) if spec is DAMPED else mean_biases(table)
    assert biases.mean == pytest.approx(mean)
    np.testing.assert_allclose(by_id(biases.user), user, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_id(biases.item), item, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spec", [DAMPED, MEANS], ids=lambda spec: spec.biases)
def test_the_baseline_is_the_mean_and_both_biases(spark, spec):
    columns = ratings(seed=8)
    table = dense_table(columns)
    frame = frame_of(spark, columns).withColumn("weight", F.lit(2.0))
    beside = with_baseline(frame, learn_biases(frame, spec))
    assert beside.columns == [*frame.columns, "baseline"]
    assert beside.count() == frame.count()
    mean, user, item = damped_biases(table, 3.0) if spec is DAMPED else mean_biases(table)
    for row in beside.collect():
        assert row["baseline"] == pytest.approx(mean + user[row["user"]] + item[row["item"]])


def test_unknown_ids_have_no_bias(spark):
    biases = Biases(
        3.0,
        spark.createDataFrame([(1, 0.5)], "id long, bias double"),
        spark.createDataFrame([(7, -1.0)], "id long, bias double"),
    )
    pairs = spark.createDataFrame([(1, 7), (1, 8), (2, 7), (2, 8)], "user long, item long")
    found = {(r["user"], r["item"]): r["baseline"] for r in with_baseline(pairs, biases).collect()}
    assert found == {(1, 7): 2.5, (1, 8): 3.5, (2, 7): 2.0, (2, 8): 3.0}


def test_a_new_users_bias_follows_from_the_items_of_training(spark):
    item = spark.createDataFrame([(7, -1.0)], "id long, bias double")
    rated = spark.createDataFrame([(9, 7, 4.0), (9, 8, 5.0)], "user long, item long, value double")
    assert by_id(side_biases(rated, "user", 3.0, DAMPED, item)).tolist() == [(2.0 + 2.0) / (2 + 3)]
    assert by_id(side_biases(rated, "user", 3.0, MEANS, item)).tolist() == [1.5 / 2]


def test_one_rating_has_no_bias_left(spark):
    frame = spark.createDataFrame([(1, 1, 4.0)], "user long, item long, value double")
    for spec in (DAMPED, MEANS):
        biases = learn_biases(frame, spec)
        assert (biases.mean, by_id(biases.user), by_id(biases.item)) == (4.0, [0.0], [0.0])


def test_predictions_are_held_in_the_range(spark):
    frame = spark.createDataFrame([(0.2,), (3.0,), (9.0,), (None,), (float("nan"),)], "p double")
    found = [row[0] for row in frame.select(clipped(F.col("p"), (1.0, 5.0))).collect()]
    assert found[:4] == [1.0, 3.0, 5.0, None]
    assert np.isnan(found[4])
    assert frame.select(clipped(F.col("p"), None)).first()[0] == 0.2
