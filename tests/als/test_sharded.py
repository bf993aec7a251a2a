"""The sharded placement: the factors of the replicated one, and no side in one place."""

import json

import numpy as np
import pytest
from pyspark import SparkContext
from pyspark.sql.classic.dataframe import DataFrame

from recsys_spark import WALS
from recsys_spark.als import driver, mmap_broadcast
from recsys_spark.als import trainer as fitting
from recsys_spark.als.blocks import block_ranges
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import FactorFrame
from recsys_spark.als.sharded import trainer
from recsys_spark.als.sharded.out_blocks import routes
from recsys_spark.als.trainer import Factorization, fit_factors
from recsys_spark.errors import ConfigError, DivergenceError
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import factors_of, frame_of, ratings

RANK = 3
SPLIT = 25  # below the pairs of user 5 and of item 0
TOLERANCE = 1e-5  # of the largest coordinate: both are computed in single precision
SIDES = ("user", "item")


def giants():
    """User 5 has 30 % of the pairs, item 0 is in all histories."""
    user, item, value = ratings(seed=7, users=40, items=50, density=0.01)
    more = np.setdiff1d(np.arange(50), item[user == 5])
    more = (np.full(len(more), 5), more, 1.0 + more % 5)
    user, item, value = (np.append(x, y) for x, y in zip((user, item, value), more, strict=True))
    assert 0.3 < np.mean(user == 5) < 0.5
    assert SPLIT < np.sum(item == 0) == 40
    return user, item, value


def fit(spark, folder, spec, *, columns=None, on_sweep=lambda _: None, start=None, **plan):
    """A fit whose factors are read before the folder is gone."""
    plan = Plan(1, **({"split_above": SPLIT, "placement": "sharded", "folder": str(folder)} | plan))
    frame = frame_of(spark, giants() if columns is None else columns)
    return read(fit_factors(frame, spec, plan, on_sweep, start))


def read(trained):
    return Factorization(
        trained.user.arrays(), trained.item.arrays(), trained.losses, trained.stopped
    )


def assert_bit_equal(one, other):
    for side in SIDES:
        np.testing.assert_array_equal(getattr(one, side).ids, getattr(other, side).ids)
        np.testing.assert_array_equal(getattr(one, side).vectors, getattr(other, side).vectors)
    assert one.losses == other.losses


def assert_close(one, other):
    for side in SIDES:
        x, y = (getattr(found, side) for found in (one, other))
        np.testing.assert_array_equal(x.ids, y.ids)
        np.testing.assert_allclose(
            x.vectors, y.vectors, rtol=0, atol=TOLERANCE * np.abs(y.vectors).max()
        )
    totals = [[loss.total for loss in found.losses] for found in (one, other)]
    np.testing.assert_allclose(*totals, rtol=TOLERANCE)


CASES = [
    ("hu2008", {"item_unobserved_exponent": 0.5, "user_unobserved_exponent": 0.3}, Solver()),
    ("ials", {"user_unobserved_exponent": 0.5}, Solver("cg", cg_steps=2)),
    ("mllib", {}, Solver("subspace", subspace_block=2)),
    ("mllib", {"nonnegative": True}, Solver("auto")),
    ("explicit", {"biases": "learned"}, Solver()),
    ("lenskit_explicit", {}, Solver()),
]


@pytest.mark.parametrize(("preset", "given", "solver"), CASES)
def test_factors_are_those_of_the_broadcast_layout(spark, tmp_path, preset, given, solver):
    spec = resolve_spec(preset, rank=RANK, iterations=1, **given)
    sharded, replicated = (
        fit(spark, tmp_path, spec, solver=solver, placement=placement)
        for placement in ("sharded", "replicated")
    )
    assert_close(sharded, replicated)


@pytest.fixture(scope="module")
def spec():
    return resolve_spec("hu2008", rank=RANK, iterations=2, alpha=2.0)


@pytest.fixture(scope="module")
def expected(spark, spec, tmp_path_factory):
    """A sharded fit, and what it was after the first sweep."""
    states = []
    folder = tmp_path_factory.mktemp("expected")
    whole = fit(spark, folder, spec, on_sweep=lambda state: states.append(read(state)))
    return whole, states[0]


def test_partitioning_and_order_of_the_rows_do_not_matter(spark, tmp_path, spec, expected):
    columns = giants()
    order = np.random.default_rng(1).permutation(len(columns[0]))
    frame = frame_of(spark, [x[order] for x in columns]).repartition(5)
    plan = Plan(1, split_above=SPLIT, placement="sharded", folder=str(tmp_path))
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", 3)
    try:
        assert_bit_equal(read(fit_factors(frame, spec, plan)), expected[0])
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)


def test_interrupted_fit_resumes_to_the_same_factors(spark, tmp_path, spec, expected):
    whole, first = expected
    start = Factorization(  # type: ignore[call-arg]
        *(FactorFrame(getattr(first, side).frame(spark), RANK) for side in SIDES), first.losses
    )
    assert_bit_equal(fit(spark, tmp_path, spec, start=start), whole)


def test_a_warm_start_is_by_id(spark, tmp_path, expected):
    """Users 0 to 2 are gone, three are new, the others, one of them split, keep their vectors."""
    user, item, value = giants()
    spec = resolve_spec("mllib", rank=RANK, iterations=1)  # items first: users' vectors matter
    moved = (np.where(user < 3, user + 100, user), item, value)
    start = Factorization(expected[0].user, expected[0].item)
    sharded, replicated = (
        fit(spark, tmp_path, spec, columns=moved, start=start, placement=placement)
        for placement in ("sharded", "replicated")
    )
    assert sharded.user.ids.tolist() == [*range(3, 40), 100, 101, 102]
    assert_close(sharded, replicated)


def test_neither_side_is_ever_in_one_place(spark, tmp_path, monkeypatch):
    """Answers to the driver name no vectors, and no matrix is broadcast."""
    spec = resolve_spec("mllib", rank=RANK, iterations=1)
    answers, matrices, share = [], [], mmap_broadcast.share

    def seen(made):
        def answer(frame):
            answers.append(set(frame.columns))
            return made(frame)

        return answer

    def counted(context, array):
        matrices.append(array.ndim > 1)
        return share(context, array)

    for name in ("toArrow", "collect"):
        monkeypatch.setattr(DataFrame, name, seen(getattr(DataFrame, name)))
    monkeypatch.setattr(trainer, "share", counted)
    plan = Plan(1, split_above=SPLIT, placement="sharded", folder=str(tmp_path))
    trained = fit_factors(frame_of(spark, giants()), spec, plan)
    assert answers
    assert not any(names & {"vectors", "features", "factors"} for names in answers)
    assert not any(matrices)
    assert isinstance(trained.user, FactorFrame)


def test_sharded_fit_keeps_the_factors_only(spark, tmp_path):
    spec = resolve_spec("mllib", rank=RANK, iterations=1)
    persisted = spark.sparkContext._jsc.getPersistentRDDs
    before, during = persisted().size(), []

    def on_sweep(_):
        during.append((persisted().size(), len(list((tmp_path / "sweeps").iterdir()))))

    fit(spark, tmp_path, spec, on_sweep=on_sweep)
    assert during == [(before, 2)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["item_factors", "user_factors"]


def test_divergence_keeps_the_last_good_factors(spark, tmp_path, monkeypatch):
    spec = resolve_spec("mllib", rank=RANK, iterations=2)  # items first: no half-step afterwards
    made, calls, good = trainer.settle, [], []

    def settle(*given):
        calls.append(1)
        if len(calls) == 4:
            raise DivergenceError("The factors are no longer finite")
        return made(*given)

    monkeypatch.setattr(trainer, "settle", settle)
    trained = fit(spark, tmp_path, spec, on_sweep=lambda state: good.append(read(state)))
    assert "no longer finite" in trained.stopped
    assert len(good) == 1
    assert_bit_equal(trained, good[0])


def test_auto_routes_what_exceeds_the_budget(spark, tmp_path, monkeypatch):
    spec, chosen = resolve_spec("ials", rank=RANK, iterations=1), []
    monkeypatch.setattr(driver, "driver_pays", lambda *_: False)  # as on a cluster
    monkeypatch.setattr(
        fitting, "_fit", lambda placement, *_: chosen.append(type(placement).__name__)
    )
    budget = 50 * RANK * 4
    for bytes_ in (budget, budget - 1):
        fit_factors(
            frame_of(spark, giants()),
            spec,
            Plan(3, broadcast_budget_bytes=bytes_, folder=str(tmp_path)),
        )
    assert chosen == ["Broadcasting", "Routing"]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(placement="sharded"), r"no folder.*setCheckpointDir"),
        (
            Plan(broadcast_budget_bytes=9),
            r"user factors.*setCheckpointDir\), placement: sharded",
        ),
        (
            Plan(placement="replicated", broadcast_budget_bytes=9, folder="/shared"),
            r"user factors.*broadcast_budget_bytes.*; placement: sharded",
        ),
    ],
)
def test_sharded_refusals_name_the_setting_to_change(spark, monkeypatch, plan, message):
    monkeypatch.setattr(driver, "driver_pays", lambda *_: False)  # as on a cluster
    with pytest.raises(ConfigError, match=message):
        fit_factors(frame_of(spark, ratings()), resolve_spec("ials", rank=RANK), plan)


def test_an_unknown_layout_is_refused():
    with pytest.raises(ConfigError, match=r"^placement is 'ring'; choose one of auto"):
        Plan(placement="ring")


def test_the_estimator_s_factors_stay_in_the_checkpoint_directory(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(SparkContext, "getCheckpointDir", lambda _: str(tmp_path))
    frame = frame_of(spark, ratings(), names=("user", "item", "rating"))
    given = {"rank": RANK, "maxIter": 1, "numBlocks": 2}
    model, other = (
        WALS(placement=placement, **given).fit(frame) for placement in ("sharded", "replicated")
    )
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} == {"item_factors", "user_factors"}
    for one, two in (
        (model.userFactors, other.userFactors),
        (model.itemFactors, other.itemFactors),
    ):
        assert one.schema == two.schema
        (ids, x), (_, y) = factors_of(one), factors_of(two)
        assert len(ids)
        np.testing.assert_allclose(x, y, rtol=0, atol=TOLERANCE * np.abs(y).max())
    assert json.dumps(model.lossHistory)
    assert model.rank == RANK


def test_routes_are_the_rows_that_have_an_entry_in_a_block():
    rng = np.random.default_rng(2)
    dense = rng.random((6, 9)) < 0.5  # rows 10 to 15 of a side, all columns of the other
    dense[:, 4] = dense[0] = True
    rows, cols = np.nonzero(dense)
    indptr = np.searchsorted(rows, np.arange(7))
    other = block_ranges(np.array([3, 3, 3, 3, 40, 3, 3, 3, 3]), 1000, 20)
    assert other.parts.tolist() == [1, 2, 2, 1]
    to, ends, positions = routes(indptr, cols.astype(np.int32), 10, other)
    found = {
        int(block): positions[first:stop].tolist()
        for block, first, stop in zip(to, [0, *ends[:-1]], ends, strict=True)
    }
    # Of column 4, which is a split row of the other side, even rows are in the first part.
    assert found == {
        0: np.flatnonzero(dense[:, :4].any(axis=1)).tolist(),
        1: [0, 2, 4],
        2: [1, 3, 5],
        3: np.flatnonzero(dense[:, 5:].any(axis=1)).tolist(),
    }
