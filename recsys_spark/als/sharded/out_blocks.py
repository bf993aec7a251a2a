"""Blocks that bring along what the sharded placement needs to know of their rows.

A block sees the other side through the rows that reach it, in ascending order: its columns are
numbered by them. A range of rows knows, once and for all, which of them each block of the other
side wants. Both follow from the block's own entries, since an entry is in one block of either side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import BinaryType, IntegerType, LongType, StructField, StructType

from recsys_spark.als.blocks import BLOCKS, BlockRanges, destination
from recsys_spark.als.mmap_broadcast import SharedArray
from recsys_spark.als.packed_interactions import Batches, Ids
from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.kernels.als.spec import other_side
from recsys_spark.workers import map_in_arrow

Whole = npt.NDArray[np.int32]

ROUTES: dict[str, type[np.generic]] = {
    "ids": np.int64,
    "unobserved": np.float64,
    "to": np.int32,
    "ends": np.int64,
    "positions": np.int32,
}
ROUTED = StructType(
    [*BLOCKS.fields]
    + [StructField("key", IntegerType()), StructField("columns", LongType())]
    + [StructField(name, BinaryType()) for name in ROUTES]
)


@dataclass(frozen=True)
class SharedRows:
    """Of a side's rows. ids, unobserved: (rows,) arrays. ranges: its blocks."""

    ids: SharedArray
    unobserved: SharedArray
    ranges: BlockRanges


def with_routes(blocks: DataFrame, rows: dict[str, SharedRows]) -> DataFrame:
    """The blocks with columns of ROUTED: local columns, and the routes of their rows.

    ids, unobserved: (rows,) of the block's rows. key: number of the block, in whose partition it
    is solved. to: numbers of the blocks that want some of its rows; the i-th wants rows
    positions[ends[i - 1]:ends[i]], counted from the block's first.
    """
    return map_in_arrow(blocks, _route(rows), ROUTED)


def _route(rows: dict[str, SharedRows]) -> Callable[[Batches], Batches]:
    schema = arrow_schema(ROUTED)

    def route(batches: Batches) -> Batches:
        for batch in batches:
            for at in range(batch.num_rows):
                block = batch.slice(at, 1)
                given = dict(zip(block.schema.names, block.columns, strict=True))
                yield make_batch(schema, given | _routed(block, rows))

    return route


def _routed(block: pa.RecordBatch, rows: dict[str, SharedRows]) -> dict[str, list[Any]]:
    side, start, parts = (block.column(name)[0].as_py() for name in ("side", "start", "parts"))
    own, other = rows[side], rows[other_side(side)]
    indptr = np.frombuffer(block.column("indptr")[0].as_buffer(), np.int64)
    cols = np.frombuffer(block.column("cols")[0].as_buffer(), np.int32)
    number = np.searchsorted(own.ranges.starts, start) + (cols[0] % parts)
    here = slice(start, start + len(indptr) - 1)
    to, ends, positions = routes(indptr, cols, start, other.ranges)
    columns, local = np.unique(cols, return_inverse=True)
    arrays = {
        "ids": own.ids.open()[here],
        "unobserved": own.unobserved.open()[here],
        "to": to,
        "ends": ends,
        "positions": positions,
        "cols": local.astype(np.int32),
    }
    known = {"key": [number], "columns": [len(columns)]}
    return known | {name: [array.tobytes()] for name, array in arrays.items()}


def routes(
    indptr: npt.NDArray[np.int64], cols: npt.NDArray[np.int32], start: int, other: BlockRanges
) -> tuple[Whole, Ids, Whole]:
    """Blocks of the other side that want rows from `start` on; ends and positions of theirs."""
    rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr))
    to = destination(other, cols, (rows + start).astype(np.int32)).astype(np.int64)
    wanted = np.unique(to << 32 | rows)
    blocks, starts = np.unique(wanted >> 32, return_index=True)
    ends = np.append(starts[1:], len(wanted)).astype(np.int64)
    return blocks.astype(np.int32), ends, (wanted & 0xFFFFFFFF).astype(np.int32)
