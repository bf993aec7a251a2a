"""The placement where the driver holds both sides and sends each task the fixed one."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.als.bias_factors import fixed_part, from_solved, solved_part
from recsys_spark.als.factors import Factors, SideFactors, initial_vectors, overwrite_known
from recsys_spark.als.half_sweep import Solved, Sums, half_sweep
from recsys_spark.als.training_data import Rows, Side
from recsys_spark.kernels.als.solve import Fixed, fix, gram
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.spark_internals import active_context

Single = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Held:
    """A side's vectors, and what the other side's rows see of them."""

    vectors: Single
    features: Single
    offsets: Single
    weights: Single
    gram: npt.NDArray[np.float64]

    def as_fixed(self, spec: WalsSpec, solver: Solver) -> Fixed:
        """The side as the other one's rows are solved against it."""
        rotate = solver.rotates(spec)
        with single_threaded():  # more threads would round differently
            return fix(
                self.features, self.gram, self.weights, self.offsets, rotate, driver_threads()
            )


def hold(side: str, vectors: Single, weights: Single, spec: WalsSpec) -> Held:
    """A side with these vectors."""
    features, offsets = fixed_part(side, vectors, spec)
    with single_threaded():
        products = gram(features, weights, driver_threads())
    return Held(vectors, features, offsets, weights, products)


def driver_threads() -> int:
    """Processors that the driver may use while no task runs; in local mode those of tasks."""
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    own = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    context = active_context()
    chosen = re.match(r"local(\[\d+)?(,|\]|$)", str(context.master)) if context else None
    return min(own, int((chosen[1] or "[1")[1:])) if chosen else own


class Broadcasting:
    """Half-sweeps against a side that is sent whole."""

    def __init__(self, sides: Mapping[str, Rows], spec: WalsSpec) -> None:
        self.sides, self.spec = sides, spec

    def begin(self, side: str, known: SideFactors | None) -> Held:
        """The initial vectors, with known ones in the place of those of the same ids."""
        own = self.sides[side]
        vectors = initial_vectors(side, own.ids, self.spec, driver_threads())
        if known is not None:
            overwrite_known(own.ids, vectors, known.arrays())
        return hold(side, vectors, own.weights, self.spec)

    def half(
        self, side: str, own: Held, other: Held, solver: Solver, loss: bool
    ) -> tuple[Held, Sums]:
        """Solve a side, or a block of its coordinates, against the other."""
        rows, last = self.sides[side], None
        if solver.method != "cholesky":
            last = solved_part(side, own.vectors, self.spec)
        fixed = other.as_fixed(self.spec, solver)
        solved = self.solve(rows, fixed, solver, last, loss)
        vectors = from_solved(side, solved.factors, self.spec)
        return hold(side, vectors, rows.weights, self.spec), solved

    def solve(
        self, rows: Rows, fixed: Fixed, solver: Solver, last: Single | None, loss: bool
    ) -> Solved:
        """A side's factors against the other, fixed one."""
        assert isinstance(rows, Side)
        return half_sweep(rows.blocks, rows.ids, fixed, rows.terms, solver, last, loss)

    def factors(self, side: str, held: Held) -> Factors:
        """A side's factors."""
        return Factors(self.sides[side].ids, held.vectors)

    def keep(self, state: Mapping[str, Held]) -> None:
        """Forget every state but this: the driver does by itself."""

    def finished(self, side: str, factors: SideFactors) -> SideFactors:
        """Factors that outlast the training: these do."""
        return factors
