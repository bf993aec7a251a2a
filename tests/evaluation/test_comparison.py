"""Two models on the same users: differences, intervals and p-values."""

import numpy as np
import pytest
import scipy.stats
from chispa import assert_df_equality
from pyspark.sql import functions as F

from recsys_spark.errors import ContractError
from recsys_spark.evaluation import compare
from recsys_spark.evaluation.comparison import holm
from recsys_spark.kernels.metrics.ranking import METRICS

USERS = 300
DRAW = np.random.default_rng(8)
ONE = DRAW.beta(0.5, 2.0, size=(USERS, len(METRICS)))
SHIFT = np.linspace(-0.05, 0.05, len(METRICS))
NOISE = DRAW.normal(0, 0.2, size=ONE.shape) * (DRAW.random(ONE.shape) < 0.7)
OTHER = ONE + SHIFT * (NOISE != 0) + NOISE


@pytest.fixture(scope="module")
def frames(spark):
    """Two models; each has a user that the other lacks."""
    columns = ", ".join(f"{name} double" for name in METRICS)
    schema = f"user_id string, model string, split string, segment string, k int, {columns}"

    def frame(model, values, extra):
        users = [*(f"u{at}" for at in range(USERS)), extra]
        rows = np.vstack([values, np.ones(len(METRICS))]).tolist()
        content = [(u, model, "test", "all", 10, *row) for u, row in zip(users, rows, strict=True)]
        return spark.createDataFrame(content, schema).localCheckpoint()

    return frame("a", ONE, "left"), frame("b", OTHER, "right")


def test_differences_of_the_users_of_both(frames):
    rows = {row["metric"]: row for row in compare(*frames, resamples=50).collect()}  # type: ignore[misc]
    assert set(rows) == set(METRICS)
    for at, name in enumerate(METRICS):
        difference, row = OTHER[:, at] - ONE[:, at], rows[name]
        assert (row["users"], row["k"], row["split"], row["segment"]) == (USERS, 10, "test", "all")
        assert row["one"] == pytest.approx(ONE[:, at].mean(), abs=1e-9)
        assert row["difference"] == pytest.approx(difference.mean(), abs=1e-9)
        effect = difference.mean() / difference.std()
        assert row["effect_size"] == pytest.approx(effect, abs=1e-4)
        assert row["better"] == pytest.approx((difference > 1e-8).mean())
        assert row["worse"] == pytest.approx((difference < -1e-8).mean())


def test_p_values_and_intervals_are_those_of_a_paired_t_test_nearly(frames):
    """With hundreds of users the randomisation test, the bootstrap and Student's t agree."""
    rows = {row["metric"]: row for row in compare(*frames, resamples=4000).collect()}  # type: ignore[misc]
    seen = []
    for at, name in enumerate(METRICS):
        test = scipy.stats.ttest_rel(OTHER[:, at], ONE[:, at])
        noise = 4 * np.sqrt(test.pvalue * (1 - test.pvalue) / 4000)
        assert rows[name]["p_value"] == pytest.approx(test.pvalue, abs=noise + 0.01)
        interval = test.confidence_interval(0.95)
        width = interval.high - interval.low
        assert rows[name]["ci_low"] == pytest.approx(interval.low, abs=0.1 * width)
        assert rows[name]["ci_high"] == pytest.approx(interval.high, abs=0.1 * width)
        seen.append(test.pvalue)
    assert min(seen) < 0.01
    assert max(seen) > 0.3


def test_comparison_of_a_model_with_itself_is_zero(frames):
    one, _ = frames
    for row in compare(one, one, resamples=99).collect():
        assert row["difference"] == row["ci_low"] == row["ci_high"] == 0
        assert row["better"] == row["worse"] == 0
        assert row["p_value"] == row["p_holm"] == 1
        assert row["effect_size"] is None


def test_users_without_a_value_of_either_do_not_count(frames):
    one, other = frames
    name = METRICS[0]
    holes = other.withColumn(name, F.when(F.hash("user_id") % 3 != 0, F.col(name)))
    kept = holes.where(f"{name} is not null")
    found, expected = (
        {row["metric"]: row for row in compare(one, frame, resamples=99).collect()}
        for frame in (holes, kept)
    )
    assert 0 < found[name]["users"] == expected[name]["users"] < USERS
    for key in ("difference", "ci_low", "ci_high", "p_value", "effect_size", "better", "worse"):
        assert found[name][key] == pytest.approx(expected[name][key])
    assert found[METRICS[1]]["users"] == USERS


def test_comparison_does_not_depend_on_partitions(frames):
    one, other = frames
    assert_df_equality(
        compare(one.coalesce(1), other, resamples=64),
        compare(one.repartition(5), other.repartition(3), resamples=64),
    )


def test_holm_by_hand():
    """Of sorted p-values the first is multiplied by four, the next by three, never falling."""
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])


def test_comparison_refuses_incomparable_tables(frames):
    one, other = frames
    with pytest.raises(ContractError, match="`other` has several models, a, b among them"):
        compare(one, one.unionByName(other))
    with pytest.raises(ContractError, match="no user, split and cut-off in common"):
        compare(one, other.where("user_id = 'right'"))
