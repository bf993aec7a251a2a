"""The layout of training where no process holds a side whole: rows are sent where they are wanted.

A side's vectors are records in files, one for every range of rows that is solved as one block. For
a half-sweep each record of the fixed side is rotated and cut up along its routes; the pieces that
reach a block are, in their order, the side as the block sees it (`als.sharded.out_blocks`). The
answers are the new records. The driver sees what is small: sums, Gram matrices, and rows that are
split over several blocks, which it solves and holds.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.als import parquet_spill
from recsys_spark.als.bias_factors import from_solved, solved_part
from recsys_spark.als.factors import (
    FEATURES,
    FactorFrame,
    SideFactors,
    initial_vectors,
    overwrite_known,
)
from recsys_spark.als.half_sweep import Sums, read_table, settle
from recsys_spark.als.mmap_broadcast import share
from recsys_spark.als.sharded.out_blocks import Whole
from recsys_spark.als.sharded.shards import (
    ANSWER,
    KNOWN,
    PIECE,
    RECORD,
    STATIC,
    SUMS,
    Double,
    Record,
    as_features,
    record_gram,
    vectors_of,
)
from recsys_spark.als.sharded.tasks import begin_records, send_known, send_rows, solve_received
from recsys_spark.als.training_data import Side
from recsys_spark.arrow import arrow_schema
from recsys_spark.kernels.als.solve import Fixed, fix
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import WalsSpec, other_side
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.workers import map_in_arrow

_SWEEPS = "sweeps"  # the folder of the records


@dataclass(frozen=True)
class Stored:
    """A side's vectors: records in files, and those of split rows.

    path: of the files. split: records of split rows. gram: of what the other side sees.
    """

    path: str
    split: list[Record]
    gram: Double


class Routing:
    """Half-sweeps in which rows of the fixed side are sent to the blocks that want them.

    sides: with blocks of `als.sharded.out_blocks`. folder: of the records, and in the end of the
    factors.
    """

    def __init__(
        self, spark: SparkSession, sides: Mapping[str, Side], spec: WalsSpec, folder: str
    ) -> None:
        self.spark, self.sides, self.spec, self.folder = spark, sides, spec, folder
        self.reader = sides["user"].blocks.sparkSession
        self.split = {side: _split_records(own) for side, own in sides.items()}
        self.written: list[str] = []
        self.number = 0

    def begin(self, side: str, known: SideFactors | None) -> Stored:
        """The initial vectors, with known ones in the place of those of the same ids."""
        own = self.sides[side]
        blocks = own.blocks.where(F.col("parts") == 1).select(*STATIC.names)
        split = self.split[side]
        ids = np.array([own.ids[record["start"]] for record in split], np.int64)
        vectors = initial_vectors(side, ids, self.spec)
        if known is None:
            path = self._write(side, map_in_arrow(blocks, begin_records(side, self.spec), ANSWER))
        else:
            content = known.frame(self.spark)
            if split:
                some = FactorFrame(content.where(F.col("id").isin(ids.tolist())), known.width)
                overwrite_known(ids, vectors, some.arrays())
            path = self._begin_with(side, blocks, content)
        records = [r | {"vectors": v.tobytes()} for r, v in zip(split, vectors, strict=True)]
        return Stored(path, records, self._gram(side, self._summary(path), records))

    def _begin_with(self, side: str, blocks: DataFrame, known: DataFrame) -> str:
        own, context = self.sides[side], self.spark.sparkContext
        shared = share(context, own.ids)
        try:
            sent = map_in_arrow(known, send_known(shared, own), KNOWN)
            both = blocks.unionByName(sent, allowMissingColumns=True)
            both = both.repartitionById(own.ranges.blocks, "key")
            return self._write(side, map_in_arrow(both, begin_records(side, self.spec), ANSWER))
        finally:
            shared.destroy()

    def half(
        self, side: str, own: Stored, other: Stored, solver: Solver, loss: bool
    ) -> tuple[Stored, Sums]:
        """Solve a side, or a block of its coordinates, against the other."""
        rows, context = self.sides[side], self.spark.sparkContext
        rotated, small = solver.rotates(self.spec), replace(rows.terms, unobserved=np.empty(0))
        with single_threaded():  # more threads would round differently
            fixed = fix(np.empty((0, len(other.gram)), np.float32), other.gram, rotate=rotated)
        sent = context.broadcast((fixed, small))
        try:
            wanted = self._records(self.reader, other)
            send = send_rows(other_side(side), sent, self.spec, rotated)
            pieces = map_in_arrow(wanted, send, PIECE)
            inputs = [rows.blocks, pieces, *self._last(own, solver)]
            joined = reduce(_union, inputs).repartitionById(rows.ranges.blocks, "key")
            path = self._write(
                side, map_in_arrow(joined, solve_received(side, sent, solver, loss), ANSWER)
            )
        finally:
            sent.destroy()
        return self._settle(side, path, own, fixed, solver)

    def _settle(
        self, side: str, path: str, before: Stored, fixed: Fixed, solver: Solver
    ) -> tuple[Stored, Sums]:
        """Solve the split rows; the side's new state."""
        rows, last = self.sides[side], {}
        if solver.method != "cholesky":
            for record in before.split:
                last[record["start"]] = solved_part(side, vectors_of(record, 1), self.spec)[0]
        summary = self._summary(path)
        answers = summary.append_column("factors", pa.nulls(len(summary), pa.binary()))
        settled, sums = settle(
            list(read_table(answers)), fixed, rows.terms, rows.ids, solver, last.get
        )
        found = {record["start"]: record["factors"] for record in settled}
        split = []
        for record in before.split:
            solved = np.frombuffer(found[record["start"]], np.float32)[None]
            vectors = from_solved(side, solved, self.spec).tobytes()
            split.append(record | {"vectors": vectors})
        return Stored(path, split, self._gram(side, summary, split)), sums

    def factors(self, side: str, stored: Stored) -> FactorFrame:
        """A side's factors, until other states are kept."""
        records = self._records(self.spark, stored)
        return FactorFrame(map_in_arrow(records, as_features, FEATURES), self.spec.trained_width)

    def keep(self, state: Mapping[str, Stored]) -> None:
        """Delete the files of every state but this."""
        kept = [stored.path for stored in state.values()]
        for path in self.written:
            if path not in kept:
                parquet_spill.delete(self.spark, path)
        self.written = kept

    def finished(self, side: str, factors: SideFactors) -> FactorFrame:
        """Factors that outlast the training, as long as the folder exists."""
        path = f"{self.folder}/{side}_factors"
        parquet_spill.write(factors.frame(self.spark), path)
        return FactorFrame(self.spark.read.schema(FEATURES).parquet(path), factors.width)

    def _write(self, side: str, answers: DataFrame) -> str:
        path = f"{self.folder}/{_SWEEPS}/{side}-{self.number}"
        self.number += 1
        self.written.append(path)
        parquet_spill.write(answers, path)
        return path

    def _records(self, spark: SparkSession, stored: Stored) -> DataFrame:
        """All records of a side; to `self.reader`, a file is a partition."""
        found = spark.read.schema(RECORD).parquet(stored.path)
        found = found.where(F.col("vectors").isNotNull())
        if not stored.split:
            return found
        split = pa.Table.from_pylist(stored.split, arrow_schema(RECORD))
        return found.unionByName(spark.createDataFrame(split))

    def _last(self, own: Stored, solver: Solver) -> list[DataFrame]:
        """The side's own vectors, for solvers that begin with them."""
        if solver.method == "cholesky":
            return []
        found = self.reader.read.schema(RECORD).parquet(own.path)
        return [found.where(F.col("vectors").isNotNull()).select("key", "vectors")]

    def _summary(self, path: str) -> pa.Table:
        """What the driver sees of the answers."""
        answers = self.spark.read.schema(ANSWER).parquet(path)
        return answers.select("start", "gram", *(field.name for field in SUMS)).toArrow()

    def _gram(self, side: str, summary: pa.Table, split: list[Record]) -> Double:
        """Summed in the order of the rows, whatever came first."""
        whole = summary.filter(summary["gram"].is_valid())
        found = {
            start.as_py(): np.frombuffer(matrix.as_buffer())
            for start, matrix in zip(whole["start"], whole["gram"], strict=True)
        }
        found |= {record["start"]: record_gram(side, record, self.spec).ravel() for record in split}
        total: Double = reduce(np.add, (found[start] for start in sorted(found)))
        rank = math.isqrt(len(total))
        return total.reshape(rank, rank)


@contextmanager
def routing(
    spark: SparkSession, sides: Mapping[str, Side], spec: WalsSpec, folder: str
) -> Iterator[Routing]:
    """The layout, whose records are deleted in the end."""
    try:
        yield Routing(spark, sides, spec, folder)
    finally:
        parquet_spill.delete(spark, f"{folder}/{_SWEEPS}")


def _union(one: DataFrame, more: DataFrame) -> DataFrame:
    return one.unionByName(more, allowMissingColumns=True)


def _split_records(own: Side) -> list[Record]:
    """What the records of split rows hold besides their vectors; a row is wanted in all parts."""
    if own.ranges.parts.max() == 1:
        return []
    parts = own.blocks.where(F.col("parts") > 1).select("start", "to").toArrow()
    wanted: dict[int, list[Whole]] = {}
    for start, to in zip(parts["start"], parts["to"], strict=True):
        wanted.setdefault(start.as_py(), []).append(np.frombuffer(to.as_buffer(), np.int32))
    united = {row: np.unique(np.concatenate(wanted[row])) for row in sorted(wanted)}
    return [_split_record(own, row, to) for row, to in united.items()]


def _split_record(own: Side, row: int, to: Whole) -> Record:
    arrays: dict[str, npt.NDArray[Any]] = {
        "ids": own.ids[row : row + 1],
        "unobserved": own.terms.unobserved[row : row + 1],
        "to": to,
        "ends": np.arange(1, len(to) + 1),
        "positions": np.zeros(len(to), np.int32),
    }
    return {"key": -1, "start": row} | {name: array.tobytes() for name, array in arrays.items()}
