"""Fold-in: what training would solve for, of ids that it knew and ids that it did not."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain

import numpy as np
import pytest
from pyspark.sql import functions as F

from recsys_spark.als.bias_factors import learn_baseline
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import Factors, factors_frame
from recsys_spark.als.fold_in import fold_in
from recsys_spark.als.trainer import fit_factors, solve_side
from recsys_spark.als.training_statistics import settings_with_statistics
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.kernels.als.spec import resolve_spec
from recsys_spark.schema import FACTORS
from tests.als.samples import frame_of, ratings
from tests.reference import dense_wals as dense
from tests.reference.weighting import unobserved_weight, weigh_rows

RANK = 3
PLAN = Plan(1)
SPREAD = {
    "user_frequency_exponent": -0.4,
    "item_frequency_exponent": 0.6,
    "user_unobserved_exponent": 0.3,
    "item_unobserved_exponent": 0.7,
}
CASES = {preset: (preset, {}) for preset in ("mllib", "implicit", "lenskit")} | {
    "unobserved by item": ("implicit", {"item_unobserved_exponent": 0.5}),
    "decay": ("ials", {"half_life_days": 3.0}),
    "everything": ("irspack", {"nu": 0.4, "nu_star": 1.0, "weighting": "bm25", **SPREAD}),
    "learned": ("mllib_explicit", {"biases": "learned"}),
    "means": ("mllib_explicit", {"biases": "means"}),
    "damped, decay": ("lenskit_explicit", {"half_life_days": 3.0}),
    "learned, weighed": (
        "tf_wals",
        {"unobserved_weight": 0.0, "biases": "learned", "weighting": "linear"},
    ),
    "nonnegative": ("ials", {"nonnegative": True, "item_unobserved_exponent": 0.4}),
}
START = datetime(2024, 1, 1)


def spec_of(name):
    preset, given = CASES[name]
    return resolve_spec(preset, rank=RANK, iterations=1, **given)


def rows_frame(spark, seed=3):
    """Ratings of 14 users and 8 items, each with a time; frequencies differ."""
    frame = frame_of(spark, ratings(seed=seed, users=14, items=8, density=0.5))
    days = (F.col("user") * 5 + F.col("item") * 3) % 11
    return frame.withColumn("timestamp", F.timestamp_seconds(1_700_000_000 + 86_400 * days))


def after_a_sweep(frame, spec):
    """The users that the items answer to, those items, and the users that answer to them."""
    states = []
    trained = fit_factors(frame, replace(spec, order="users_first"), PLAN, states.append)
    baseline = learn_baseline(frame, spec)
    before, items = (
        baseline.restore(side, found)
        for side, found in (("user", states[0].user), ("item", states[0].item))
    )
    np.testing.assert_array_equal(items.vectors, trained.item.vectors)
    return before, items, trained.user


def assert_same_rows(found, expected):
    """The vectors of the ids that were folded in are those of training."""
    positions = np.searchsorted(expected.ids, found.ids)
    np.testing.assert_array_equal(expected.ids[positions], found.ids)
    np.testing.assert_allclose(found.vectors, expected.vectors[positions], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_rows_of_training_fold_into_their_own_factors(spark, name):
    """A few of them alone, so that no statistic can be that of the folded rows."""
    frame, spec = rows_frame(spark).cache(), spec_of(name)
    before, items, users = after_a_sweep(frame, spec)
    some_users, some_items = frame.where("user in (2, 5, 9)"), frame.where("item in (1, 4)")
    folded = solve_side(some_users, "user", items, spec, PLAN, frame)
    assert folded.ids.tolist() == [2, 5, 9]
    assert_same_rows(folded, users)
    folded = solve_side(some_items, "item", before, spec, PLAN, frame)
    assert folded.ids.tolist() == [1, 4]
    assert_same_rows(folded, items)
    frame.unpersist()


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("name", ["everything", "damped, decay", "means", "learned"])
def test_new_ids_with_the_rows_of_others_get_their_factors(spark, name, side):
    frame, spec = rows_frame(spark), spec_of(name)
    before, items, users = after_a_sweep(frame, spec)
    fixed, expected = (items, users) if side == "user" else (before, items)
    renamed = frame.where(F.col(side).isin(1, 6)).withColumn(side, F.col(side) + 1000)
    folded = solve_side(renamed, side, fixed, spec, PLAN, frame)
    assert folded.ids.tolist() == [1001, 1006]
    assert_same_rows(replace(folded, ids=folded.ids - 1000), expected)


def test_a_new_users_vector_is_that_of_the_dense_equation(spark):
    """Own frequencies from own rows; those of items, all means and nu_star from training."""
    given = CASES["everything"][1] | {"half_life_days": 20.0}
    spec = resolve_spec("irspack", rank=RANK, **given)
    training, own = timed_rows(0, 50), [{**row, "user": 99} for row in timed_rows(1, 7)]
    items = np.array(sorted({row["item"] for row in training}))
    own = list({row["item"]: row for row in own if row["item"] in items}.values())
    Y = np.random.default_rng(2).normal(size=(len(items), RANK)).astype(np.float32)
    frames = (frame_of_rows(spark, rows) for rows in (own, training))
    folded = solve_side(next(frames), "user", Factors(items, Y), spec, PLAN, next(frames))

    a, b = np.zeros(len(items)), np.zeros(len(items))
    at = np.searchsorted(items, [row["item"] for row in own])
    a[at], b[at] = np.transpose(weigh_rows(own, spec, training, "user"))
    sides = {"user": own, "item": training}
    w = [unobserved_weight(99, item, training, spec, sides) for item in items]
    L = spec.regularization * (len(own) + spec.beta * len(items)) ** 0.4 * nu_star(training, spec)
    expected = dense.general_row(Y.astype(float), w + a, b, w0=0.0, L=L)
    np.testing.assert_allclose(folded.vectors, [expected], rtol=1e-4)


def timed_rows(seed, count):
    rng = np.random.default_rng(seed)
    columns = (rng.zipf(1.7, count) % 9, rng.integers(0, 6, count), rng.integers(1, 6, count))
    days = rng.integers(0, 40, count)
    return [
        dict(zip(("user", "item", "value", "day"), map(int, row), strict=True))
        for row in zip(*columns, days, strict=True)
    ]


def frame_of_rows(spark, rows):
    data = [(r["user"], r["item"], float(r["value"]), START + timedelta(r["day"])) for r in rows]
    return spark.createDataFrame(data, "user long, item long, value double, timestamp timestamp")


def nu_star(rows, spec):
    """Penalties of all rows of both sides at nu_star, over those at nu."""
    counts = {
        side: np.unique([row[side] for row in rows], return_counts=True)[1]
        for side in ("user", "item")
    }
    sizes = [
        counts["user"] + spec.beta * len(counts["item"]),
        counts["item"] + spec.beta * len(counts["user"]),
    ]
    sizes = np.array(list(chain(*sizes)))
    return (sizes**spec.nu_star).sum() / (sizes**spec.nu).sum()


@pytest.mark.parametrize("biases", ["means", "damped"])
def test_a_new_users_bias_is_that_of_its_formula(spark, biases):
    """b_u = (mean_u - mu) / 2, or sum (r - mu - b_i) / (n + damping); mu and b_i of training."""
    given = {"bias_damping": 3.0} if biases == "damped" else {}
    spec = resolve_spec("lenskit_explicit", rank=RANK, iterations=1, biases=biases, **given)
    frame = rows_frame(spark)
    trained = fit_factors(frame, spec, PLAN)
    q, last = trained.item.vectors[:, :RANK].astype(float), trained.item.vectors[:, -1]
    rated, r = [1, 2, 5], np.array([5.0, 1.0, 4.0])
    new = frame_of(spark, (np.full(3, 77), np.array(rated), r))
    folded = solve_side(new, "user", trained.item, spec, PLAN, frame).vectors[0]
    mean = np.mean([row["value"] for row in frame.collect()])
    bias = (r.mean() - mean) / 2 if biases == "means" else (r - last[rated]).sum() / (3 + 3.0)
    left = q[rated].T @ q[rated] + 0.1 * 3 * np.eye(RANK)
    p = np.linalg.solve(left, q[rated].T @ (r - last[rated] - bias))
    np.testing.assert_allclose(folded, [*p, bias, 1.0], rtol=1e-4, atol=1e-5)


def test_rows_with_unknown_ids_are_left_out_and_rows_with_no_others_too(spark):
    frame, spec = rows_frame(spark), spec_of("everything")
    items = fit_factors(frame, spec, PLAN).item
    schema = "user long, item long, value double, timestamp timestamp"
    strange = [(2, 500, 3.0, START), (70, 500, 3.0, START), (70, None, 3.0, START)]
    more = frame.where("user in (2, 3)").unionByName(spark.createDataFrame(strange, schema))
    plain, found = (
        solve_side(rows, "user", items, spec, PLAN, frame)
        for rows in (frame.where("user in (2, 3)"), more)
    )
    assert found.ids.tolist() == [2, 3]
    np.testing.assert_array_equal(found.vectors, plain.vectors)
    nobody = solve_side(spark.createDataFrame(strange, schema), "user", items, spec, PLAN, frame)
    assert nobody.ids.tolist() == []
    assert nobody.vectors.shape == (0, RANK)


@pytest.mark.parametrize(
    ("preset", "given", "side", "settings"),
    [
        ("ials", {}, "user", []),
        ("ials", {"weighting": "bm25"}, "user", ["weighting"]),
        ("hu2008", {"weighting": "tfidf"}, "user", ["weighting"]),
        ("ials", {"user_frequency_exponent": -0.5}, "item", ["user_frequency_exponent"]),
        ("ials", {"item_unobserved_exponent": 0.5}, "user", ["item_unobserved_exponent"]),
        ("ials", {"half_life_days": 3.0}, "user", ["half_life_days"]),
        ("irspack", {"nu": 0.5, "nu_star": 1.0}, "item", ["nu_star"]),
        ("mllib_explicit", {"biases": "learned"}, "user", []),
        ("mllib_explicit", {"biases": "learned"}, "item", ["biases"]),
        ("lenskit_explicit", {"half_life_days": 3.0}, "user", ["half_life_days", "biases"]),
    ],
)
def test_fold_in_settings_that_need_the_training_rows(preset, given, side, settings):
    assert settings_with_statistics(resolve_spec(preset, **given), side) == settings


def test_a_given_reference_of_decay_needs_no_training_rows():
    spec = resolve_spec("ials", half_life_days=3.0, decay_reference="2024-01-01")
    assert settings_with_statistics(spec, "user") == []


def test_missing_and_other_training_rows_are_refused(spark):
    frame, spec = rows_frame(spark), spec_of("everything")
    items = Factors(np.arange(8), np.ones((8, RANK), np.float32))
    with pytest.raises(ConfigError, match=r"since weighting, nu_star, .* depends .*`training`"):
        solve_side(frame, "user", items, spec, PLAN)
    with pytest.raises(ContractError, match=r"7 items.*8 that have factors.*trained on"):
        solve_side(frame, "user", items, spec, PLAN, frame.where("item <> 3"))


def test_partitions_order_and_blocks_do_not_change_the_vectors(spark):
    frame, spec = rows_frame(spark), spec_of("everything")
    items = fit_factors(frame, spec, PLAN).item
    one = solve_side(frame, "user", items, spec, PLAN, frame)
    shuffled = frame.repartition(5).orderBy(F.desc("item"))
    other = solve_side(shuffled, "user", items, spec, PLAN, shuffled)
    np.testing.assert_array_equal(one.vectors, other.vectors)
    split = solve_side(frame, "user", items, spec, Plan(split_above=3), frame)
    np.testing.assert_allclose(one.vectors, split.vectors, rtol=1e-5, atol=1e-6)


def test_the_table_of_factors_has_the_declared_columns_and_nothing_stays_persisted(spark):
    frame, spec = rows_frame(spark), spec_of("unobserved by item")
    trained = fit_factors(frame, spec, PLAN)
    items = factors_frame(spark, trained.item, "int").withColumnRenamed("features", "factors")
    persisted = spark.sparkContext._jsc.getPersistentRDDs
    before = persisted().size()
    folded = fold_in(frame.where("user = 4"), items, spec, PLAN, frame)
    assert folded.dtypes == [(field.name, field.dataType.simpleString()) for field in FACTORS]
    (row,) = folded.collect()
    assert row["id"] == 4
    np.testing.assert_allclose(row["factors"], trained.user.vectors[4], rtol=1e-5)
    assert persisted().size() == before
