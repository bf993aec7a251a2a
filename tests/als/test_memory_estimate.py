"""What training needs of memory, and limits that are refused before it starts."""

from dataclasses import replace

import numpy as np
import pytest

from recsys_spark.als.execution_plan import Plan, Sizes
from recsys_spark.als.memory_estimate import needs, readable, refuse_what_cannot_fit, within_limits
from recsys_spark.als.trainer import fit_factors
from recsys_spark.errors import ConfigError
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import frame_of, ratings

SPEC = resolve_spec("ials", rank=64)
SIZES = Sizes(pairs=10**9, users=10**7, items=10**6, sum_a=0, sum_b=0, slots=8)
PLAN = Plan(broadcast_budget_bytes=2**40)  # nothing is too large to broadcast


def test_needs_grow_with_what_they_are_made_of():
    small = needs(SIZES, SPEC, PLAN)
    assert small.answer == 10**7 * 64 * 4
    assert small.host == 11 * 10**6 * 64 * 4
    assert needs(SIZES, resolve_spec("ials", rank=128), PLAN).driver > 1.9 * small.driver
    assert needs(SIZES, SPEC, replace(PLAN, blocks=50)).worker > 5 * small.worker
    assert small.worker < 100 * 2**20


def test_blocks_in_files_are_not_kept_twice():
    persisted, filed = (
        needs(SIZES, SPEC, replace(PLAN, folder=folder)) for folder in (None, "/shared")
    )
    assert persisted.files == 0
    assert filed.files == 10**10
    assert filed.kept == persisted.kept - filed.files
    assert str(persisted).endswith("31.7 GiB of blocks in memory or on disk")
    assert str(filed).endswith("22.4 GiB of pairs in memory or on disk, 9.3 GiB of blocks in files")


def test_a_sharded_placement_needs_files_and_traffic_in_place_of_memory():
    plan = replace(PLAN, folder="/shared")
    replicated, sharded = (
        needs(SIZES, SPEC, replace(plan, placement=placement)) for placement in ("auto", "sharded")
    )
    assert sharded.driver < replicated.driver / 10
    assert sharded.host < replicated.host / 10
    assert sharded.answer == 500 * 64**2 * 8
    assert sharded.sent == 500 * 2 * 10**6 * 64 * 4
    assert sharded.files > replicated.files + 2 * 11 * 10**6 * 64 * 4
    assert "blocks and factors in files, at most 238.4 GiB of factors shuffled between" in str(
        sharded
    )
    assert needs(SIZES, SPEC, Plan(folder="/shared")) == sharded  # auto: 2.4 GiB exceed 2


@pytest.mark.parametrize(
    ("pairs", "blocks", "expected"),
    [
        (10**9, None, 2_000_000),
        (1000, None, 10_000),
        (2_400_000, None, 100_000),
        (10**9, 10, 10**8),
    ],
)
def test_blocks_are_a_few_for_each_slot_within_limits(pairs, blocks, expected):
    sizes = Sizes(pairs, 10, 10, 0, 0, slots=8)
    assert Plan(blocks).block_entries(sizes) == expected


def test_training_that_fits_is_not_refused(spark):
    sizes = Sizes(10**6, 10**5, 10**4, 0, 0, 2)
    refuse_what_cannot_fit(sizes, SPEC, Plan(), spark.sparkContext)


@pytest.mark.parametrize(
    ("sizes", "budget", "setting"),
    [
        (SIZES, 2 * 2**30, "user factors need 2.4 GiB.*broadcast_budget_bytes"),
        (SIZES, 2**40, "2.4 GiB of factors to the driver.*spark.driver.maxResultSize"),
    ],
)
def test_training_that_cannot_fit_is_refused_by_the_setting(spark, sizes, budget, setting):
    with pytest.raises(ConfigError, match=setting):
        refuse_what_cannot_fit(sizes, SPEC, Plan(broadcast_budget_bytes=budget), spark.sparkContext)


def test_auto_routes_what_the_driver_would_not_take(spark, monkeypatch):
    """In a session of two gigabytes, with Spark's own limit of one for an answer."""
    planned = Plan(folder="/shared", broadcast_budget_bytes=2**40)
    within = within_limits(planned, spark.sparkContext)
    assert within.broadcast_budget_bytes == pytest.approx(2**29, rel=0.1)
    monkeypatch.setattr("recsys_spark.als.memory_estimate._HELD_BY_JVM", 1)
    assert within_limits(planned, spark.sparkContext).broadcast_budget_bytes == 2**30
    for plan in (replace(planned, placement="replicated"), replace(planned, folder=None)):
        assert within_limits(plan, spark.sparkContext) == plan
    assert within.is_sharded(SIZES, 64)
    refuse_what_cannot_fit(SIZES, SPEC, within, spark.sparkContext)


def test_fit_reports_the_sizes_before_it_builds(spark):
    reported = []
    columns = ratings(users=12, items=9)
    spec = resolve_spec("hu2008", rank=2, iterations=1, alpha=2.0)
    fit_factors(frame_of(spark, columns), spec, Plan(2), on_sizes=reported.append)
    (sizes,) = reported
    assert (sizes.pairs, sizes.users, sizes.items) == (len(columns[0]), 12, 9)
    assert sizes.sum_a == pytest.approx(np.sum(2 * columns[2]))
    assert sizes.sum_b == pytest.approx(np.sum(1 + 2 * columns[2]))


@pytest.mark.parametrize(
    ("size", "text"), [(5, "5 bytes"), (2048, "2 KiB"), (3 * 2**20, "3 MiB"), (2**31, "2.0 GiB")]
)
def test_sizes_read_well(size, text):
    assert readable(size) == text
