"""The same factors from any layout of the same ratings, and awkward shapes of data."""

import numpy as np
import pytest

from recsys_spark import WALS
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import Factors
from recsys_spark.als.trainer import fit_factors, solve_side
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import dense_table, frame_of, normal_factors, ratings

SPEC = resolve_spec("ials", rank=3, iterations=2)


def fit(frame, blocks=3, spec=SPEC):
    return fit_factors(frame, spec, Plan(blocks, placement="replicated"))


def with_duplicates():
    """Ratings of whole and of fractional value, some pairs twice."""
    user, item, value = ratings(seed=8, users=20, items=12)
    value = value / 3
    return tuple(np.append(x, x[:5]) for x in (user, item, value))


def assert_bit_equal(one, other):
    for side in ("user", "item"):
        np.testing.assert_array_equal(getattr(one, side).ids, getattr(other, side).ids)
        np.testing.assert_array_equal(getattr(one, side).vectors, getattr(other, side).vectors)
    assert one.losses == other.losses


def assert_close(one, other):
    for side in ("user", "item"):
        np.testing.assert_array_equal(getattr(one, side).ids, getattr(other, side).ids)
        np.testing.assert_allclose(
            getattr(one, side).vectors, getattr(other, side).vectors, rtol=1e-5, atol=1e-6
        )


@pytest.fixture(scope="module")
def spec():
    """Linear weights, so that the values and their order matter."""
    return resolve_spec("hu2008", rank=3, iterations=2, alpha=2.0)


@pytest.fixture(scope="module")
def expected(spark, spec):
    return fit(frame_of(spark, with_duplicates()), spec=spec)


@pytest.mark.parametrize("partitions", [1, 7])
def test_partitioning_and_order_of_the_rows_do_not_matter(spark, spec, expected, partitions):
    columns = with_duplicates()
    order = np.random.default_rng(partitions).permutation(len(columns[0]))
    frame = frame_of(spark, [x[order] for x in columns]).repartition(partitions)
    assert_bit_equal(fit(frame, spec=spec), expected)


def test_a_second_run_gives_the_same_bits(spark, spec, expected):
    assert_bit_equal(fit(frame_of(spark, with_duplicates()), spec=spec), expected)


def test_the_size_of_arrow_batches_does_not_matter(spark, spec, expected):
    key = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(key)
    spark.conf.set(key, 10_000)
    try:
        assert_bit_equal(fit(frame_of(spark, with_duplicates()), spec=spec), expected)
    finally:
        spark.conf.set(key, before)


@pytest.mark.parametrize("blocks", [1, 5])
def test_the_number_of_blocks_does_not_matter(spark, spec, expected, blocks):
    """Bit for bit; only the sums of the loss are put together differently."""
    found = fit(frame_of(spark, with_duplicates()), blocks, spec)
    for side in ("user", "item"):
        np.testing.assert_array_equal(getattr(found, side).vectors, getattr(expected, side).vectors)
    totals = [[loss.total for loss in each.losses] for each in (found, expected)]
    np.testing.assert_allclose(*totals, rtol=1e-12)


def test_more_blocks_than_rows_are_accepted(spark):
    frame = frame_of(spark, ratings(users=4, items=3))
    assert_close(fit(frame, 9), fit(frame, 1))


def test_ids_may_be_sparse_large_and_negative(spark):
    columns = ratings(seed=9)
    user_ids = np.sort(np.random.default_rng(1).integers(-(2**62), 2**62, columns[0].max() + 1))
    item_ids = np.arange(columns[1].max() + 1) * 3 - 7
    named = (user_ids[columns[0]], item_ids[columns[1]], columns[2])
    fixed = normal_factors(3, len(item_ids), 3)
    plain = solve_side(
        frame_of(spark, columns), "user", Factors(np.arange(len(item_ids)), fixed), SPEC, Plan()
    )
    solved = solve_side(frame_of(spark, named), "user", Factors(item_ids, fixed), SPEC, Plan())
    np.testing.assert_array_equal(solved.ids, user_ids)
    np.testing.assert_array_equal(solved.vectors, plain.vectors)
    trained = fit(frame_of(spark, named))
    np.testing.assert_array_equal(trained.user.ids, user_ids)
    np.testing.assert_array_equal(trained.item.ids, item_ids)
    assert trained.losses[1].total < trained.losses[0].total


def test_giant_rows_solve_like_the_others(spark):
    """One user has 30 % of the rows, one item belongs to all users."""
    user, item, value = ratings(seed=10, users=60, items=300, density=0.01)
    more = np.setdiff1d(np.arange(300), item[user == 5])
    user = np.append(user, np.full(len(more), 5))
    item = np.append(item, more)
    value = np.append(value, np.full(len(more), 2.0))
    assert (user == 5).mean() > 0.3
    trained = fit(frame_of(spark, (user, item, value)), 4)
    wide = trained.item.vectors.astype(float)
    seen = (~np.isnan(dense_table((user, item, value)))).astype(float)
    for row in (5, 6):
        Ys = wide[seen[row] > 0]
        penalty = 0.003 * (len(Ys) + 0.1 * len(wide)) * np.eye(3)
        x = np.linalg.solve(Ys.T @ Ys + 0.1 * wide.T @ wide + penalty, Ys.sum(axis=0))
        np.testing.assert_allclose(trained.user.vectors[row], x, rtol=1e-4, atol=1e-6)


def test_many_sweeps_of_a_tiny_problem_settle(spark):
    spec = resolve_spec("ials", rank=2, iterations=50, regularization=0.05)
    trained = fit(frame_of(spark, ratings(users=4, items=4)), 1, spec)
    totals = [loss.total for loss in trained.losses]
    assert len(totals) == 50
    assert np.isfinite(trained.user.vectors).all()
    assert np.abs(trained.user.vectors @ trained.item.vectors.T).max() > 0.5
    assert totals[-1] == pytest.approx(totals[-2], rel=1e-3)
    assert totals[-1] <= min(totals) * (1 + 1e-6)


def test_persisted_frames_are_released(spark):
    persisted = spark.sparkContext._jsc.getPersistentRDDs
    before = persisted().size()
    frame = frame_of(spark, ratings(), names=("user", "item", "rating"))
    WALS(rank=2, maxIter=1).fit(frame)
    assert persisted().size() == before


def test_persisted_frames_are_released_after_a_failure(spark):
    persisted = spark.sparkContext._jsc.getPersistentRDDs
    before = persisted().size()
    frame = frame_of(spark, ratings(), names=("user", "item", "rating"))

    def fail(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_factors(frame.withColumnRenamed("rating", "value"), SPEC, Plan(), fail)
    assert persisted().size() == before
