"""Solution of a block of rows, and its part of the loss."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.als.csr import Csr
from recsys_spark.kernels.als.solve.eigenbasis import solve_in_eigenbasis
from recsys_spark.kernels.als.solve.fixed_side import Double, Fixed, Single, rotated
from recsys_spark.kernels.als.solve.nonnegative import solve_nonnegative
from recsys_spark.kernels.als.solve.subspace import solve_subspace
from recsys_spark.kernels.als.solve.systems import Arrays, call_for, read_only
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.jit import jit, kernel


@dataclass(frozen=True)
class Problem:
    """A block's entries, and of its rows, (rows,): unobserved = w, regularization = L."""

    entries: Csr
    unobserved: Double
    regularization: Double


@dataclass(frozen=True)
class Solution:
    """factors: (rows, rank). failed: positions of rows that no jitter made solvable.

    observed: sum over pairs of (w + a)(xy - b / (w + a))^2, a and b added up where a pair has
    several entries; where w is 0 the sum over entries, of which such a pair may have different
    targets. shadowed: sum over pairs of w (xy)^2, what the Gram matrices count for them as
    unobserved.
    """

    factors: Single
    failed: npt.NDArray[np.int64]
    observed: float
    shadowed: float


def solve_rows(
    problem: Problem,
    fixed: Fixed,
    solver: Solver,
    last: Single | None = None,
    nonnegative: bool = False,
    loss: bool = True,
) -> Solution:
    """Solve every row against the fixed side; `last`, (rows, rank), is where iterations begin.

    Nonnegative rows have a solver of their own; the subspace solver and theirs want a side that
    is not rotated. Without `loss` the two sums of the solution stay 0.
    """
    given, sums = _arrays(problem, fixed), np.zeros(2)
    in_basis = not nonnegative and solver.method != "subspace"
    if nonnegative:
        factors, status = solve_nonnegative(given, fixed.gram)
    elif in_basis:
        factors, status = solve_in_eigenbasis(given, fixed, solver, last)
    else:
        factors, status = solve_subspace(given, fixed.gram, solver, last)
    if loss:
        _add_losses(given, factors, sums)
    if in_basis:
        factors = rotated(factors, np.ascontiguousarray(fixed.rotation.T))
    return Solution(factors, np.flatnonzero(status), float(sums[0]), float(sums[1]))


def _arrays(problem: Problem, fixed: Fixed) -> Arrays:
    """What the kernels read, as read-only arrays: to the compiler, other ones are other types."""
    entries = problem.entries
    given = (
        entries.indptr, entries.cols, entries.a, entries.b,
        problem.unobserved, problem.regularization, fixed.factors, fixed.weights,
    )  # fmt: skip
    return read_only(*given)


@kernel
def _add_losses(given, factors, sums):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, unobserved, _, fixed, weights = given
    for row in range(len(indptr) - 1):
        x, at = factors[row], indptr[row]
        while at < indptr[row + 1]:
            call_for(fixed, cols, at)
            col, prediction = cols[at], np.float32(0)
            for k in range(len(x)):
                prediction += fixed[col, k] * x[k]
            shadow = unobserved[row] * (weights[col] if len(weights) else 1.0)
            weight, response, first = shadow, 0.0, at
            while at < indptr[row + 1] and cols[at] == col:
                weight += a[at]
                response += b[at]
                at += 1
            target = response / weight if weight != 0.0 else 0.0
            sums[0] += weight * (prediction - target) ** 2
            if shadow == 0.0 and at - first > 1:
                sums[0] += _spread(a, b, first, at, target)
            sums[1] += shadow * np.float64(prediction) ** 2


@jit
def _spread(a, b, first, last, target):  # type: ignore[no-untyped-def]
    """The squared error that the entries of one pair have at their weighted mean."""
    total = 0.0
    for at in range(first, last):
        if a[at] != 0.0:
            total += a[at] * (b[at] / a[at] - target) ** 2
    return total
