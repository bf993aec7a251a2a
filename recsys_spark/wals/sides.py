"""Both sides of the training data, ready for the sweeps: ids, terms of the rows, and blocks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pyspark import SparkContext, StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.kernels.solver import Solver
from recsys_spark.kernels.spec import SIDES, WalsSpec
from recsys_spark.kernels.weights import nu_star_scale, unobserved_weights
from recsys_spark.wals.blocks import Layout, build_blocks, lay_out
from recsys_spark.wals.budget import Sizes, refuse_what_cannot_fit
from recsys_spark.wals.packed import Ids, Index, Packed, index_sides
from recsys_spark.wals.shared import SharedArray, share
from recsys_spark.wals.sweep import RowTerms

Single = npt.NDArray[np.float32]

_MOST_ENTRIES = 4_000_000
_LEAST_ENTRIES = 10_000
_BLOCKS_A_SLOT = 2


@dataclass(frozen=True)
class Plan:
    """How the factors are computed; all but the solver without influence beyond rounding.

    blocks: blocks a side, about; None chooses by the data and the number of slots.
    broadcast_budget_bytes: the largest matrix of factors that may be broadcast.
    split_above: entries above which a row is split over several blocks.
    """

    blocks: int | None = None
    broadcast_budget_bytes: int = 2048 * 2**20
    split_above: int = 1_000_000
    solver: Solver = field(default_factory=Solver)


@dataclass(frozen=True)
class Side:
    """A side's rows.

    ids: (rows,) ascending. blocks: its entries. weights: (rows,) the unobserved weight of each
    row as a column of the other side's rows; empty: all 1. counts: (rows,) entries of each.
    """

    ids: Ids
    counts: Ids
    blocks: DataFrame
    terms: RowTerms
    weights: Single


@contextmanager
def built_sides(
    pairs: Packed, spec: WalsSpec, plan: Plan, on_sizes: Callable[[Sizes], None]
) -> Iterator[dict[str, Side]]:
    """Index both sides and build their blocks, which stay persisted inside the context.

    on_sizes: is told the sizes before the blocks are built. Raises ConfigError if a known limit
    of memory is too small for them.
    """
    indices = index_sides(pairs.records)
    context = pairs.records.sparkSession.sparkContext
    users, items = (len(indices[side].ids) for side in SIDES)
    slots = context.defaultParallelism
    sizes = Sizes(pairs.rows, users, items, pairs.sum_a, pairs.sum_b, slots)
    refuse_what_cannot_fit(
        sizes, spec, block_entries(sizes, plan), plan.broadcast_budget_bytes, context
    )
    on_sizes(sizes)
    layouts = {side: plan_layout(sizes, index, plan) for side, index in indices.items()}
    with shared_ids(pairs.records, {side: index.ids for side, index in indices.items()}) as ids:
        blocks = build_blocks(pairs.records, ids, layouts).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            blocks.count()  # so that the packed pairs are read once, for both sides
            yield {side: _side(side, indices, blocks, spec) for side in SIDES}
        finally:
            blocks.unpersist()


def _side(side: str, indices: dict[str, Index], blocks: DataFrame, spec: WalsSpec) -> Side:
    own = indices[side]
    counts = {name: index.counts for name, index in indices.items()}
    terms = row_terms(own.counts, counts, spec, side)
    weights = column_weights(own.counts, spec, side)
    return Side(own.ids, own.counts, blocks.where(F.col("side") == side), terms, weights)


def row_terms(rows: Ids, counts: dict[str, Ids], spec: WalsSpec, side: str) -> RowTerms:
    """The terms of these rows of a side, given by the pairs of each.

    counts: of both sides, the pairs of every row in training.
    """
    weights = unobserved_weights(rows, spec.unobserved_exponent(side), counts[side])
    users, items = (counts[name].astype(np.float64) for name in SIDES)
    scale = nu_star_scale(users, items, spec)
    others = len(counts["item" if side == "user" else "user"])
    return RowTerms(spec, side, others, spec.unobserved_weight * weights, scale)


def column_weights(counts: Ids, spec: WalsSpec, side: str) -> Single:
    """The unobserved weight of a side's rows as columns of the other's; empty where all are 1."""
    exponent = spec.unobserved_exponent(side)
    if not exponent:
        return np.empty(0, np.float32)
    return unobserved_weights(counts, exponent).astype(np.float32)


def plan_layout(sizes: Sizes, index: Index, plan: Plan) -> Layout:
    """Blocks of a side of about the planned size; longer rows than the plan's limit are split."""
    return lay_out(index.counts, block_entries(sizes, plan), plan.split_above)


def block_entries(sizes: Sizes, plan: Plan) -> int:
    """Pairs of a block: by the planned number, or a few blocks for each slot, none too large."""
    if plan.blocks:
        return -(-sizes.pairs // plan.blocks)
    return min(_MOST_ENTRIES, max(_LEAST_ENTRIES, sizes.pairs // (_BLOCKS_A_SLOT * sizes.slots)))


@contextmanager
def shared_ids(frame: DataFrame, ids: dict[str, Ids]) -> Iterator[dict[str, SharedArray]]:
    """The ids of the sides, mapped by the tasks, until the context ends."""
    context: SparkContext = frame.sparkSession.sparkContext
    shared = {side: share(context, found) for side, found in ids.items()}
    try:
        yield shared
    finally:
        for array in shared.values():
            array.destroy()
