"""The layout of training where no process holds a side whole: rows are sent where they are wanted.

A side's vectors are records in files, one for every range of rows that is solved as one block. For
a half-sweep each record of the fixed side is rotated and cut up along its routes; the pieces that
reach a block are, in their order, the side as the block sees it (`wals.routes`). The answers are
the new records. The driver sees what is small: sums, Gram matrices, and rows that are split over
several blocks, which it solves and holds.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, LongType, StructField, StructType

from recsys_spark.arrow import arrow_schema, binary_array, list_array, make_batch
from recsys_spark.kernels.solve import Fixed, fix, gram, rotated
from recsys_spark.kernels.solver import Solver
from recsys_spark.kernels.spec import WalsSpec, other_side
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.wals import files
from recsys_spark.wals.blocks import read_blocks
from recsys_spark.wals.factors import (
    FEATURES,
    FactorFrame,
    Factors,
    SideFactors,
    batch_factors,
    initial_vectors,
    overwrite_known,
)
from recsys_spark.wals.offsets import fixed_part, from_solved, solved_part
from recsys_spark.wals.packed import Batches, Ids
from recsys_spark.wals.routes import ROUTES
from recsys_spark.wals.shared import SharedArray, share
from recsys_spark.wals.sides import Side
from recsys_spark.wals.sweep import (
    SOLVED,
    RowTerms,
    Sums,
    column_weights,
    read_records,
    settle,
    solve_block,
)

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Record = dict[str, Any]

_SWEEPS = "sweeps"  # the folder of the records
_ROWS = 10_000  # rows of a frame that leave a task at once
_BATCH = 16 * 2**20  # bytes of pieces that leave a task at once


def _binary(*names: str) -> list[StructField]:
    return [StructField(name, BinaryType()) for name in names]


_KEY = StructField("key", LongType())
_STATIC = StructType([_KEY, StructField("start", LongType()), *_binary(*ROUTES)])
_RECORD = StructType([*_STATIC.fields, *_binary("vectors")])
_SUMS = [field for field in SOLVED if field.name not in ("start", "factors")]
_ANSWER = StructType([*_RECORD.fields, *_binary("gram"), *_SUMS])
_PIECE = StructType(
    [_KEY, StructField("origin", LongType()), *_binary("features", "offsets", "weights")]
)
_KNOWN = StructType([_KEY, *_binary("known_ids", "known_vectors")])


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

    sides: with blocks of `wals.routes`. folder: of the records, and of the factors in the end.
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
        blocks = own.blocks.where(F.col("parts") == 1).select(*_STATIC.names)
        split = self.split[side]
        ids = np.array([own.ids[record["start"]] for record in split], np.int64)
        vectors = initial_vectors(side, ids, self.spec)
        if known is None:
            path = self._write(side, blocks.mapInArrow(_begin(side, self.spec), _ANSWER))
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
            sent = known.mapInArrow(_send_known(shared, own), _KNOWN)
            both = blocks.unionByName(sent, allowMissingColumns=True)
            both = both.repartition(len(own.keys), "key")
            return self._write(side, both.mapInArrow(_begin(side, self.spec), _ANSWER))
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
            pieces = wanted.mapInArrow(_send(other_side(side), sent, self.spec, rotated), _PIECE)
            inputs = [rows.blocks, pieces, *self._last(own, solver)]
            joined = reduce(_union, inputs).repartition(len(rows.keys), "key")
            path = self._write(side, joined.mapInArrow(_solve(side, sent, solver, loss), _ANSWER))
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
                last[record["start"]] = solved_part(side, _vectors(record, 1), self.spec)[0]
        summary = self._summary(path)
        answers = summary.append_column("factors", pa.nulls(len(summary), pa.binary()))
        settled, sums = settle(answers, fixed, rows.terms, rows.ids, solver, last.get)
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
        return FactorFrame(records.mapInArrow(_decode, FEATURES), self.spec.trained_width)

    def keep(self, state: Mapping[str, Stored]) -> None:
        """Delete the files of every state but this."""
        kept = [stored.path for stored in state.values()]
        for path in self.written:
            if path not in kept:
                files.delete(self.spark, path)
        self.written = kept

    def finished(self, side: str, factors: SideFactors) -> FactorFrame:
        """Factors that outlast the training, as long as nobody deletes the folder."""
        path = f"{self.folder}/{side}_factors"
        files.write(factors.frame(self.spark), path)
        return FactorFrame(self.spark.read.schema(FEATURES).parquet(path), factors.width)

    def _write(self, side: str, answers: DataFrame) -> str:
        path = f"{self.folder}/{_SWEEPS}/{side}-{self.number}"
        self.number += 1
        self.written.append(path)
        files.write(answers, path)
        return path

    def _records(self, spark: SparkSession, stored: Stored) -> DataFrame:
        """All records of a side; to `self.reader`, a file is a partition."""
        found = spark.read.schema(_RECORD).parquet(stored.path)
        found = found.where(F.col("vectors").isNotNull())
        if not stored.split:
            return found
        split = pa.Table.from_pylist(stored.split, arrow_schema(_RECORD))
        return found.unionByName(spark.createDataFrame(split))

    def _last(self, own: Stored, solver: Solver) -> list[DataFrame]:
        """The side's own vectors, for solvers that begin with them."""
        if solver.method == "cholesky":
            return []
        found = self.reader.read.schema(_RECORD).parquet(own.path)
        return [found.where(F.col("vectors").isNotNull()).select("key", "vectors")]

    def _summary(self, path: str) -> pa.Table:
        """What the driver sees of the answers."""
        answers = self.spark.read.schema(_ANSWER).parquet(path)
        return answers.select("start", "gram", *(field.name for field in _SUMS)).toArrow()

    def _gram(self, side: str, summary: pa.Table, split: list[Record]) -> Double:
        """Summed in the order of the rows, whatever came first."""
        whole = summary.filter(summary["gram"].is_valid())
        found = {
            start.as_py(): np.frombuffer(matrix.as_buffer())
            for start, matrix in zip(whole["start"], whole["gram"], strict=True)
        }
        found |= {record["start"]: _gram(side, record, self.spec).ravel() for record in split}
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
        files.delete(spark, f"{folder}/{_SWEEPS}")


def _union(one: DataFrame, more: DataFrame) -> DataFrame:
    return one.unionByName(more, allowMissingColumns=True)


def _split_records(own: Side) -> list[Record]:
    """What the records of split rows hold besides their vectors; a row is wanted in all parts."""
    if own.layout.parts.max() == 1:
        return []
    parts = own.blocks.where(F.col("parts") > 1).select("start", "to").toArrow()
    wanted: dict[int, list[Ids]] = {}
    for start, to in zip(parts["start"], parts["to"], strict=True):
        wanted.setdefault(start.as_py(), []).append(np.frombuffer(to.as_buffer(), np.int64))
    united = {row: np.unique(np.concatenate(wanted[row])) for row in sorted(wanted)}
    return [_split_record(own, row, to) for row, to in united.items()]


def _split_record(own: Side, row: int, to: Ids) -> Record:
    arrays: dict[str, npt.NDArray[Any]] = {
        "ids": own.ids[row : row + 1],
        "unobserved": own.terms.unobserved[row : row + 1],
        "to": to,
        "ends": np.arange(1, len(to) + 1),
        "positions": np.zeros(len(to), np.int32),
    }
    return {"key": -1, "start": row} | {name: array.tobytes() for name, array in arrays.items()}


def _static(record: Record) -> dict[str, npt.NDArray[Any]]:
    return {name: np.frombuffer(record[name], dtype) for name, dtype in ROUTES.items()}


def _vectors(record: Record, rows: int) -> Single:
    return np.frombuffer(record["vectors"], np.float32).reshape(rows, -1)


def _seen(side: str, record: Record, spec: WalsSpec) -> tuple[Single, Single, Single]:
    """Features, offsets and weights of a record's rows; the latter two empty if there are none."""
    unobserved = np.frombuffer(record["unobserved"])
    features, offsets = fixed_part(side, _vectors(record, len(unobserved)), spec)
    return features, offsets, column_weights(side, unobserved, spec)


def _gram(side: str, record: Record, spec: WalsSpec) -> Double:
    features, _, weights = _seen(side, record, spec)
    with single_threaded():
        return gram(features, weights)


def _begin(side: str, spec: WalsSpec) -> Callable[[Batches], Batches]:
    """Records of the initial vectors, from blocks and known vectors of their rows."""
    schema = arrow_schema(_ANSWER)

    def begin(batches: Batches) -> Batches:
        with single_threaded():
            records = [record for batch in batches for record in read_records(batch)]
            for block in (record for record in records if record["start"] is not None):
                ids = np.frombuffer(block["ids"], np.int64)
                vectors = initial_vectors(side, ids, spec)
                for known in (record for record in records if record.get("known_ids")):
                    overwrite_known(ids, vectors, _known(known))
                yield _answer(side, block, vectors, {}, spec, schema)

    return begin


def _known(record: Record) -> Factors:
    ids = np.frombuffer(record["known_ids"], np.int64)
    return Factors(ids, np.frombuffer(record["known_vectors"], np.float32).reshape(len(ids), -1))


def _answer(
    side: str, block: Record, vectors: Single | None, sums: Record, spec: WalsSpec,
    schema: pa.Schema,
) -> pa.RecordBatch:  # fmt: skip
    """The record of a block's rows; of a part of a row, which has no vectors, the sums alone."""
    record = dict.fromkeys(schema.names) | {"key": block["key"], "start": block["start"]}
    record |= {name: bytes(block[name]) for name in ROUTES}
    record |= {name: value for name, value in sums.items() if name in record}
    if vectors is not None:
        record["vectors"] = vectors.tobytes()
        record["gram"] = _gram(side, record, spec).tobytes()
    return make_batch(schema, {name: [value] for name, value in record.items()})


def _send_known(ids: SharedArray, own: Side) -> Callable[[Batches], Batches]:
    """Known vectors to the blocks of their ids; without those of split rows, and of no row."""
    schema, layout, keys = arrow_schema(_KNOWN), own.layout, own.keys

    def send(batches: Batches) -> Batches:
        for batch in batches:
            if batch.num_rows:
                known = batch_factors(batch)
                at = np.searchsorted(ids.open(), known.ids).clip(max=len(ids.open()) - 1)
                block = np.searchsorted(layout.stops, at, side="right")
                wanted = (ids.open()[at] == known.ids) & (layout.parts[block] == 1)
                for number in np.unique(block[wanted]):
                    here = wanted & (block == number)
                    record = {"key": keys[number], "known_ids": known.ids[here].tobytes()}
                    record["known_vectors"] = known.vectors[here].tobytes()
                    yield make_batch(schema, {name: [value] for name, value in record.items()})

    return send


def _send(
    side: str, sent: "Broadcast[tuple[Fixed, RowTerms]]", spec: WalsSpec, rotate: bool
) -> Callable[[Batches], Batches]:
    """The rows of a side to the blocks of the other that want them."""
    schema = arrow_schema(_PIECE)

    def send(batches: Batches) -> Batches:
        with single_threaded():
            fixed, _ = sent.value
            for record in (record for batch in batches for record in read_records(batch)):
                features, offsets, weights = _seen(side, record, spec)
                if rotate:
                    features = rotated(features, fixed.rotation)
                columns = {"features": features, "offsets": offsets, "weights": weights}
                yield from _pieces(record, columns, schema)

    return send


def _pieces(record: Record, columns: dict[str, Single], schema: pa.Schema) -> Batches:
    """Rows of the columns along the record's routes, in batches of bounded size."""
    routes = _static(record)
    ends, positions = routes["ends"], routes["positions"]
    starts = np.append(0, ends[:-1])
    batch = starts * 4 * columns["features"].shape[1] // _BATCH
    firsts = np.flatnonzero(np.append(True, np.diff(batch) > 0))
    for first, stop in zip(firsts, [*firsts[1:], len(ends)], strict=True):
        rows = positions[starts[first] : ends[stop - 1]]
        bounds = np.append(starts[first:stop], ends[stop - 1]) - starts[first]
        pieces = {
            name: binary_array(column[rows] if len(column) else column, bounds * (len(column) > 0))
            for name, column in columns.items()
        }
        keys = {"key": routes["to"][first:stop], "origin": np.full(stop - first, record["start"])}
        yield make_batch(schema, keys | pieces)


def _solve(
    side: str, sent: "Broadcast[tuple[Fixed, RowTerms]]", solver: Solver, loss: bool
) -> Callable[[Batches], Batches]:
    """Solve the block of a partition against the pieces that came there with it."""
    schema = arrow_schema(_ANSWER)

    def solve(batches: Batches) -> Batches:
        with single_threaded():
            received = _receive(batches)
            if received is None:
                return
            (fixed, terms), block = sent.value, received.block
            (entries,) = read_blocks(iter([received.batch]))
            unobserved, last = np.frombuffer(block["unobserved"]), None
            if received.last is not None:
                last = solved_part(side, _vectors(received.last, len(unobserved)), terms.spec)
            local = received.fixed(fixed)
            sums = solve_block(entries, unobserved, local, terms, solver, last, loss)
            vectors = None
            if entries.whole:
                solved = np.frombuffer(sums["factors"], np.float32).reshape(len(unobserved), -1)
                vectors = from_solved(side, solved, terms.spec)
            yield _answer(side, block, vectors, sums, terms.spec, schema)

    return solve


@dataclass(frozen=True)
class _Received:
    """What came to a block. batch: its row. last: record of its own vectors."""

    batch: pa.RecordBatch
    block: Record
    pieces: list[Record]
    last: Record | None

    def fixed(self, small: Fixed) -> Fixed:
        """The fixed side as the block sees it."""
        pieces = sorted(self.pieces, key=lambda piece: int(piece["origin"]))
        names = ("features", "offsets", "weights")
        features, offsets, weights = (
            np.concatenate([np.frombuffer(piece[name], np.float32) for piece in pieces])
            for name in names
        )
        factors = features.reshape(-1, len(small.gram))
        assert len(factors) == self.block["columns"], "pieces of the fixed side are missing"
        return replace(small, factors=factors, offsets=offsets, weights=weights)


def _receive(batches: Batches) -> _Received | None:
    found: list[tuple[pa.RecordBatch, Record]] = []
    pieces, last = [], None
    for batch in batches:
        for at, record in enumerate(read_records(batch)):
            if record["start"] is not None:
                found.append((batch.slice(at, 1), record))
            elif record["origin"] is not None:
                pieces.append(record)
            else:
                last = record
    return _Received(*found[0], pieces, last) if found else None


def _decode(batches: Batches) -> Batches:
    """Ids and features of records, in batches of a size that Spark takes well."""
    schema = arrow_schema(FEATURES)
    for record in (record for batch in batches for record in read_records(batch)):
        ids = np.frombuffer(record["ids"], np.int64)
        vectors = _vectors(record, len(ids))
        for first in range(0, len(ids), _ROWS):
            part = vectors[first : first + _ROWS]
            indptr = np.arange(len(part) + 1) * part.shape[1]
            features = list_array(indptr, pa.array(part.ravel()))
            yield make_batch(schema, {"id": ids[first : first + _ROWS], "features": features})
