"""The model of a cluster's sweeps: how its terms move, and what it counts beside real blocks."""

from dataclasses import astuple, fields, replace
from itertools import pairwise

import numpy as np
import pytest
from cost_model import (
    Cluster,
    Data,
    Rates,
    Sweep,
    blocks,
    broadcast_bytes,
    choose_placement,
    memory,
    row_lengths,
    shuffled_bytes,
    sweep,
    wanted_rows,
)

from recsys_spark.als.blocks import block_ranges, destination
from recsys_spark.kernels.als.spec import SIDES, other_side

GBIT = 1e9 / 8
RATES = Rates(
    solving=1.5,
    shuffling=5e-9,
    broadcasting=4e-9,
    answering=6e-9,
    flops=1e10,
    job=0.1,
    task_replicated=0.02,
    task_sharded=0.03,
    dispatch=0.001,
)
CLUSTER = Cluster(executors=10, cores=4, network=10 * GBIT)
SMALL = Data(pairs=2_000_000, users=20_000, items=5_000)
LARGE = Data(pairs=1_000_000_000, users=10_000_000, items=1_000_000)
PLACEMENTS = ["replicated", "sharded"]
every = pytest.mark.parametrize("placement", PLACEMENTS)
sized = pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])


@every
@sized
@pytest.mark.parametrize("rank", [64, 128])
def test_compute_term_never_grows_with_executors(data, rank, placement):
    counts = [1, 2, 3, 5, 10, 40, 100, 101, 1000, 5000]
    found = [
        sweep(data, rank, replace(CLUSTER, executors=n), RATES, placement).compute for n in counts
    ]
    assert all(later <= sooner * (1 + 1e-12) for sooner, later in pairwise(found))
    assert found[-1] < found[0] / 5


@every
@sized
def test_work_grows_with_pairs(data, placement):
    """Of the same rows. Overhead need not: longer rows make fewer blocks of a slot's share."""
    sizes = [data.pairs * factor for factor in (1, 2, 5, 20)]
    found = [sweep(replace(data, pairs=n), 64, CLUSTER, RATES, placement) for n in sizes]
    for sooner, later in pairwise(found):
        assert later.compute > sooner.compute
        assert later.seconds - later.overhead > sooner.seconds - sooner.overhead


@every
@sized
@pytest.mark.parametrize("executors", [1, 10, 1000])
def test_bottleneck_is_the_largest_term(data, executors, placement):
    found = sweep(data, 64, replace(CLUSTER, executors=executors), RATES, placement)
    assert getattr(found, found.bottleneck) == max(astuple(found))
    assert found.seconds == pytest.approx(sum(astuple(found)), rel=1e-12)
    assert min(astuple(found)) >= 0


@pytest.mark.parametrize("term", [field.name for field in fields(Sweep)])
def test_bottleneck_is_named(term):
    assert (
        Sweep(**{term: 2.0}, **{"driver" if term != "driver" else "compute": 1.0}).bottleneck
        == term
    )


@pytest.mark.parametrize(
    ("rate", "factor", "term", "placements"),
    [
        ("solving", 3, "compute", PLACEMENTS),
        ("shuffling", 3, "shuffle", ["sharded"]),
        ("broadcasting", 3, "broadcast", ["replicated"]),
        ("answering", 3, "driver", PLACEMENTS),
        ("flops", 1 / 3, "driver", ["replicated"]),
        ("job", 3, "overhead", PLACEMENTS),
        ("task_replicated", 3, "overhead", ["replicated"]),
        ("task_sharded", 3, "overhead", ["sharded"]),
        ("dispatch", 3, "overhead", PLACEMENTS),
    ],
)
def test_each_rate_moves_its_own_term(rate, factor, term, placements):
    slower = replace(RATES, **{rate: getattr(RATES, rate) * factor})
    for placement in PLACEMENTS:
        one, two = (sweep(LARGE, 64, CLUSTER, rates, placement) for rates in (RATES, slower))
        changed = {f.name for f in fields(Sweep) if getattr(one, f.name) != getattr(two, f.name)}
        assert changed == ({term} if placement in placements else set())
        assert two.seconds >= one.seconds


@every
def test_a_faster_network_takes_no_longer(placement):
    found = [
        sweep(LARGE, 64, replace(CLUSTER, network=speed * GBIT), RATES, placement).seconds
        for speed in (1, 10, 100, float("inf"))
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


def test_broadcast_grows_with_executors_by_the_hops_alone():
    rates = replace(RATES, dispatch=0.0)
    few, many = (
        sweep(LARGE, 64, replace(CLUSTER, executors=n), rates, "replicated").broadcast
        for n in (1, 1024)
    )
    hops = 10 * 4 * 2**20 / CLUSTER.network
    assert many - few == pytest.approx(2 * hops, rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "rank", "heap_gib", "placement"),
    [
        (1_000_000, 64, 8, "replicated"),
        (8_388_608, 64, 8, "replicated"),  # 2 GiB, the default budget
        (8_388_609, 64, 8, "sharded"),
        (4_194_304, 64, 4, "replicated"),  # a quarter of the heap
        (4_194_305, 64, 4, "sharded"),
        (8_388_609, 64, 64, "sharded"),
        (4_194_305, 128, 8, "sharded"),
    ],
)
def test_placement_follows_the_budget(rows, rank, heap_gib, placement):
    cluster = replace(CLUSTER, driver_heap=heap_gib * 2**30)
    assert choose_placement(Data(10 * rows, rows, 1000), rank, cluster) == placement


def test_memory_of_a_host_is_both_sides_where_they_are_broadcast():
    assert memory(SMALL, 64, CLUSTER, "replicated").host == 25_000 * 64 * 4
    assert memory(SMALL, 64, CLUSTER, "sharded").host < 25_000 * 64 * 4


@pytest.mark.parametrize("skew", [0.0, 0.7, 1.1])
@pytest.mark.parametrize(("rows", "pairs", "most"), [(50, 900, 400), (100_000, 3_000_000, 5_000)])
def test_row_lengths_add_up(rows, pairs, most, skew):
    lengths, counts = row_lengths(rows, pairs, most, skew)
    assert counts.sum() == rows
    assert lengths @ counts == pytest.approx(pairs, rel=1e-6)
    assert lengths.min() >= 1
    assert lengths.max() <= most
    assert (np.diff(lengths) <= 0).all()


def drawn(data, seed=0):
    """Distinct pairs of a uniform draw: (users, items), ascending."""
    rng = np.random.default_rng(seed)
    found = np.sort(rng.choice(data.users * data.items, data.pairs, replace=False))
    return {"user": found // data.items, "item": found % data.items}


EVEN = Data(pairs=60_000, users=3_000, items=500, user_skew=0.0, item_skew=0.0)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("executors", [1, 3, 40])
def test_blocks_and_wanted_rows_are_those_of_real_blocks(side, executors):
    cluster, pairs = Cluster(executors, 2), drawn(EVEN)
    counts = np.bincount(pairs[side], minlength=EVEN.rows(side))
    entries = max(10_000, EVEN.pairs // (3 * cluster.slots))
    ranges = block_ranges(counts, entries, 1_000_000)
    own = blocks(side, EVEN, cluster)
    assert abs(own - len(ranges.starts)) <= 1
    at = destination(ranges, pairs[side].astype(np.int32), pairs[other_side(side)].astype(np.int32))
    wanted = len(set(zip(at.tolist(), pairs[other_side(side)].tolist(), strict=True)))
    expected = wanted_rows(side, EVEN, cluster) * len(ranges.starts) / own
    assert expected == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("side", SIDES)
def test_bytes_grow_with_the_rank_as_vectors_do(side):
    one, two = (broadcast_bytes(side, SMALL, rank) for rank in (64, 128))
    assert two - one == SMALL.rows(other_side(side)) * 64 * 4 + 2 * 8 * (128**2 - 64**2)
    one, two = (shuffled_bytes(side, SMALL, rank, CLUSTER) for rank in (64, 128))
    assert two - one == pytest.approx(wanted_rows(side, SMALL, CLUSTER) * 64 * 4)
