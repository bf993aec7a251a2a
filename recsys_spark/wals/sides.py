"""Both sides of the training data, ready for the sweeps: ids, terms of the rows, and blocks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
from pyspark import SparkContext, StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.kernels.spec import SIDES, WalsSpec
from recsys_spark.kernels.weights import nu_star_scale, unobserved_weights
from recsys_spark.wals import files
from recsys_spark.wals.blocks import BLOCKS, Layout, build_blocks, lay_out
from recsys_spark.wals.budget import refuse_what_cannot_fit
from recsys_spark.wals.packed import Ids, Index, Packed, index_sides
from recsys_spark.wals.plan import Plan, Sizes
from recsys_spark.wals.shared import SharedArray, share
from recsys_spark.wals.sweep import RowTerms

Single = npt.NDArray[np.float32]


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
    """Index both sides and build their blocks, which are kept inside the context.

    on_sizes: is told the sizes before the blocks are built. Raises ConfigError if a known limit
    of memory is too small for them.
    """
    indices = index_sides(pairs.records)
    context = pairs.records.sparkSession.sparkContext
    users, items = (len(indices[side].ids) for side in SIDES)
    slots = context.defaultParallelism
    sizes = Sizes(pairs.rows, users, items, pairs.sum_a, pairs.sum_b, slots)
    refuse_what_cannot_fit(sizes, spec, plan, context)
    on_sizes(sizes)
    layouts = {
        side: lay_out(index.counts, plan.block_entries(sizes), plan.split_above)
        for side, index in indices.items()
    }
    with shared_ids(pairs.records, {side: index.ids for side, index in indices.items()}) as ids:
        built = build_blocks(pairs.records, ids, layouts)
        keep = _persisted(built) if plan.folder is None else _filed(built, layouts, plan.folder)
        with keep as blocks:
            if plan.folder is not None:
                pairs.records.unpersist()
            yield {side: _side(side, indices, blocks, spec) for side in SIDES}


@contextmanager
def _persisted(blocks: DataFrame) -> Iterator[DataFrame]:
    blocks = blocks.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        blocks.count()  # so that the packed pairs are read once, for both sides
        yield blocks
    finally:
        blocks.unpersist()


@contextmanager
def _filed(blocks: DataFrame, layouts: dict[str, Layout], folder: str) -> Iterator[DataFrame]:
    """Write the blocks, unless they are there from an attempt that was killed."""
    spark, path = blocks.sparkSession, f"{folder}/blocks-{_digest(layouts)}"
    try:
        if not files.is_complete(spark, path):
            files.write(blocks, path, "side")
        yield files.reader(spark).read.schema(BLOCKS).parquet(path)
    finally:
        files.delete(spark, path)


def _digest(layouts: dict[str, Layout]) -> str:
    """A name for what the blocks depend on beside the rows: who is in which."""
    arrays = [array for side in SIDES for array in astuple(layouts[side])]
    parts = [BLOCKS.json().encode(), *(array.tobytes() for array in arrays)]
    return sha256(b"|".join(parts)).hexdigest()[:16]


def _side(side: str, indices: dict[str, Index], blocks: DataFrame, spec: WalsSpec) -> Side:
    own, other = indices[side], indices["item" if side == "user" else "user"]
    users, items = (indices[name].counts.astype(np.float64) for name in SIDES)
    scale = nu_star_scale(users, items, spec)
    terms = row_terms(own, len(other.ids), spec, side, scale)
    weights = np.empty(0, np.float32)
    if spec.unobserved_exponent(side):
        weights = (terms.unobserved / spec.unobserved_weight).astype(np.float32)
    return Side(own.ids, own.counts, blocks.where(F.col("side") == side), terms, weights)


def row_terms(index: Index, other_side: int, spec: WalsSpec, side: str, scale: float) -> RowTerms:
    """The terms of a side's rows; `scale` multiplies lambda."""
    weights = unobserved_weights(index.counts, spec.unobserved_exponent(side))
    return RowTerms(spec, side, other_side, spec.unobserved_weight * weights, scale)


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
