"""Training on the driver: the factors of the replicated placement, bit for bit, where it pays."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from recsys_spark import WALS
from recsys_spark.als import driver, memory_estimate, replicated
from recsys_spark.als.blocks import read_blocks
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.trainer import fit_factors, prepared
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import factors_of, frame_of, ratings
from tests.als.test_sharded import CASES, SPLIT, assert_bit_equal, giants, read

SPEC = resolve_spec("hu2008", rank=3, iterations=2, alpha=2.0)


def fit(spark, spec, placement, columns=None, solver=None, **given):
    plan = Plan(2, split_above=SPLIT, placement=placement, solver=solver or Solver())
    frame = frame_of(spark, giants() if columns is None else columns)
    return read(fit_factors(frame, spec, plan, **given))


@pytest.mark.parametrize(("preset", "given", "solver"), CASES)
def test_factors_are_those_of_the_broadcast_layout_bit_for_bit(spark, preset, given, solver):
    spec = resolve_spec(preset, rank=3, iterations=1, **given)
    one, other = (
        fit(spark, spec, placement, solver=solver) for placement in ("driver", "replicated")
    )
    assert_bit_equal(one, other)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_and_the_order_of_rows_do_not_change_a_bit(
    spark, monkeypatch, threads
):
    expected = fit(spark, SPEC, "driver")
    monkeypatch.setattr(driver, "driver_threads", lambda: threads)
    columns = giants()
    order = np.random.default_rng(1).permutation(len(columns[0]))
    assert_bit_equal(fit(spark, SPEC, "driver", [x[order] for x in columns]), expected)


def test_an_interrupted_fit_and_a_warm_start_go_on_by_id(spark):
    states = []
    whole = fit(spark, SPEC, "driver", on_sweep=lambda state: states.append(read(state)))
    assert_bit_equal(fit(spark, SPEC, "driver", start=states[0]), whole)
    user, item, value = giants()
    moved = (np.where(user < 3, user + 10**12, user), item, value)  # ids far apart
    start = replace(whole, losses=[])
    one, other = (
        fit(spark, SPEC, placement, moved, start=start) for placement in ("driver", "replicated")
    )
    assert_bit_equal(one, other)


def test_bad_rows_are_refused(spark):
    user, item, value = giants()
    with pytest.raises(ContractError, match="null id or a null, NaN or infinite"):
        fit(spark, SPEC, "driver", (user, item, np.where(user == 5, np.nan, value)))


@pytest.mark.parametrize(
    ("placement", "memory", "expected"),
    [
        ("auto", 2**40, True),
        ("auto", 10_000, False),
        ("driver", 10_000, True),
        ("replicated", 2**40, False),
    ],
)
def test_auto_takes_the_driver_while_its_memory_suffices(
    spark, monkeypatch, placement, memory, expected
):
    monkeypatch.setattr(driver, "available_memory", lambda: memory)
    reported = []
    with prepared(
        frame_of(spark, ratings()), SPEC, Plan(2, placement=placement), reported.append
    ) as data:
        assert (data.blocks is not None) == expected
    assert [sizes.on_driver for sizes in reported] == [expected]


@pytest.mark.parametrize(
    ("master", "pairs", "rank", "expected"),
    [
        ("local", 10**9, 64, True),
        ("local[*]", 10**7, 64, True),
        ("spark://host:7077", 10**5, 64, True),
        ("spark://host:7077", 10**9, 64, False),
        ("local-cluster[2,1,1024]", 10**9, 64, False),
    ],
)
def test_on_a_cluster_only_small_data_is_for_the_driver(monkeypatch, master, pairs, rank, expected):
    context = SimpleNamespace(master=master)
    monkeypatch.setattr(driver, "largest_answer", lambda context: 0)
    sizes = memory_estimate.Sizes(pairs, 10**5, 10**4, 1.0, 1.0, 4)
    assert driver.driver_pays(sizes, replace(SPEC, rank=rank), Plan(), context, 2**50) == expected


def test_pairs_beyond_sparks_limit_of_answers_are_not_for_the_driver(spark, monkeypatch):
    monkeypatch.setattr(driver, "largest_answer", lambda context: 100)
    with prepared(frame_of(spark, ratings()), SPEC, Plan(2)) as data:
        assert data.blocks is None
    monkeypatch.setattr(memory_estimate, "largest_answer", lambda context: 100)
    with pytest.raises(ConfigError, match=r"pairs to the driver.*maxResultSize"):
        fit_factors(frame_of(spark, ratings()), SPEC, Plan(2, placement="driver"))


def test_pairs_that_were_brought_do_not_count_as_memory_that_is_missing(spark, monkeypatch):
    frame = frame_of(spark, ratings())
    free = iter([2**40, 10_000])  # before and after
    monkeypatch.setattr(driver, "available_memory", lambda: next(free))
    with prepared(frame, SPEC, Plan(2)) as data:
        assert data.blocks is not None


def test_available_memory_is_that_of_the_machine():
    assert 2**20 < memory_estimate.available_memory() < 2**50


def test_the_estimator_has_the_layout(spark):
    frame = frame_of(spark, ratings(), names=("user", "item", "rating"))
    given = {"objective": "hu2008", "rank": 2, "maxIter": 1}
    one, other = (
        WALS(placement=placement, **given).fit(frame) for placement in ("driver", "replicated")
    )
    for side in ("userFactors", "itemFactors"):
        found, expected = (factors_of(getattr(model, side)) for model in (one, other))
        for own, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(own, theirs)


@pytest.mark.parametrize(
    ("master", "threads"),
    [
        ("local", 1),
        ("local[1]", 1),
        ("local[2]", 2),
        ("local[3,4]", 3),
        ("local[*]", 6),
        ("local[64]", 6),
        ("yarn", 6),
        (None, 6),
    ],
)
def test_the_driver_uses_as_many_threads_as_tasks_of_local_mode(monkeypatch, master, threads):
    context = SimpleNamespace(master=master) if master else None
    monkeypatch.setattr(replicated, "active_context", lambda: context)
    monkeypatch.setattr(replicated.os, "sched_getaffinity", lambda _: range(6), raising=False)
    assert replicated.driver_threads() == threads


@pytest.mark.parametrize("distinct", [1, 10, 10**6])
def test_blocks_are_those_of_the_executors(spark, distinct):
    rng = np.random.default_rng(distinct)
    user, item = rng.integers(0, 60, 3000) ** 2, 7 * rng.integers(0, 40, 3000)  # pairs repeat
    user[:500] = 5  # more than one block takes
    frame = frame_of(spark, (user, item, rng.integers(0, distinct, 3000) + 0.5))
    spec, plan = replace(SPEC, target="value"), Plan(3, split_above=150)
    with prepared(frame, spec, replace(plan, placement="replicated")) as data:
        batches = {side: own.blocks.toArrow().to_batches() for side, own in data.sides.items()}
    with prepared(frame, spec, replace(plan, placement="driver")) as data:
        for side, stored in data.blocks.items():
            expected = sorted(map(listed, read_blocks(iter(batches[side]))))
            assert sorted(listed(block.read()) for block in stored) == expected
        assert [block.whole for block in data.blocks["user"]].count(False) == 4


def listed(block):
    """A block as it can be compared."""
    arrays = (block.entries.cols, block.entries.a, block.entries.b, block.entries.indptr)
    return block.start, block.whole, *(array.tolist() for array in arrays)
