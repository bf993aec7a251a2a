"""One side's interactions as compressed blocks, each a range of rows.

Rows are numbered by ascending id; a block holds a range of them that carries about the same work
as the others. A row too long for one block is dealt out over several by its columns. Which row is
where depends on the counts alone, and entries are sorted inside, so that the blocks do not depend
on how the input was ordered or partitioned.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import BinaryType, IntegerType, LongType, StringType, StructField, StructType

from recsys_spark.als.mmap_broadcast import SharedArray
from recsys_spark.als.packed_interactions import Batches, Ids, unpacked
from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.kernels.als.csr import Csr, compress, decode_weights, encode_weights
from recsys_spark.kernels.als.spec import other_side
from recsys_spark.workers import map_in_arrow

_ROW_WORK = 32  # what a row costs beyond its entries, in entries
_Columns = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True)
class BlockRanges:
    """Blocks of a side. starts, stops: (blocks,) ranges of rows. parts: (blocks,) of a split row.

    A row that is split has as many blocks in sequence as it has parts; 1 for the other blocks.
    """

    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int64]

    @property
    def blocks(self) -> int:
        """How many there are."""
        return len(self.starts)


@dataclass(frozen=True)
class Block:
    """Rows `start` onwards of a side. whole: False if it is a part of a single, longer row."""

    start: int
    whole: bool
    entries: Csr

    @property
    def rows(self) -> slice:
        """Its rows on its side."""
        return slice(self.start, self.start + len(self.entries.indptr) - 1)


def block_ranges(counts: Ids, entries: int, split_above: int) -> BlockRanges:
    """Ranges of rows of about `entries` entries each; longer rows than the limit are split."""
    parts = -(-counts // split_above)
    work = np.where(parts > 1, 0, counts + _ROW_WORK)
    group = np.cumsum(work) // max(1, entries)
    split = parts > 1
    # A block begins where the group changes, at a split row, and after one.
    begins = np.ones(len(counts), dtype=bool)
    begins[1:] = (np.diff(group) > 0) | split[1:] | split[:-1]
    starts = np.flatnonzero(begins)
    stops = np.append(starts[1:], len(counts))
    repeats = parts[starts].clip(1)
    return BlockRanges(*(np.repeat(x, repeats) for x in (starts, stops, repeats)))


_SCATTERED = {"rows": np.int32, "cols": np.int32, "a": np.float32, "b": np.float32}
_SCATTER = StructType(
    [StructField("partition", IntegerType()), StructField("side", StringType())]
    + [StructField("block", LongType())]
    + [StructField(name, BinaryType()) for name in _SCATTERED]
)
_BLOCK_FIELDS = {"indptr": np.int64, "cols": np.int32, "codes": np.uint8, "table": np.float32}
BLOCKS = StructType(
    [StructField("side", StringType(), False)]
    + [StructField("start", LongType(), False), StructField("parts", LongType(), False)]
    + [StructField(name, BinaryType(), False) for name in _BLOCK_FIELDS]
)


def build_blocks(
    records: DataFrame, ids: dict[str, SharedArray], ranges: dict[str, BlockRanges]
) -> DataFrame:
    """Blocks of the sides with these ranges, from packed pairs; one block a partition.

    ids: of both sides, ascending.
    """
    *before, partitions = accumulate((own.blocks for own in ranges.values()), initial=0)
    first = dict(zip(ranges, before, strict=True))
    scattered = map_in_arrow(records, _scatter(ids, ranges, first), _SCATTER)
    placed = scattered.repartitionById(partitions, "partition")
    return map_in_arrow(placed, _assemble(ranges), BLOCKS)


def _scatter(
    ids: dict[str, SharedArray], ranges: dict[str, BlockRanges], first: dict[str, int]
) -> Callable[[Batches], Batches]:
    """Pairs by block. first: partition of each side's first block."""
    schema = arrow_schema(_SCATTER)

    def scatter(batches: Batches) -> Batches:
        positions = {side: Positions(array.open()) for side, array in ids.items()}
        for arrays in unpacked(batches):
            at = {side: of_side.of(arrays[side]) for side, of_side in positions.items()}
            for row, own in ranges.items():
                col = other_side(row)
                columns = at[row], at[col], arrays["a"], arrays["b"]
                for block, parts in dealt(own, columns):
                    named = zip(_SCATTERED, parts, strict=True)
                    record = {"partition": first[row] + block, "side": row, "block": block}
                    record |= {name: part.tobytes() for name, part in named}
                    yield make_batch(schema, {name: [value] for name, value in record.items()})

    return scatter


def dealt(own: BlockRanges, columns: _Columns) -> Iterator[tuple[int, _Columns]]:
    """The columns of every block that occurs."""
    to = destination(own, columns[0], columns[1])
    to = to.astype(np.min_scalar_type(len(own.starts)))  # NumPy sorts 16 bits in linear time
    order = np.argsort(to, kind="stable")
    blocks, starts = np.unique(to[order], return_index=True)
    columns = tuple(column[order] for column in columns)
    for block, first, last in zip(blocks, starts, [*starts[1:], len(order)], strict=True):
        yield int(block), tuple(column[first:last] for column in columns)


class Positions:
    """Positions of ids in an ascending list: by table where ids are dense, else by search."""

    def __init__(self, ids: Ids) -> None:
        self.ids, self.low = ids, int(ids[0]) if len(ids) else 0
        span = int(ids[-1]) - self.low + 1 if len(ids) else 0
        self.table = None
        if span <= 8 * len(ids):
            self.table = np.zeros(span, dtype=np.int32)
            self.table[ids - self.low] = np.arange(len(ids), dtype=np.int32)

    def of(self, ids: Ids) -> npt.NDArray[np.int32]:
        """Those of ids that are in the list."""
        if self.table is not None:
            return self.table[ids - self.low]
        return np.searchsorted(self.ids, ids).astype(np.int32)


def destination(
    own: BlockRanges, rows: npt.NDArray[np.int32], cols: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """The block of every entry; parts of a split row follow its first."""
    first = np.searchsorted(own.stops, rows, side="right")
    return (first + cols % own.parts[first]).astype(np.int32)


def _assemble(ranges: dict[str, BlockRanges]) -> Callable[[Batches], Batches]:
    schema = arrow_schema(BLOCKS)

    def assemble(batches: Batches) -> Batches:
        received = [batch for batch in batches if batch.num_rows]
        if not received:
            return
        table = pa.Table.from_batches(received)
        side, number = table["side"][0].as_py(), table["block"][0].as_py()
        own = ranges[side]
        start, stop = int(own.starts[number]), int(own.stops[number])
        rows, cols, a, b = (
            np.concatenate([np.frombuffer(part.as_buffer(), dtype) for part in table[name]])
            for name, dtype in _SCATTERED.items()
        )
        block = compress(rows - np.int32(start), cols, a, b, stop - start)
        arrays: _Columns = (block.indptr, block.cols, *encode_weights(block.a, block.b))
        record = {"side": side, "start": start, "parts": int(own.parts[number])}
        record |= {name: array.tobytes() for name, array in zip(_BLOCK_FIELDS, arrays, strict=True)}
        yield make_batch(schema, {name: [value] for name, value in record.items()})

    return assemble


def read_blocks(batches: Batches) -> Iterator[Block]:
    """The blocks of a partition, as views of Arrow's memory."""
    for batch in batches:
        for at in range(batch.num_rows):
            record = {name: batch.column(name)[at] for name in batch.schema.names}
            indptr, cols, codes, table = (
                np.frombuffer(record[name].as_buffer(), dtype)
                for name, dtype in _BLOCK_FIELDS.items()
            )
            a, b = decode_weights(codes, table.reshape(2, -1), len(cols))
            yield Block(
                record["start"].as_py(), record["parts"].as_py() == 1, Csr(indptr, cols, a, b)
            )
