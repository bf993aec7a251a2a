"""Both sides of the training data, ready for the sweeps: ids, terms of the rows, and blocks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pyspark import SparkContext, StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from recsys_spark.als import parquet_spill
from recsys_spark.als.blocks import BlockRanges, block_ranges, build_blocks
from recsys_spark.als.execution_plan import Plan, Sizes
from recsys_spark.als.half_sweep import RowTerms, column_weights
from recsys_spark.als.memory_estimate import refuse_what_cannot_fit, within_limits
from recsys_spark.als.mmap_broadcast import SharedArray, share
from recsys_spark.als.packed_interactions import Ids, Index, Packed, index_sides
from recsys_spark.als.sharded.out_blocks import SharedRows, with_routes
from recsys_spark.kernels.als.spec import SIDES, WalsSpec, other_side
from recsys_spark.kernels.als.weights import nu_star_scale, unobserved_weights

Single = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """A side's rows.

    ids: (rows,) ascending. counts: (rows,) entries of each. ranges: of their blocks.
    """

    ids: Ids
    counts: Ids
    terms: RowTerms
    ranges: BlockRanges

    @property
    def weights(self) -> Single:
        """Unobserved weights of the rows as columns of the other side's; empty: all 1."""
        return column_weights(self.terms.side, self.terms.unobserved, self.terms.spec)


@dataclass(frozen=True)
class Side(Rows):
    """A side's rows and entries. blocks: if sharded, with those of `als.sharded.out_blocks`."""

    blocks: DataFrame


@contextmanager
def built_sides(
    pairs: Packed, spec: WalsSpec, plan: Plan, on_sizes: Callable[[Sizes], None]
) -> Iterator[tuple[dict[str, Side], bool]]:
    """Index both sides and build their blocks, kept inside the context; whether they are sharded.

    on_sizes: called with the sizes before the blocks are built. Raises ConfigError if a known limit
    of memory is too small for them, or if there is no folder for the sharded placement.
    """
    context, indices = pairs.records.sparkSession.sparkContext, index_sides(pairs.records)
    users, items = (len(indices[side].ids) for side in SIDES)
    slots = context.defaultParallelism
    sizes = Sizes(pairs.rows, users, items, pairs.sum_a, pairs.sum_b, slots)
    rows, sharded = sized_rows(sizes, indices, spec, plan, context, on_sizes)
    ranges = {side: own.ranges for side, own in rows.items()}
    with _unkept(pairs, rows, ranges, sharded) as built:
        keep = _persisted(built) if plan.folder is None else _filed(built, ranges, plan.folder)
        with keep as blocks:
            if plan.folder is not None:
                pairs.records.unpersist()
            cut = {side: blocks.where(F.col("side") == side) for side in SIDES}
            yield {side: Side(**vars(own), blocks=cut[side]) for side, own in rows.items()}, sharded


def sized_rows(
    sizes: Sizes,
    indices: dict[str, Index],
    spec: WalsSpec,
    plan: Plan,
    context: SparkContext,
    on_sizes: Callable[[Sizes], None],
) -> tuple[dict[str, Rows], bool]:
    """The rows of both sides, and whether they are sharded; errors are those of `built_sides`."""
    plan = within_limits(plan, context)
    refuse_what_cannot_fit(sizes, spec, plan, context)
    on_sizes(sizes)
    rows = {side: _rows(side, indices, spec, sizes, plan) for side in SIDES}
    return rows, plan.is_sharded(sizes, spec.width)


def _rows(side: str, indices: dict[str, Index], spec: WalsSpec, sizes: Sizes, plan: Plan) -> Rows:
    own = indices[side]
    counts = {name: index.counts for name, index in indices.items()}
    terms = row_terms(own.counts, counts, spec, side)
    ranges = block_ranges(own.counts, plan.block_entries(sizes), plan.split_above)
    return Rows(own.ids, own.counts, terms, ranges)


_Rows = TypeVar("_Rows", bound=Rows)


def with_terms(sides: Mapping[str, _Rows], spec: WalsSpec) -> dict[str, _Rows]:
    """The same rows for an objective in which they have other terms."""
    counts = {name: side.counts for name, side in sides.items()}
    return {
        name: replace(side, terms=row_terms(side.counts, counts, spec, name))
        for name, side in sides.items()
    }


@contextmanager
def _unkept(
    pairs: Packed, rows: dict[str, Rows], ranges: dict[str, BlockRanges], sharded: bool
) -> Iterator[DataFrame]:
    """The blocks of both sides, not yet computed."""
    with shared_arrays(pairs.records, {side: own.ids for side, own in rows.items()}) as ids:
        built = build_blocks(pairs.records, ids, ranges)
        if not sharded:
            yield built
            return
        unobserved = {side: own.terms.unobserved for side, own in rows.items()}
        with shared_arrays(pairs.records, unobserved) as weights:
            known = {
                side: SharedRows(ids[side], weights[side], own.ranges) for side, own in rows.items()
            }
            yield with_routes(built, known)


@contextmanager
def _persisted(blocks: DataFrame) -> Iterator[DataFrame]:
    blocks = blocks.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        blocks.count()  # so that the packed pairs are read once, for both sides
        yield blocks
    finally:
        blocks.unpersist()


@contextmanager
def _filed(blocks: DataFrame, ranges: dict[str, BlockRanges], folder: str) -> Iterator[DataFrame]:
    """Write the blocks, unless they are there from an attempt that was killed."""
    spark, path = blocks.sparkSession, f"{folder}/blocks-{_digest(ranges, blocks.schema)}"
    try:
        if not parquet_spill.is_complete(spark, path):
            parquet_spill.write(blocks, path, "side")
        yield parquet_spill.reader(spark).read.schema(blocks.schema).parquet(path)
    finally:
        parquet_spill.delete(spark, path)


def _digest(ranges: dict[str, BlockRanges], schema: StructType) -> str:
    """A name for what blocks of the same rows depend on."""
    arrays = [array for side in SIDES for array in astuple(ranges[side])]
    parts = [schema.json().encode(), *(array.tobytes() for array in arrays)]
    return sha256(b"|".join(parts)).hexdigest()[:16]


def row_terms(rows: Ids, counts: dict[str, Ids], spec: WalsSpec, side: str) -> RowTerms:
    """The terms of these rows of a side, given by the pairs of each.

    counts: of both sides, the pairs of every row in training.
    """
    weights = unobserved_weights(rows, spec.unobserved_exponent(side), counts[side])
    users, items = (counts[name].astype(np.float64) for name in SIDES)
    scale = nu_star_scale(users, items, spec)
    others = len(counts[other_side(side)])
    return RowTerms(spec, side, others, spec.unobserved_weight * weights, scale)


@contextmanager
def shared_arrays(
    frame: DataFrame, arrays: Mapping[str, npt.NDArray[Any]]
) -> Iterator[dict[str, SharedArray]]:
    """Arrays such as the ids of the sides, mapped by the tasks until the context ends."""
    context: SparkContext = frame.sparkSession.sparkContext
    shared = {name: share(context, array) for name, array in arrays.items()}
    try:
        yield shared
    finally:
        for array in shared.values():
            array.destroy()
