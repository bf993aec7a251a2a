"""Training on the driver alone: packed pairs, blocks and factors in its memory, solved by threads.

A half-sweep has no Spark job, which for small data is nearly all of its time. Blocks, kernels and
the order of sums are those of the broadcast layout, and so are the factors, to the last bit.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark import SparkContext

from recsys_spark.kernels.csr import Csr, compress, decode_weights, encode_weights
from recsys_spark.kernels.solve import Fixed
from recsys_spark.kernels.solver import Solver
from recsys_spark.kernels.spec import SIDES, WalsSpec, other_side
from recsys_spark.kernels.threads import in_threads, single_threaded
from recsys_spark.wals.blocks import Block, Layout, Positions, dealt
from recsys_spark.wals.broadcast import Broadcasting, driver_threads
from recsys_spark.wals.budget import available_memory, largest_answer, needs
from recsys_spark.wals.packed import Ids, Index, Packed, collected
from recsys_spark.wals.plan import Plan, Sizes
from recsys_spark.wals.sides import Rows, sized_rows, sizes_of
from recsys_spark.wals.sweep import Record, Single, Solved, Vectors, solve_block, solved

_FLOPS = 2e10  # a second, of one thread
_JOBS = 1.0  # seconds of the two jobs of a sweep, without any work in them

Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class StoredBlock:
    """A block as it is kept, its weights in codes where few distinct ones occur."""

    start: int
    whole: bool
    indptr: npt.NDArray[np.int64]
    cols: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint8]
    table: npt.NDArray[np.float32]

    def read(self) -> Block:
        """The block as kernels take it."""
        a, b = decode_weights(self.codes, self.table.reshape(2, -1), len(self.cols))
        return Block(self.start, self.whole, Csr(self.indptr, self.cols, a, b))


@dataclass(frozen=True)
class Pairs:
    """All pairs on the driver. arrays: user, item, a and b, (pairs,)."""

    arrays: Columns

    @classmethod
    def of(cls, pairs: Packed) -> "Pairs":
        """Those that were packed; 24 bytes each."""
        return cls(collected(pairs.records))

    def index(self) -> dict[str, Index]:
        """The distinct ids of each side, ascending, and how many pairs each has."""
        return {side: _index(self.arrays[side]) for side in SIDES}

    def blocks(self, rows: Mapping[str, Rows]) -> dict[str, list[StoredBlock]]:
        """The blocks of both sides."""
        at = {side: Positions(own.ids).of(self.arrays[side]) for side, own in rows.items()}
        weights = self.arrays["a"], self.arrays["b"]
        return {
            side: list(_blocks(own.layout, (at[side], at[other_side(side)], *weights)))
            for side, own in rows.items()
        }


def held_sides(
    pairs: Packed, spec: WalsSpec, plan: Plan, on_sizes: Callable[[Sizes], None]
) -> tuple[dict[str, Rows], dict[str, list[StoredBlock]]] | None:
    """Both sides and their blocks; arguments and errors are those of `sides.built_sides`.

    None where they are not to be on the driver: by the plan, or where layout auto expects that to
    take more memory than half of what is available, or, on a cluster, longer than the two jobs of a
    sweep do by themselves.
    """
    context = pairs.records.sparkSession.sparkContext
    if not driver_pays(sizes_of(pairs, {}), spec, plan, context):
        return None
    held = Pairs.of(pairs)
    index = held.index()
    if not driver_pays(sizes_of(pairs, index), spec, plan, context):
        return None
    pairs.records.unpersist()
    rows, _ = sized_rows(pairs, index, spec, plan, on_sizes, on_driver=True)
    return rows, held.blocks(rows)


def driver_pays(sizes: Sizes, spec: WalsSpec, plan: Plan, context: SparkContext) -> bool:
    """Whether the driver is the place for data of these sizes, as far as they are known."""
    if plan.layout != "auto":
        return plan.layout == "driver"
    needed, answers = needs(replace(sizes, on_driver=True), spec, plan), largest_answer(context)
    if needed.driver > available_memory() // 2 or 0 < answers < needed.answer:
        return False
    if re.fullmatch(r"local(\[[^\]]*\])?", str(context.master)):
        return True
    flops = 4.0 * sizes.pairs * spec.width**2 + (sizes.users + sizes.items) * spec.width**3 / 3
    return flops / (driver_threads() * _FLOPS) < _JOBS


def _index(values: Ids) -> Index:
    """Counted in a table where ids are dense, else by sorting."""
    low, high = int(values.min()), int(values.max())
    if high - low > 8 * len(values):
        return Index(*np.unique(values, return_counts=True))
    counts = np.bincount(values - low)
    found = np.flatnonzero(counts)
    return Index(found + low, counts[found])


def _blocks(layout: Layout, columns: tuple[npt.NDArray[Any], ...]) -> Iterator[StoredBlock]:
    parts = list(dealt(layout, columns))

    def stored(at: int) -> StoredBlock:
        number, (rows, cols, a, b) = parts[at]
        start, stop = int(layout.starts[number]), int(layout.stops[number])
        own = compress(rows - np.int32(start), cols, a, b, stop - start)
        whole = int(layout.parts[number]) == 1
        return StoredBlock(start, whole, own.indptr, own.cols, *encode_weights(own.a, own.b))

    return in_threads(stored, range(len(parts)), driver_threads())


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
