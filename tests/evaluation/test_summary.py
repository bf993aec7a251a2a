"""Means over users, their intervals, and segments."""

import numpy as np
import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from recsys_spark.evaluation import summarise
from recsys_spark.kernels.metrics.ranking import METRICS

KEYS = ["model", "split", "k", "segment", "metric"]
USERS = 400
DRAW = np.random.default_rng(5)
VALUES = DRAW.beta(0.4, 2.0, size=(2, USERS, len(METRICS)))


@pytest.fixture(scope="module")
def per_user(spark):
    """Two models at two cut-offs; the larger one has twice the values."""
    rows = [
        (
            f"u{user}",
            model,
            "test",
            "all",
            k,
            *(float(value) for value in factor * VALUES[at, user]),
        )
        for at, model in enumerate(("a", "b"))
        for user in range(USERS)
        for k, factor in ((5, 0.5), (10, 1.0))
    ]
    columns = ", ".join(f"{name} double" for name in METRICS)
    schema = f"user_id string, model string, split string, segment string, k int, {columns}"
    return spark.createDataFrame(rows, schema).localCheckpoint()


@pytest.fixture(scope="module")
def segments(spark):
    """Halves, and one user in two of them; one unknown user."""
    rows = [(f"u{user}", "even" if user % 2 == 0 else "odd") for user in range(USERS)]
    return spark.createDataFrame([*rows, ("u7", "few"), ("x", "odd")], ["user_id", "segment"])


def figures(frame):
    return {tuple(row[key] for key in KEYS): row for row in frame.collect()}


def test_means_of_all_users_and_of_segments(per_user, segments):
    found = figures(summarise(per_user, "run", segments, resamples=0))
    chosen = {
        "all": np.arange(USERS), "even": np.arange(0, USERS, 2), "odd": np.arange(1, USERS, 2),
        "few": np.array([7]),
    }  # fmt: skip
    assert len(found) == 2 * 2 * len(chosen) * len(METRICS)
    for (model, _, k, segment, metric), row in found.items():
        values = VALUES["ab".index(model), chosen[segment], METRICS.index(metric)]
        assert row["value"] == pytest.approx(values.mean() * (k / 10), abs=1e-9)
        assert (row["users"], row["run_id"]) == (len(values), "run")
        assert row["ci_low"] is row["ci_high"] is None


def test_intervals_are_as_wide_as_the_spread_of_a_mean(per_user, segments):
    """1.96 standard errors to either side, up to the noise of a thousand resamples."""
    found = figures(summarise(per_user, "run", segments, resamples=2000))
    for (model, _, k, segment, metric), row in found.items():
        if segment == "all" and k == 10:
            values = VALUES["ab".index(model), :, METRICS.index(metric)]
            error = values.std() / np.sqrt(USERS)
            assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * 1.96 * error, rel=0.12)
            assert row["ci_low"] < row["value"] < row["ci_high"]
        if segment == "few":
            assert row["ci_low"] == pytest.approx(row["value"], abs=1e-7) == row["ci_high"]


def test_users_without_a_value_do_not_count(per_user, segments):
    """The mean and its interval are those of the others; a metric without users has no row."""
    name = METRICS[0]
    some = F.when(F.hash("user_id") % 3 == 0, None).otherwise(F.col(name))
    holes = per_user.withColumn(name, some).withColumn(METRICS[1], F.lit(None).cast("double"))
    found = figures(summarise(holes, "run", segments, resamples=200))
    without = summarise(holes.where(f"{name} is not null"), "run", segments, resamples=200)
    expected = figures(without)
    assert not any(key[-1] == METRICS[1] for key in found)
    seen = [key for key in found if key[-1] == name]
    assert {found[key]["users"] for key in seen} == {expected[key]["users"] for key in seen}
    for key in seen:
        assert found[key]["users"] < USERS
        assert found[key].asDict() == pytest.approx(expected[key].asDict())


def test_parts_of_the_truth_are_segments_of_their_own(per_user, segments):
    head = per_user.withColumn("segment", F.lit("items=head"))
    found = figures(summarise(per_user.unionByName(head), "run", segments, resamples=20))
    assert {key[3] for key in found} == {"all", "even", "odd", "few", "items=head"}
    for (*key, segment, metric), row in found.items():
        if segment == "items=head":
            whole = found[*key, "all", metric].asDict()
            assert row.asDict() == whole | {"segment": "items=head"}


def test_measures_without_a_cut_off(per_user):
    alone = per_user.where("k = 5").withColumn("k", F.lit(None).cast("int"))
    rows = summarise(alone, "run", resamples=20).collect()
    assert {row["k"] for row in rows} == {None}
    assert len(rows) == 2 * len(METRICS)


def test_models_share_their_resamples(per_user):
    """So that what differs between two models is not the luck of the draw."""
    twin = per_user.where("model = 'a'").withColumn("model", F.lit("twin"))
    found = figures(summarise(per_user.unionByName(twin), "run", resamples=50))
    for (model, *rest), row in found.items():
        if model == "a":
            assert found["twin", *rest].asDict() == row.asDict() | {"model": "twin"}


def test_summary_does_not_depend_on_partitions_or_the_order_of_rows(per_user, segments):
    one, other = (
        summarise(frame, "run", segments, resamples=100).sort(*KEYS)
        for frame in (
            per_user.coalesce(1).sortWithinPartitions("model", "user_id"),
            per_user.repartition(7),
        )
    )
    assert_df_equality(one, other)


def test_another_seed_draws_other_users(per_user):
    one, other = (figures(summarise(per_user, "run", resamples=50, seed=seed)) for seed in (1, 2))
    assert any(one[key]["ci_low"] != other[key]["ci_low"] for key in one)
    assert all(one[key]["value"] == other[key]["value"] for key in one)
