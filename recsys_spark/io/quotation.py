"""CSV records whose quotation is open at the end of a line.

Files are read in blocks of lines, and a record is a line. A quotation that a line leaves open
makes a part of a record of it and of the lines that follow, up to its end; none of them is an
event. Whether a line begins inside a quotation depends on all lines before it, so that a block is
first reduced to what it does to the state, then the lines of each are marked from its own state on.

A quotation begins at the start of a field alone, and ends where its mark stands before a separator
or the end of the line; a doubled mark belongs to the text (RFC 4180). Other marks are text.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, LongType, StringType, StructField, StructType

from recsys_spark.arrow import arrow_schema
from recsys_spark.workers import map_in_arrow

_LONG = 20_000  # characters of a line, above which no regular expression is tried
_LINES = StructType(
    [
        StructField("raw", StringType()),
        StructField("source_file", StringType()),
        StructField("block", LongType()),
        StructField("open", BooleanType()),
    ]
)
_ENDS = StructType(
    [
        StructField("source_file", StringType()),
        StructField("block", LongType()),
        StructField("after_outside", BooleanType()),
        StructField("after_inside", BooleanType()),
    ]
)


@dataclass(frozen=True)
class Quoting:
    """How a source writes fields: its quotation mark and separator."""

    mark: str
    separator: str

    def ends_inside(self, line: str, inside: bool) -> bool:
        """Whether a quotation is open at the end of a line. inside: whether one was before it."""
        if self.mark not in line:
            return inside
        at = self._close(line, 0) if inside else self._open(line, 0)
        while at is not None:
            inside = not inside
            at = self._close(line, at) if inside else self._open(line, at)
        return inside

    def _open(self, line: str, at: int) -> int | None:
        """Behind the next mark that begins a field; at is the start of a field, or 0."""
        if at == 0 and line.startswith(self.mark):
            return len(self.mark)
        begin = line.find(self.separator + self.mark, at)
        return None if begin < 0 else begin + len(self.separator) + len(self.mark)

    def _close(self, line: str, at: int) -> int | None:
        """Behind the next mark that ends a quotation."""
        while (at := line.find(self.mark, at)) >= 0:
            if line.startswith(self.mark, at + 1):
                at += 2
            elif at + 1 == len(line) or line.startswith(self.separator, at + 1):
                return at + 1
            else:
                at += 1
        return None

    def may_open(self, raw: Column) -> Column:
        """Whether a line that begins outside may leave a quotation open: never false if it does."""
        mark, separator = re.escape(self.mark), re.escape(self.separator)
        other = f"[^{mark}]*+"
        field = f"(^|{separator}){mark}{other}(?:{mark}{mark}{other})*+{mark}(?={separator}|$)"
        rest = F.regexp_replace(raw, field, "$1")
        return F.contains(raw, F.lit(self.mark)) & (
            (F.length(raw) > _LONG) | rest.rlike(f"(^|{separator}){mark}")
        )


def mark_open(lines: DataFrame, quoting: Quoting) -> DataFrame:
    """The lines with a column `open`: whether the line is a part of a record of several lines.

    lines: columns raw, source_file and block, where each block is in one partition, in order. One
    job, whose result grows with the number of blocks.
    """
    ends = map_in_arrow(lines, _reducing(quoting), _ENDS).collect()
    begins: dict[tuple[str, int], bool] = {}
    for name, blocks in groupby(sorted(ends), key=lambda row: row["source_file"]):
        inside = False
        for row in blocks:
            begins[name, row["block"]] = inside
            inside = row["after_inside"] if inside else row["after_outside"]
    return map_in_arrow(lines, _marking(quoting, begins), _LINES)


Batches = Iterable[pa.RecordBatch]


def _reducing(quoting: Quoting) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """A row a block: the state behind it, for either state before it."""

    def reduce_blocks(batches: Batches) -> Iterator[pa.RecordBatch]:
        states: dict[tuple[str, int], tuple[bool, bool]] = {}
        for batch in batches:
            for raw, name, block in _rows(batch):
                outside, inside = states.get((name, block), (False, True))
                after = (quoting.ends_inside(raw, outside), quoting.ends_inside(raw, inside))
                states[name, block] = after
        rows = [
            {
                "source_file": name,
                "block": block,
                "after_outside": after[0],
                "after_inside": after[1],
            }
            for (name, block), after in states.items()
        ]
        yield pa.RecordBatch.from_pylist(rows, schema=arrow_schema(_ENDS))

    return reduce_blocks


def _marking(
    quoting: Quoting, begins: dict[tuple[str, int], bool]
) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def mark_lines(batches: Batches) -> Iterator[pa.RecordBatch]:
        states = dict(begins)
        for batch in batches:
            flags = []
            for raw, name, block in _rows(batch):
                before = states[name, block]
                states[name, block] = quoting.ends_inside(raw, before)
                flags.append(before or states[name, block])
            columns = [batch["raw"], batch["source_file"], batch["block"], pa.array(flags)]
            yield pa.RecordBatch.from_arrays(columns, names=_LINES.names)

    return mark_lines


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[str, str, int]]:
    """Text may hold bytes that are not UTF-8; marks and separators are found all the same."""
    raw = batch["raw"].cast(pa.binary(), safe=False).to_pylist()
    texts = (line.decode("utf-8", "surrogateescape") for line in raw)
    yield from zip(texts, batch["source_file"].to_pylist(), batch["block"].to_pylist(), strict=True)
