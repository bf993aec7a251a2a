"""Every preset's half-sweep, for both sides, against its system's own formula."""

import numpy as np
import pytest
from pyspark.sql import functions as F

from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import Factors
from recsys_spark.als.trainer import solve_side
from recsys_spark.kernels.als.spec import PRESETS, resolve_spec
from tests.als.samples import by_row, dense_table, frame_of, normal_factors, ratings
from tests.reference import dense_wals as dense

RANK = 3
CASES = {
    "ials": (
        {"unobserved_weight": 0.3, "regularization": 0.02, "nu": 0.7},
        lambda Y, r: dense.google_ials_row(Y, r, 0.3, 0.02, 0.7),
    ),
    "hu2008": ({}, lambda Y, r: dense.hu2008_row(Y, r, 40.0, 1.0)),
    "mllib": ({"alpha": 2.0}, lambda Y, r: dense.mllib_implicit_row(Y, r, 2.0, 0.1)),
    "mllib_explicit": ({}, lambda Y, r: dense.mllib_explicit_row(Y, r, 0.1)),
    "explicit": ({}, lambda Y, r: dense.mllib_explicit_row(Y, r, 0.1)),
    "implicit": ({"alpha": 2.0}, lambda Y, r: dense.implicit_row(Y, r, 2.0, 0.01)),
    "irspack": (
        {"unobserved_weight": 0.2, "nu": 0.5},
        lambda Y, r: dense.irspack_row(Y, r, 0.2, 0.001, 0.5, "IALSPP"),
    ),
    "lenskit": ({}, lambda Y, r: dense.lenskit_implicit_row(Y, r, 40.0, 0.1, False)),
    "lenskit_explicit": ({"biases": "none"}, lambda Y, r: dense.mllib_explicit_row(Y, r, 0.1)),
    "tf_wals": (
        {"alpha": 0.5},
        lambda Y, r: dense.tf_wals_row(Y, r, 0.5, np.ones(len(Y)), 0.01, 0.07),
    ),
}
VARIANTS = {
    "Google's constants": (
        "ials",
        {},
        lambda Y, r: dense.google_ials_row(Y, r, 0.1, 0.003, 1.0),
    ),
    "irspack ORIGINAL": (
        "irspack",
        {"unobserved_weight": 0.2, "target": "unit"},
        lambda Y, r: dense.irspack_row(Y, r, 0.2, 0.001, 1.0, "ORIGINAL"),
    ),
    "irspack log": (
        "irspack",
        {"weighting": "log", "epsilon": 0.5},
        lambda Y, r: dense.irspack_row(Y, r, 1.0, 0.001, 1.0, "IALSPP", epsilon=0.5),
    ),
    "lenskit use_ratings": (
        "lenskit",
        {"weighting": "linear", "alpha": 3.0},
        lambda Y, r: dense.lenskit_implicit_row(Y, r, 3.0, 0.1, True),
    ),
    "implicit below one": (
        "implicit",
        {"alpha": 0.3, "regularization": 2.0},
        lambda Y, r: dense.implicit_row(Y, r, 0.3, 2.0),
    ),
}
# These say what a value of 0 or below means; the others know positive values only.
ANY_VALUE = ("mllib", "mllib_explicit", "explicit", "implicit", "tf_wals")


def solved(spark, columns, side, fixed, spec, **more):
    frame = frame_of(spark, columns)
    for name, function in more.items():
        frame = frame.withColumn(name, function)
    given = Factors(np.arange(len(fixed)), fixed)
    return solve_side(frame, side, given, spec, Plan(2), training=frame).vectors


def assert_solves(spark, preset, given, formula, side, low=1):
    columns = ratings(low=low)
    table = dense_table(columns) if side == "user" else dense_table(columns).T
    fixed = normal_factors(1, table.shape[1], RANK)
    vectors = solved(spark, columns, side, fixed, resolve_spec(preset, rank=RANK, **given))
    expected = [formula(fixed.astype(float), row) for row in by_row(table)]
    np.testing.assert_allclose(vectors, expected, rtol=2e-4, atol=2e-5)


def test_every_preset_has_its_formula():
    assert CASES.keys() == PRESETS.keys()


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("preset", CASES)
def test_preset_solves_its_systems_formula(spark, preset, side):
    assert_solves(spark, preset, *CASES[preset], side, low=-2 if preset in ANY_VALUE else 1)


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_solves_its_systems_formula(spark, variant, side):
    assert_solves(spark, *VARIANTS[variant], side)


@pytest.mark.parametrize("side", ["user", "item"])
def test_tf_wals_with_row_and_column_weights(spark, side):
    columns = ratings(low=-2)
    table = dense_table(columns) if side == "user" else dense_table(columns).T
    fixed = normal_factors(1, table.shape[1], RANK)
    spec = resolve_spec("tf_wals", rank=RANK, unobserved_weight=0.2)
    weight = (F.col("user") + 1) / (F.col("item") + 2)
    vectors = solved(spark, columns, side, fixed, spec, weight=weight)
    ids, others = np.arange(table.shape[0]), np.arange(table.shape[1])
    rows, cols = (ids + 1, 1 / (others + 2)) if side == "user" else (1 / (ids + 2), others + 1)
    expected = [
        dense.tf_wals_row(fixed.astype(float), row, R, cols, 0.2, 0.07)
        for row, R in zip(by_row(table), rows, strict=True)
    ]
    np.testing.assert_allclose(vectors, expected, rtol=2e-4, atol=2e-5)


def test_google_cloud_item_weights_are_a_power_of_item_frequency(spark):
    """GCP's linear weights obs_wt / n_j: exponent -1, alpha = obs_wt * items / rows."""
    columns = ratings()
    table = dense_table(columns)
    fixed = normal_factors(1, table.shape[1], RANK)
    counts = (~np.isnan(table)).sum(axis=0)
    alpha = 130.0 * len(counts) / len(columns[0])
    spec = resolve_spec("tf_wals", rank=RANK, alpha=alpha, item_frequency_exponent=-1.0)
    vectors = solved(spark, columns, "user", fixed, spec)
    expected = [
        dense.tf_wals_row(fixed.astype(float), row, 1.0, 130.0 / counts, 0.01, 0.07)
        for row in by_row(table)
    ]
    np.testing.assert_allclose(vectors, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("side", ["user", "item"])
def test_lenskits_ratings_are_what_its_biases_leave_over(spark, side):
    columns = ratings(seed=5)
    table = dense_table(columns)
    mean, user, item = dense.damped_biases(table, 5.0)
    table = table - mean - user[:, None] - item
    table, own, others = (table, user, item) if side == "user" else (table.T, item, user)
    fixed, ones = normal_factors(1, table.shape[1], RANK), np.ones(table.shape[1])
    last = (ones, others + mean) if side == "user" else (others, ones)
    whole = np.column_stack([fixed, *last]).astype(np.float32)
    spec, frame = resolve_spec("lenskit_explicit", rank=RANK), frame_of(spark, columns)
    given = Factors(np.arange(len(fixed)), whole)
    vectors = solve_side(frame, side, given, spec, Plan(2), training=frame).vectors
    expected = [dense.mllib_explicit_row(fixed.astype(float), row, 0.1) for row in by_row(table)]
    np.testing.assert_allclose(vectors[:, :RANK], expected, rtol=2e-4, atol=2e-5)
    carried = (own, np.ones(len(own))) if side == "user" else (np.ones(len(own)), own + mean)
    np.testing.assert_allclose(vectors[:, RANK:].T, carried, rtol=1e-6, atol=1e-6)
