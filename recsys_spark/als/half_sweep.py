"""One half-sweep, for either side: every row of a side solved against the other side.

What a task does with a block, and what the driver does with the answers, is the same in every
layout. A row that is split over several blocks answers with its parts' normal equations, which are
summed and solved on the driver. Nothing depends on which task came first.

Here the fixed side travels to the tasks as a mapped broadcast, and each block answers with its
rows' factors and its share of the loss.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import Broadcast, SparkContext
from pyspark.sql import DataFrame
from pyspark.sql.types import BinaryType, DoubleType, LongType, StructField, StructType

from recsys_spark.als.blocks import Block, read_blocks
from recsys_spark.als.mmap_broadcast import SharedArray, share
from recsys_spark.als.packed_interactions import Batches, Ids
from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.errors import DivergenceError, SolveError, setting
from recsys_spark.kernels.als.solve import Fixed, Problem, solve_rows
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.kernels.als.split_rows import (
    Partial,
    Shared,
    partial_equations,
    solve_whole,
    whole_loss,
)
from recsys_spark.kernels.als.weights import counted_pairs, row_regularization
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.workers import map_in_arrow

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Record = dict[str, Any]
Vectors = Callable[[int], Single | None]

_PARTIAL_FIELDS = ("left", "right", "shadow")
SOLVED = StructType(
    [
        StructField("start", LongType()),
        StructField("factors", BinaryType()),
        StructField("observed", DoubleType()),
        StructField("shadowed", DoubleType()),
        StructField("penalty", DoubleType()),
        StructField("failed", LongType()),
        StructField("count", DoubleType()),
    ]
    + [StructField(name, BinaryType()) for name in _PARTIAL_FIELDS]
)


@dataclass(frozen=True)
class RowTerms:
    """What the rows of a side bring besides their entries.

    side: user or item. other_side: number of rows on the other side. unobserved: (rows,) weight of
    each row's unobserved pairs. scale: of lambda.
    """

    spec: WalsSpec
    side: str
    other_side: int
    unobserved: Double
    scale: float = 1.0

    def regularization(self, counts: Double) -> Double:
        """L of rows with these counted sums."""
        return self.scale * row_regularization(counts, self.other_side, self.spec, self.side)


def column_weights(side: str, unobserved: Double, spec: WalsSpec) -> Single:
    """Unobserved weights of a side's rows as columns of the other side's; empty: all 1."""
    if not spec.unobserved_exponent(side):
        return np.empty(0, np.float32)
    return (unobserved / spec.unobserved_weight).astype(np.float32)


@dataclass(frozen=True)
class Sums:
    """A half-sweep's share of the loss. penalty: sum of L |x|^2; the others as in `Solution`."""

    observed: float
    shadowed: float
    penalty: float


@dataclass(frozen=True)
class Solved(Sums):
    """A side after its half-sweep; factors: (rows, rank)."""

    factors: Single


@dataclass(frozen=True)
class _Sent:
    """Handles of what every task of a half-sweep reads."""

    small: "Broadcast[tuple[Fixed, RowTerms]]"
    factors: SharedArray
    last: SharedArray | None

    def open(self) -> tuple[Fixed, RowTerms, Single | None]:
        """The fixed side, the terms of the rows, and the rows' last factors if sent."""
        fixed, terms = self.small.value
        last = self.last.open() if self.last else None
        return replace(fixed, factors=self.factors.open()), terms, last


def half_sweep(
    blocks: DataFrame,
    ids: Ids,
    fixed: Fixed,
    terms: RowTerms,
    solver: Solver,
    last: Single | None = None,
    loss: bool = True,
) -> Solved:
    """Solve the side with these blocks and ascending ids; factors come back in their order.

    last: (rows, rank) factors to start from, for solvers that do. Without `loss`, observed and
    shadowed mean nothing. Raises SolveError naming the row whose system stays singular, or if
    numbers overflow.
    """
    with _sending(blocks.sparkSession.sparkContext, fixed, terms, last) as sent:
        answers = map_in_arrow(blocks, _solve_blocks(sent, solver, loss), SOLVED).toArrow()
    start: Vectors = lambda row: None if last is None else last[row]  # noqa: E731
    return solved(list(read_table(answers)), fixed, terms, ids, solver, start)


def solved(
    records: list[Record], fixed: Fixed, terms: RowTerms, ids: Ids, solver: Solver, last: Vectors
) -> Solved:
    """The side from the records of its blocks; arguments and errors are those of `settle`."""
    settled, sums = settle(records, fixed, terms, ids, solver, last)
    factors = np.zeros((len(ids), fixed.factors.shape[1]), dtype=np.float32)
    for record in settled:
        block = np.frombuffer(record["factors"], np.float32).reshape(-1, factors.shape[1])
        factors[record["start"] : record["start"] + len(block)] = block
    return Solved(sums.observed, sums.shadowed, sums.penalty, factors)


@contextmanager
def _sending(
    context: SparkContext, fixed: Fixed, terms: RowTerms, last: Single | None
) -> Iterator[_Sent]:
    small = replace(fixed, factors=np.empty((0, 0), np.float32))
    sent = _Sent(
        context.broadcast((small, terms)),
        share(context, fixed.factors),
        None if last is None else share(context, last),
    )
    try:
        yield sent
    finally:
        sent.small.destroy()
        sent.factors.destroy()
        if sent.last:
            sent.last.destroy()


def _solve_blocks(sent: _Sent, solver: Solver, loss: bool) -> Callable[[Batches], Batches]:
    schema = arrow_schema(SOLVED)

    def solve(batches: Batches) -> Batches:
        with single_threaded():
            fixed, terms, last = sent.open()
            for block in read_blocks(batches):
                start = None if last is None else last[block.rows]
                own = terms.unobserved[block.rows]
                answer = solve_block(block, own, fixed, terms, solver, start, loss)
                yield make_batch(schema, {name: [value] for name, value in answer.items()})

    return solve


def solve_block(
    block: Block, unobserved: Double, fixed: Fixed, terms: RowTerms, solver: Solver,
    last: Single | None, loss: bool,
) -> Record:  # fmt: skip
    """A record of SOLVED: a block's factors, or the sums of its part of a row.

    unobserved, last: of the block's rows alone.
    """
    if terms.spec.confidence == "total":
        entries = block.entries.whole_weights(unobserved, fixed.weights)
        block = replace(block, entries=entries)
    if block.whole:
        answer = _solve_rows(block, unobserved, fixed, terms, solver, last, loss)
    else:
        answer = _part_of_row(block, unobserved, fixed, terms)
    return dict.fromkeys(SOLVED.names) | {"start": block.start} | answer


def _solve_rows(
    block: Block, unobserved: Double, fixed: Fixed, terms: RowTerms, solver: Solver,
    last: Single | None, loss: bool,
) -> Record:  # fmt: skip
    entries = block.entries
    counts = entries.row_sums(counted_pairs(entries.a, entries.b, terms.spec))
    penalties = terms.regularization(counts)
    problem = Problem(entries.shifted(fixed.offsets), unobserved, penalties)
    solution = solve_rows(problem, fixed, solver, last, terms.spec.nonnegative, loss)
    squares = np.square(solution.factors.astype(np.float64)).sum(axis=1)
    return {
        "factors": solution.factors.tobytes(),
        "observed": solution.observed,
        "shadowed": solution.shadowed,
        "penalty": float(penalties @ squares),
        "failed": block.start + int(solution.failed[0]) if len(solution.failed) else None,
    }


def _part_of_row(block: Block, unobserved: Double, fixed: Fixed, terms: RowTerms) -> Record:
    entries = block.entries.shifted(fixed.offsets)
    sums = partial_equations(entries, fixed, float(unobserved[0]))
    counted = counted_pairs(block.entries.a, block.entries.b, terms.spec)
    matrices = {name: getattr(sums, name).tobytes() for name in _PARTIAL_FIELDS}
    return {"observed": sums.constant, "count": float(counted.sum()), **matrices}


def settle(
    records: list[Record], fixed: Fixed, terms: RowTerms, ids: Ids, solver: Solver, last: Vectors
) -> tuple[list[Record], Sums]:
    """Solve the split rows from their parts; all records by start, and their sums.

    records: of SOLVED, of all blocks. last: factors of a split row to start from. Raises as
    `half_sweep`.
    """
    parts: dict[int, list[Record]] = {}
    for record in records:
        if record["left"]:
            parts.setdefault(record["start"], []).append(record)
    merged = [_merge(row, parts[row], fixed, terms, solver, last(row)) for row in parts]
    settled = [record for record in records if record["left"] is None] + merged
    settled.sort(key=lambda record: int(record["start"]))
    _refuse_failures(settled, ids)
    names = ("observed", "shadowed", "penalty")
    sums = [float(sum(record[name] for record in settled)) for name in names]
    if not np.isfinite(sums).all():  # factors that are not finite have such a penalty
        raise DivergenceError(
            f"The factors or the loss are no longer finite; raise {setting('regularization')}, or "
            "look for extreme values in the training rows."
        )
    return settled, Sums(*sums)


def read_table(answers: pa.Table) -> Iterator[Record]:
    """Its rows."""
    return (row for batch in answers.to_batches() for row in read_records(batch))


def read_records(batch: pa.RecordBatch) -> Iterator[Record]:
    """Rows of an Arrow batch, binary values as views."""
    for at in range(batch.num_rows):
        values = {name: batch.column(name)[at] for name in batch.schema.names}
        yield {
            name: value.as_buffer() if value.is_valid and pa.types.is_binary(value.type)
            else value.as_py()
            for name, value in values.items()
        }  # fmt: skip


def _merge(
    row: int, parts: Sequence[Record], fixed: Fixed, terms: RowTerms, solver: Solver,
    last: Single | None,
) -> Record:  # fmt: skip
    """Solve a split row. Sums round by their order, so they are put in one of their content."""
    rank = len(fixed.gram)
    ordered = sorted(parts, key=lambda part: bytes(part["left"]) + bytes(part["right"]))
    sums = reduce(Partial.__add__, (_as_partial(part, rank) for part in ordered))
    counts = np.array([sum(part["count"] for part in parts)])
    penalty = float(terms.regularization(counts)[0])
    own, exact = float(terms.unobserved[row]), terms.spec.nonnegative
    start = None if last is None else last @ fixed.rotation
    shared = Shared(own, penalty)
    x = solve_whole(sums, fixed, shared, exact, start, solver.coordinates(rank))
    nothing = dict.fromkeys(SOLVED.names) | dict.fromkeys(("observed", "shadowed", "penalty"), 0.0)
    if x is None:
        return nothing | {"start": row, "failed": row, "factors": b""}
    observed, shadowed = whole_loss(sums, x, fixed)
    squares = float(np.square(x.astype(np.float64)).sum())
    return nothing | {
        "start": row,
        "factors": x.tobytes(),
        "observed": observed,
        "shadowed": shadowed,
        "penalty": penalty * squares,
    }


def _as_partial(part: Record, rank: int) -> Partial:
    left, right, shadow = (np.frombuffer(part[name]) for name in _PARTIAL_FIELDS)
    return Partial(left.reshape(rank, rank), right, shadow.reshape(rank, rank), part["observed"])


def _refuse_failures(records: list[Record], ids: Ids) -> None:
    failed = [record["failed"] for record in records if record["failed"] is not None]
    if failed:
        raise SolveError(
            f"The system of row {ids[min(failed)]} is singular (with {len(failed)} blocks "
            f"affected); raise {setting('regularization')}, or leave out rows without positive "
            "values."
        )
