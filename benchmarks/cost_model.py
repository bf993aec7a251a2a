"""Seconds of a sweep on a cluster that is not there, from rates that were measured on one that is.

A sum of five terms for each half-sweep, none of which overlaps another: compute, broadcast,
shuffle, driver and overhead. Pure functions; `cluster.py` measures the rates, and holds the
predictions against runs. docs/scale.md explains the terms.
"""

from dataclasses import astuple, dataclass, fields
from math import inf, log2
from typing import Literal

import numpy as np
import numpy.typing as npt

from recsys_spark.als.execution_plan import Plan, Sizes
from recsys_spark.als.memory_estimate import Needs, needs
from recsys_spark.kernels.als.solver import row_seconds
from recsys_spark.kernels.als.spec import other_side, resolve_spec

Placement = Literal["replicated", "sharded"]
Doubles = npt.NDArray[np.float64]

_ROW_WORK = 32  # of als.blocks: what a row counts besides its pairs where blocks are cut
_PIECE = 4 * 2**20  # bytes: spark.broadcast.blockSize
_JVM_SHARE = 4  # of als.memory_estimate: a side may be a quarter of the driver's heap
_JOBS = {"replicated": 1, "sharded": 3}  # of a half-sweep, as counted in the event log
_BINS = 2000


@dataclass(frozen=True)
class Cluster:
    """Executors, one a host, of `cores` each. network: bytes/s of a host; driver_heap: bytes."""

    executors: int
    cores: int
    network: float = inf
    driver_heap: int = 8 * 2**30

    @property
    def slots(self) -> int:
        """Tasks that run at once."""
        return self.executors * self.cores


@dataclass(frozen=True)
class Data:
    """Interactions; the skews are the exponents of power laws that rows' lengths follow."""

    pairs: int
    users: int
    items: int
    user_skew: float = 0.7
    item_skew: float = 1.1

    def rows(self, side: str) -> int:
        """How many rows a side has."""
        return self.users if side == "user" else self.items

    def lengths(self, side: str) -> tuple[Doubles, Doubles]:
        """Pairs of a row, and how many rows have about as many: (bins,) each."""
        skew = self.user_skew if side == "user" else self.item_skew
        return row_lengths(self.rows(side), self.pairs, self.rows(other_side(side)), skew)


@dataclass(frozen=True)
class Rates:
    """Measured. solving: a task's seconds over those that `kernels.als.solver` estimates for its
    rows. shuffling: core seconds a byte, from the fixed side's file to the block. broadcasting,
    answering: seconds a byte, driver to hosts and tasks to driver, network apart. flops: of the
    driver, a second. job: seconds of one without work. dispatch: seconds of the driver for each
    task; task_replicated, task_sharded: seconds of a slot for each, besides its work.
    """

    solving: float
    shuffling: float
    broadcasting: float
    answering: float
    flops: float
    job: float
    dispatch: float
    task_replicated: float
    task_sharded: float

    def task(self, placement: Placement) -> float:
        """Seconds of a slot for each task, besides its work."""
        return self.task_replicated if placement == "replicated" else self.task_sharded


@dataclass(frozen=True)
class Sweep:
    """Seconds by term."""

    compute: float = 0.0
    broadcast: float = 0.0
    shuffle: float = 0.0
    driver: float = 0.0
    overhead: float = 0.0

    @property
    def seconds(self) -> float:
        """All terms, one after the other."""
        return float(sum(astuple(self)))

    @property
    def bottleneck(self) -> str:
        """The name of the largest term."""
        return max(fields(self), key=lambda field: float(getattr(self, field.name))).name

    def __add__(self, other: "Sweep") -> "Sweep":
        return Sweep(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def sweep(data: Data, rank: int, cluster: Cluster, rates: Rates, placement: Placement) -> Sweep:
    """Predicted seconds of a sweep: both sides solved once, exactly.

    Parameters
    ----------
    data
        Sizes and skews of the training data.
    rank
        Length of a vector.
    cluster
        Executors, their cores and their network.
    rates
        As measured.
    placement
        Where the factors are; see `choose_placement`.
    """
    half = _replicated_half if placement == "replicated" else _sharded_half
    return half("user", data, rank, cluster, rates) + half("item", data, rank, cluster, rates)


def choose_placement(data: Data, rank: int, cluster: Cluster) -> Placement:
    """What `solver.placement: auto` takes on such a cluster, by `Plan.is_sharded`.

    The driver's own placement is left out: on a cluster it is for sweeps of less than a second.
    """
    return "sharded" if _plan(cluster).is_sharded(_sizes(data, cluster), rank) else "replicated"


def memory(data: Data, rank: int, cluster: Cluster, placement: Placement) -> Needs:
    """Bytes that training takes, by `als.memory_estimate.needs`."""
    spec = resolve_spec("ials", rank=rank)
    return needs(_sizes(data, cluster), spec, Plan(placement=placement, folder="shared"))


def row_lengths(rows: int, pairs: int, most: int, skew: float) -> tuple[Doubles, Doubles]:
    """Lengths by rank^-skew, of `pairs` in all, at least 1 and at most `most`; and rows of each.

    Rows of similar rank are one bin, so that a hundred million cost what a thousand do.
    """
    edges = np.unique(np.geomspace(1, rows + 1, _BINS).round())
    sizes, ranks = np.diff(edges), np.sqrt(edges[1:] * edges[:-1])
    low, high = 0.0, float(pairs)
    for _ in range(100):
        scale = (low + high) / 2
        lengths = np.clip(scale * ranks**-skew, 1, most)
        low, high = (scale, high) if lengths @ sizes < pairs else (low, scale)
    return lengths, sizes


def blocks(side: str, data: Data, cluster: Cluster) -> int:
    """Blocks of a side, about, as `Plan.block_entries` and `als.blocks.lay_out` cut them."""
    entries = _plan(cluster).block_entries(_sizes(data, cluster))
    return (data.pairs + _ROW_WORK * data.rows(side)) // entries + 1


def wanted_rows(side: str, data: Data, cluster: Cluster) -> float:
    """Rows that blocks of a side want of the other, each counted in every block that wants it.

    A row of n pairs meets B (1 - (1 - 1/B)^n) of B blocks that are equally likely for each pair.
    """
    lengths, sizes = data.lengths(other_side(side))
    own = blocks(side, data, cluster)
    if own == 1:
        return float(data.rows(other_side(side)))
    return float(sizes @ (-own * np.expm1(lengths * np.log1p(-1 / own))))


def shuffled_bytes(side: str, data: Data, rank: int, cluster: Cluster) -> float:
    """Of a sharded half-sweep: rows of the fixed side, and the blocks with their routes."""
    pieces = wanted_rows(side, data, cluster) * rank * 4
    routes = wanted_rows(other_side(side), data, cluster) * 4
    return pieces + routes + data.pairs * 5 + data.rows(side) * 16


def broadcast_bytes(side: str, data: Data, rank: int) -> float:
    """Of a half-sweep, to each host: the fixed side, its Gram matrix and eigenvectors, and the
    unobserved weights of the rows solved.
    """
    return data.rows(other_side(side)) * rank * 4 + 2 * rank**2 * 8 + data.rows(side) * 8


def estimated_solving(side: str, data: Data, rank: int) -> float:
    """Core seconds in which a side's rows are solved exactly, as `kernels.als.solver` believes."""
    lengths, rows = data.lengths(side)
    return float(rows @ row_seconds(Plan().solver, rank, lengths.astype(np.int64)))


def _replicated_half(side: str, data: Data, rank: int, cluster: Cluster, rates: Rates) -> Sweep:
    own, other = data.rows(side), data.rows(other_side(side))
    products = 2 * (own + other) * rank**2  # the Gram matrix of what is solved, the fixed rotated
    answers = own * rank * 4
    return Sweep(
        compute=_compute(side, data, rank, cluster, rates),
        broadcast=_broadcasting(broadcast_bytes(side, data, rank), cluster, rates),
        driver=products / rates.flops + _answering(answers, cluster, rates),
        overhead=_overhead("replicated", blocks(side, data, cluster), cluster, rates),
    )


def _sharded_half(side: str, data: Data, rank: int, cluster: Cluster, rates: Rates) -> Sweep:
    own, other = (blocks(name, data, cluster) for name in (side, other_side(side)))
    moved = shuffled_bytes(side, data, rank, cluster)
    remote = moved * (1 - 1 / cluster.executors)
    grams = own * rank**2 * 8
    tasks = own + other + own + min(cluster.slots, own)  # map, reduce, and read the sums
    return Sweep(
        compute=_compute(side, data, rank, cluster, rates),
        shuffle=moved * rates.shuffling / cluster.slots
        + remote / (cluster.executors * cluster.network),
        driver=_answering(grams, cluster, rates),
        overhead=_overhead("sharded", tasks, cluster, rates),
    )


def _compute(side: str, data: Data, rank: int, cluster: Cluster, rates: Rates) -> float:
    """Work spread over slots, and half a task in which the last ones are waited for."""
    work = rates.solving * estimated_solving(side, data, rank)
    number = blocks(side, data, cluster)
    busy = min(cluster.slots, number)
    return work / busy + (1 - 1 / busy) * work / number / 2


def _broadcasting(size: float, cluster: Cluster, rates: Rates) -> float:
    """Pieces go from host to host: the last one has the first after log2 hops."""
    hops = log2(cluster.executors) * min(size, _PIECE)
    return size * rates.broadcasting + (size + hops) / cluster.network


def _answering(size: float, cluster: Cluster, rates: Rates) -> float:
    return size * rates.answering + size / cluster.network


def _overhead(placement: Placement, tasks: int, cluster: Cluster, rates: Rates) -> float:
    each = rates.task(placement) / min(cluster.slots, tasks) + rates.dispatch
    return _JOBS[placement] * rates.job + tasks * each


def _plan(cluster: Cluster) -> Plan:
    """The default one, within the driver's heap as `als.memory_estimate.within_limits` has it."""
    plan = Plan()
    budget = min(plan.broadcast_budget_bytes, cluster.driver_heap // _JVM_SHARE)
    return Plan(broadcast_budget_bytes=budget)


def _sizes(data: Data, cluster: Cluster) -> Sizes:
    return Sizes(data.pairs, data.users, data.items, 0.0, 0.0, max(2, cluster.slots))
