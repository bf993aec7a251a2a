"""What the tasks of the sharded placement do: begin, send rows where they are wanted, solve."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pyspark import Broadcast

from recsys_spark.als.bias_factors import from_solved, solved_part
from recsys_spark.als.blocks import read_blocks
from recsys_spark.als.factors import Factors, batch_factors, initial_vectors, overwrite_known
from recsys_spark.als.half_sweep import RowTerms, read_records, solve_block
from recsys_spark.als.mmap_broadcast import SharedArray
from recsys_spark.als.packed_interactions import Batches
from recsys_spark.als.sharded.shards import (
    ANSWER,
    KNOWN,
    PIECE,
    Record,
    Single,
    as_answer,
    routes_of,
    seen,
    vectors_of,
)
from recsys_spark.als.training_data import Side
from recsys_spark.arrow import arrow_schema, binary_array, make_batch
from recsys_spark.kernels.als.solve import Fixed, rotated
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.kernels.threads import single_threaded

_BATCH = 16 * 2**20  # bytes of pieces that leave a task at once


def begin_records(side: str, spec: WalsSpec) -> Callable[[Batches], Batches]:
    """Records of the initial vectors, from blocks and known vectors of their rows."""
    schema = arrow_schema(ANSWER)

    def begin(batches: Batches) -> Batches:
        with single_threaded():
            records = [record for batch in batches for record in read_records(batch)]
            for block in (record for record in records if record["start"] is not None):
                ids = np.frombuffer(block["ids"], np.int64)
                vectors = initial_vectors(side, ids, spec)
                for known in (record for record in records if record.get("known_ids")):
                    overwrite_known(ids, vectors, _known(known))
                yield as_answer(side, block, vectors, {}, spec, schema)

    return begin


def _known(record: Record) -> Factors:
    ids = np.frombuffer(record["known_ids"], np.int64)
    return Factors(ids, np.frombuffer(record["known_vectors"], np.float32).reshape(len(ids), -1))


def send_known(ids: SharedArray, own: Side) -> Callable[[Batches], Batches]:
    """Known vectors to the blocks of their ids; without those of split rows, and of no row."""
    schema, ranges = arrow_schema(KNOWN), own.ranges

    def send(batches: Batches) -> Batches:
        for batch in batches:
            if batch.num_rows:
                known = batch_factors(batch)
                at = np.searchsorted(ids.open(), known.ids).clip(max=len(ids.open()) - 1)
                block = np.searchsorted(ranges.stops, at, side="right")
                wanted = (ids.open()[at] == known.ids) & (ranges.parts[block] == 1)
                for number in np.unique(block[wanted]):
                    here = wanted & (block == number)
                    record = {"key": number, "known_ids": known.ids[here].tobytes()}
                    record["known_vectors"] = known.vectors[here].tobytes()
                    yield make_batch(schema, {name: [value] for name, value in record.items()})

    return send


def send_rows(
    side: str, sent: "Broadcast[tuple[Fixed, RowTerms]]", spec: WalsSpec, rotate: bool
) -> Callable[[Batches], Batches]:
    """The rows of a side to the blocks of the other that want them."""
    schema = arrow_schema(PIECE)

    def send(batches: Batches) -> Batches:
        with single_threaded():
            fixed, _ = sent.value
            for record in (record for batch in batches for record in read_records(batch)):
                features, offsets, weights = seen(side, record, spec)
                if rotate:
                    features = rotated(features, fixed.rotation)
                columns = {"features": features, "offsets": offsets, "weights": weights}
                yield from _pieces(record, columns, schema)

    return send


def _pieces(record: Record, columns: dict[str, Single], schema: pa.Schema) -> Batches:
    """Rows of the columns along the record's routes, in batches of bounded size."""
    routes = routes_of(record)
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


def solve_received(
    side: str, sent: "Broadcast[tuple[Fixed, RowTerms]]", solver: Solver, loss: bool
) -> Callable[[Batches], Batches]:
    """Solve the block of a partition against the pieces that came there with it."""
    schema = arrow_schema(ANSWER)

    def solve(batches: Batches) -> Batches:
        with single_threaded():
            received = _receive(batches)
            if received is None:
                return
            (fixed, terms), block = sent.value, received.block
            (entries,) = read_blocks(iter([received.batch]))
            unobserved, last = np.frombuffer(block["unobserved"]), None
            if received.last is not None:
                last = solved_part(side, vectors_of(received.last, len(unobserved)), terms.spec)
            local = received.fixed(fixed)
            sums = solve_block(entries, unobserved, local, terms, solver, last, loss)
            vectors = None
            if entries.whole:
                solved = np.frombuffer(sums["factors"], np.float32).reshape(len(unobserved), -1)
                vectors = from_solved(side, solved, terms.spec)
            yield as_answer(side, block, vectors, sums, terms.spec, schema)

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
