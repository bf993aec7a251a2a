"""Training on the driver alone: blocks and factors in its memory, solved by threads.

A half-sweep has no Spark job, which for small data is nearly all of its time. Blocks, kernels and
the order of sums are those of the replicated placement, and so are the factors, to the last bit.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark import SparkContext
from pyspark.sql import DataFrame

from recsys_spark.als.blocks import Block, BlockRanges, Positions
from recsys_spark.als.execution_plan import Plan, Sizes
from recsys_spark.als.half_sweep import Record, Single, Solved, Vectors, solve_block, solved
from recsys_spark.als.memory_estimate import available_memory, largest_answer, needs
from recsys_spark.als.packed_interactions import Ids, Index, count_bad_rows, refuse_bad_rows
from recsys_spark.als.replicated import Broadcasting, driver_threads
from recsys_spark.als.training_data import Rows, sized_rows
from recsys_spark.kernels.als.counting_sort import Compressed, compress_both
from recsys_spark.kernels.als.csr import CODES, Csr, encode_weights, look_up
from recsys_spark.kernels.als.solve import Fixed
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import SIDES, WalsSpec
from recsys_spark.kernels.threads import in_threads, single_threaded

_FLOPS = 8e10  # a second, of one thread; `benchmarks/solvers.py`
_JOBS = 1.0  # seconds of the two jobs of a sweep, without any work in them

Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class StoredBlock:
    """A block as it is kept.

    values: (entries,) codes, of the columns of `table`, (2, codes); or, where too many distinct
    weights occur, the weights a + ib themselves.
    """

    start: int
    whole: bool
    indptr: npt.NDArray[np.int64]
    cols: npt.NDArray[np.int32]
    values: npt.NDArray[Any]
    table: npt.NDArray[np.float32] | None

    def read(self) -> Block:
        """The block as kernels take it."""
        if self.table is None:
            a, b = (np.ascontiguousarray(x) for x in (self.values.real, self.values.imag))
        else:
            a, b = look_up(self.values, self.table)
        return Block(self.start, self.whole, Csr(self.indptr, self.cols, a, b))


def held_sides(
    ratings: DataFrame,
    weighed: DataFrame,
    spec: WalsSpec,
    plan: Plan,
    on_sizes: Callable[[Sizes], None],
) -> tuple[dict[str, Rows], dict[str, list[StoredBlock]]] | None:
    """Both sides and their blocks; weighed: columns as of `packed`, a row for each of `ratings`.

    None where they are not to be on the driver: by the plan, or where auto expects that to
    take more memory than half of what is available, or, on a cluster, longer than the two jobs of a
    sweep do by themselves. Errors are those of `sides.built_sides` and of `packed`.
    """
    context = ratings.sparkSession.sparkContext
    rows = ratings.count() if plan.placement == "auto" else 0
    slots, memory = context.defaultParallelism, available_memory()
    if not driver_pays(Sizes(rows, 0, 0, 0.0, 0.0, slots), spec, plan, context, memory):
        return None
    pairs = _collected(weighed)
    index = {side: _index(pairs[side]) for side in SIDES}
    users, items = (len(index[side].ids) for side in SIDES)
    sum_a, sum_b = (float(pairs[name].sum(dtype=np.float64)) for name in "ab")
    sizes = Sizes(len(pairs["a"]), users, items, sum_a, sum_b, slots, on_driver=True)
    if not driver_pays(sizes, spec, plan, context, memory):
        return None
    sides, _ = sized_rows(sizes, index, spec, plan, context, on_sizes)
    return sides, _stored_blocks(pairs, sides)


def driver_pays(
    sizes: Sizes, spec: WalsSpec, plan: Plan, context: SparkContext, memory: int
) -> bool:
    """Whether the driver is the place for data of these sizes, as far as they are known.

    memory: bytes that were free before any pair was brought.
    """
    if plan.placement != "auto":
        return plan.placement == "driver"
    needed, answers = needs(replace(sizes, on_driver=True), spec, plan), largest_answer(context)
    if needed.driver > memory // 2 or 0 < answers < needed.answer:
        return False
    if re.fullmatch(r"local(\[[^\]]*\])?", str(context.master)):
        return True
    flops = 4.0 * sizes.pairs * spec.width**2 + (sizes.users + sizes.items) * spec.width**3 / 3
    return flops / (driver_threads() * _FLOPS) < _JOBS


def _collected(weighed: DataFrame) -> Columns:
    """The arrays user, item, a and b of all pairs: 24 bytes each, a stated exception."""
    table = weighed.toArrow()
    refuse_bad_rows(len(table), count_bad_rows(table))
    return {name: table[name].to_numpy() for name in table.column_names}


def _index(values: Ids) -> Index:
    """The distinct ids, ascending: counted in a table where they are dense, else by sorting."""
    low, high = int(values.min()), int(values.max())
    if high - low > 8 * len(values):
        return Index(*np.unique(values, return_counts=True))
    counts = np.bincount(values - low)
    found = np.flatnonzero(counts)
    return Index(found + low, counts[found])


def _stored_blocks(pairs: Columns, sides: Mapping[str, Rows]) -> dict[str, list[StoredBlock]]:
    values, table = _values(pairs["a"], pairs["b"])
    users, items = (Positions(sides[side].ids).of(pairs[side]) for side in SIDES)
    both = compress_both(users, items, values, (sides["user"].counts, sides["item"].counts))
    return {
        side: list(_blocks(sides[side].ranges, rows, table))
        for side, rows in zip(SIDES, both, strict=True)
    }


def _values(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32] | None]:
    """Values and table as of a stored block; either sort as pairs of a and b do."""
    codes, table = encode_weights(a, b)
    if table.shape[1] > CODES:
        return table.T.copy().view(np.complex64).ravel(), None
    return codes if len(codes) else np.zeros(len(a), np.uint8), table


def _blocks(
    ranges: BlockRanges, rows: Compressed, table: npt.NDArray[np.float32] | None
) -> Iterator[StoredBlock]:
    """The blocks that have entries; those of whole rows are views."""
    firsts = np.searchsorted(ranges.starts, ranges.starts)
    for at, (start, stop, parts) in enumerate(
        zip(ranges.starts.tolist(), ranges.stops.tolist(), ranges.parts.tolist(), strict=True)
    ):
        bounds = rows.indptr[start : stop + 1]
        cols, values = (array[bounds[0] : bounds[-1]] for array in (rows.cols, rows.values))
        if parts > 1:
            own = cols % parts == at - firsts[at]
            cols, values = cols[own], values[own]
            bounds = np.array([0, len(cols)])
        if len(cols):
            yield StoredBlock(start, parts == 1, bounds - bounds[0], cols, values, table)


class OnDriver(Broadcasting):
    """Half-sweeps over blocks that the driver holds, by its threads."""

    def __init__(
        self,
        sides: Mapping[str, Rows],
        spec: WalsSpec,
        blocks: Mapping[str, Sequence[StoredBlock]],
    ) -> None:
        super().__init__(sides, spec)
        self.blocks = blocks

    def solve(
        self, rows: Rows, fixed: Fixed, solver: Solver, last: Single | None, loss: bool
    ) -> Solved:
        """A side's factors against the other, fixed one."""
        terms, blocks = rows.terms, self.blocks[rows.terms.side]

        def answer(at: int) -> Record:
            block = blocks[at].read()
            start = None if last is None else last[block.rows]
            unobserved = terms.unobserved[block.rows]
            return solve_block(block, unobserved, fixed, terms, solver, start, loss)

        with single_threaded():
            records = list(in_threads(answer, range(len(blocks)), driver_threads()))
        first: Vectors = lambda row: None if last is None else last[row]  # noqa: E731
        return solved(records, fixed, terms, rows.ids, solver, first)
