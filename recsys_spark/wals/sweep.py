"""One half-sweep, for users and items alike: every row of a side solved against the other side.

The fixed side travels to the tasks as a mapped broadcast; each block answers with its rows'
factors and its share of the loss. A row that is split over several blocks answers with its parts'
normal equations, which are summed and solved on the driver. Nothing depends on which task came
first.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark import Broadcast, SparkContext
from pyspark.sql import DataFrame
from pyspark.sql.types import BinaryType, DoubleType, LongType, StructField, StructType

from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.errors import DivergenceError, SolveError
from recsys_spark.kernels.partial import Partial, partial_equations, solve_whole, whole_loss
from recsys_spark.kernels.solve import Fixed, Problem, solve_rows
from recsys_spark.kernels.solver import Solver
from recsys_spark.kernels.spec import WalsSpec
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.kernels.weights import counted_pairs, row_regularization
from recsys_spark.wals.blocks import Block, read_blocks
from recsys_spark.wals.packed import Batches, Ids
from recsys_spark.wals.shared import SharedArray, share

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
_Record = dict[str, Any]

_PARTIAL_FIELDS = ("left", "right", "shadow")
_SOLVED = StructType(
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


@dataclass(frozen=True)
class Solved:
    """A side after its half-sweep. penalty: sum of L |x|^2; the others as in `Solution`."""

    factors: Single
    observed: float
    shadowed: float
    penalty: float


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
        answers = blocks.mapInArrow(_solve_blocks(sent, solver, loss), _SOLVED).toArrow()
    records = [row for batch in answers.to_batches() for row in _records(batch)]
    records.sort(key=lambda record: int(record["start"]))
    factors = np.zeros((len(ids), fixed.factors.shape[1]), dtype=np.float32)
    whole = [record for record in records if record["left"] is None]
    for record in whole:
        block = np.frombuffer(record["factors"], np.float32).reshape(-1, factors.shape[1])
        factors[record["start"] : record["start"] + len(block)] = block
    parts = [record for record in records if record["left"]]
    merged = _merge(parts, fixed, terms, factors, solver, last)
    _refuse_failures(whole + merged, ids)
    sums = {
        name: float(sum(record[name] for record in whole + merged))
        for name in ("observed", "shadowed", "penalty")
    }
    if not np.isfinite(factors).all() or not np.isfinite(sums["observed"]):
        raise DivergenceError(
            "The factors or the loss are no longer finite; raise objective.regularization, or look "
            "for extreme values in the training rows."
        )
    return Solved(factors, **sums)


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


def _records(batch: Any) -> Iterator[_Record]:
    """Rows of an Arrow batch, binary values as views."""
    for at in range(batch.num_rows):
        values = {name: batch.column(name)[at] for name in batch.schema.names}
        yield {
            name: value.as_buffer() if value.is_valid and name in _BINARY else value.as_py()
            for name, value in values.items()
        }


_BINARY = {"factors", *_PARTIAL_FIELDS}


def _solve_blocks(sent: _Sent, solver: Solver, loss: bool) -> Callable[[Batches], Batches]:
    schema = arrow_schema(_SOLVED)
    nothing = dict.fromkeys(_SOLVED.names)

    def solve(batches: Batches) -> Batches:
        with single_threaded():
            fixed, terms, last = sent.open()
            for block in read_blocks(batches):
                answer = (
                    _solve_block(block, fixed, terms, solver, last, loss)
                    if block.whole
                    else _part_of_row(block, fixed, terms)
                )
                record = nothing | {"start": block.start} | answer
                yield make_batch(schema, {name: [value] for name, value in record.items()})

    return solve


def _solve_block(
    block: Block,
    fixed: Fixed,
    terms: RowTerms,
    solver: Solver,
    last: Single | None,
    loss: bool,
) -> _Record:
    entries, rows = block.entries, slice(block.start, block.start + len(block.entries.indptr) - 1)
    counts = entries.row_sums(counted_pairs(entries.a, entries.b, terms.spec))
    penalties = terms.regularization(counts)
    problem = Problem(entries.shifted(fixed.offsets), terms.unobserved[rows], penalties)
    start = None if last is None else last[rows]
    solution = solve_rows(problem, fixed, solver, start, terms.spec.nonnegative, loss)
    squares = np.square(solution.factors.astype(np.float64)).sum(axis=1)
    return {
        "factors": solution.factors.tobytes(),
        "observed": solution.observed,
        "shadowed": solution.shadowed,
        "penalty": float(penalties @ squares),
        "failed": block.start + int(solution.failed[0]) if len(solution.failed) else None,
    }


def _part_of_row(block: Block, fixed: Fixed, terms: RowTerms) -> _Record:
    entries = block.entries.shifted(fixed.offsets)
    sums = partial_equations(entries, fixed, float(terms.unobserved[block.start]))
    counted = counted_pairs(block.entries.a, block.entries.b, terms.spec)
    matrices = {name: getattr(sums, name).tobytes() for name in _PARTIAL_FIELDS}
    return {"observed": sums.constant, "count": float(counted.sum()), **matrices}


def _merge(
    parts: list[_Record],
    fixed: Fixed,
    terms: RowTerms,
    factors: Single,
    solver: Solver,
    last: Single | None,
) -> list[_Record]:
    """Solve the split rows into `factors`; a record of the loss for each."""
    by_row: dict[int, list[_Record]] = {}
    for part in parts:
        by_row.setdefault(part["start"], []).append(part)
    block = solver.coordinates(factors.shape[1])
    return [
        _merge_row(row, found, fixed, terms, factors, block, last) for row, found in by_row.items()
    ]


def _merge_row(
    row: int,
    parts: list[_Record],
    fixed: Fixed,
    terms: RowTerms,
    factors: Single,
    block: slice,
    last: Single | None,
) -> _Record:
    sums = reduce(Partial.__add__, (_as_partial(part, factors.shape[1]) for part in parts))
    counts = np.array([sum(part["count"] for part in parts)])
    penalty = float(terms.regularization(counts)[0])
    own, exact = float(terms.unobserved[row]), terms.spec.nonnegative
    start = None if last is None else last[row] @ fixed.rotation
    x = solve_whole(sums, fixed, own, penalty, exact, start, block)
    if x is None:
        return {"failed": row, "observed": 0.0, "shadowed": 0.0, "penalty": 0.0}
    factors[row] = x
    observed, shadowed = whole_loss(sums, x, fixed)
    squares = float(np.square(x.astype(np.float64)).sum())
    return {
        "failed": None,
        "observed": observed,
        "shadowed": shadowed,
        "penalty": penalty * squares,
    }


def _as_partial(part: _Record, rank: int) -> Partial:
    left, right, shadow = (np.frombuffer(part[name]) for name in _PARTIAL_FIELDS)
    return Partial(left.reshape(rank, rank), right, shadow.reshape(rank, rank), part["observed"])


def _refuse_failures(records: list[_Record], ids: Ids) -> None:
    failed = [record["failed"] for record in records if record["failed"] is not None]
    if failed:
        raise SolveError(
            f"The system of row {ids[min(failed)]} is singular (with {len(failed)} blocks "
            "affected); raise objective.regularization, or leave out rows without positive values."
        )
