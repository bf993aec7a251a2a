"""One half-sweep, for users and items alike: every row of a side solved against the other side.

The fixed side travels to the tasks as a broadcast; each block answers with its rows' factors,
their Gram matrix and the terms of the loss. Answers are put together in the order of their first
id, so that sums do not depend on which task came first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql.types import BinaryType, DoubleType, LongType, StructField, StructType

from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.errors import SolveError
from recsys_spark.kernels.csr import Csr
from recsys_spark.kernels.solve import gram, observed_loss, solve_rows
from recsys_spark.kernels.spec import WalsSpec
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.kernels.weights import counted_pairs, row_regularization
from recsys_spark.wals.blocks import Batches, Ids, read_blocks

_SOLVED = StructType(
    [
        StructField("ids", BinaryType()),
        StructField("factors", BinaryType()),
        StructField("gram", BinaryType()),
        StructField("weighted_error", DoubleType()),
        StructField("squared_prediction", DoubleType()),
        StructField("penalty", DoubleType()),
        StructField("failed_id", LongType()),
    ]
)


@dataclass(frozen=True)
class FixedSide:
    """What a task needs of the side that stays: factors (rows, rank) and their Gram matrix."""

    factors: npt.NDArray[np.float32]
    gram: npt.NDArray[np.float64]
    solves: Any = "user"


@dataclass(frozen=True)
class Solved:
    """A side after its half-sweep. penalty: sum of L |x|^2; the others as in `LossTerms`."""

    factors: npt.NDArray[np.float32]
    gram: npt.NDArray[np.float64]
    weighted_error: float
    squared_prediction: float
    penalty: float


def half_sweep(blocks: DataFrame, ids: Ids, fixed: FixedSide, spec: WalsSpec) -> Solved:
    """Solve the side with these blocks and ascending ids; factors come back in their order.

    Raises SolveError naming the row whose system stays singular, or if numbers overflow.
    """
    broadcast = blocks.sparkSession.sparkContext.broadcast(fixed)
    try:
        answers = blocks.mapInArrow(_solve_blocks(broadcast, spec), _SOLVED).toArrow().to_pylist()
    finally:
        broadcast.destroy()
    failed = sorted(row["failed_id"] for row in answers if row["failed_id"] is not None)
    if failed:
        raise SolveError(
            f"The system of row {failed[0]} is singular (with {len(failed)} blocks affected); "
            "raise objective.regularization, or leave out rows without positive values."
        )
    solved = _assemble(answers, ids, spec.rank)
    if not np.isfinite(solved.gram).all() or not np.isfinite(solved.weighted_error):
        raise SolveError(
            "The factors or the loss are no longer finite; raise objective.regularization, or look "
            "for extreme values in the training rows."
        )
    return solved


def _assemble(answers: list[dict[str, bytes]], ids: Ids, rank: int) -> Solved:
    parts = sorted(((np.frombuffer(row["ids"], np.int64), row) for row in answers), key=_first_id)
    factors = np.zeros((len(ids), rank), dtype=np.float32)
    total_gram = np.zeros((rank, rank))
    for block_ids, row in parts:
        block = np.frombuffer(row["factors"], np.float32).reshape(-1, rank)
        factors[np.searchsorted(ids, block_ids)] = block
        total_gram += np.frombuffer(row["gram"], np.float64).reshape(rank, rank)
    sums = {
        name: sum(float(row[name]) for _, row in parts)
        for name in ("weighted_error", "squared_prediction", "penalty")
    }
    return Solved(factors, total_gram, **sums)


def _first_id(part: tuple[Ids, object]) -> int:
    return int(part[0][0])


def _solve_blocks(
    broadcast: "Broadcast[FixedSide]", spec: WalsSpec
) -> Callable[[Batches], Batches]:
    schema = arrow_schema(_SOLVED)

    def solve(batches: Batches) -> Batches:
        with single_threaded():
            for block in read_blocks(batches):
                yield make_batch(schema, _solve_block(block, broadcast.value, spec))

    return solve


def _solve_block(block: Csr, fixed: FixedSide, spec: WalsSpec) -> dict[str, list[object]]:
    w0 = spec.unobserved_weight
    a, b = block.values.real.copy(), block.values.imag.copy()
    counted = counted_pairs(a.astype(np.float32), b.astype(np.float32), spec)
    counts = np.add.reduceat(counted.astype(np.float64), block.indptr[:-1])
    penalties = row_regularization(counts, len(fixed.factors), spec, fixed.solves)
    solution = solve_rows(block, a, b, fixed.factors, w0 * fixed.gram, penalties, spec.nonnegative)
    loss = observed_loss(block, a, b, fixed.factors, solution.factors, w0)
    squares = np.square(solution.factors.astype(np.float64)).sum(axis=1)
    failed = block.ids[solution.failed[0]] if len(solution.failed) else None
    return {
        "ids": [block.ids.tobytes()],
        "factors": [solution.factors.tobytes()],
        "gram": [gram(solution.factors).tobytes()],
        "weighted_error": [loss.weighted_error],
        "squared_prediction": [loss.squared_prediction],
        "penalty": [float(penalties @ squares)],
        "failed_id": [failed],
    }
