"""Solution of a block of rows, and its part of the loss."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.als.csr import Csr
from recsys_spark.kernels.als.solve.eigenbasis import solve_in_eigenbasis
from recsys_spark.kernels.als.solve.fixed_side import Double, Fixed, Single, rotated
from recsys_spark.kernels.als.solve.nonnegative import solve_nonnegative
from recsys_spark.kernels.als.solve.subspace import solve_subspace
from recsys_spark.kernels.als.solve.systems import Equations, call_for, read_only
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.jit import jit, kernel

_OBSERVED, _SHADOWED = 0, 1  # where they stand among the sums of the loss


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
    equations, sums = _equations(problem, fixed), np.zeros(2)
    in_basis = not nonnegative and solver.method != "subspace"
    if nonnegative:
        solved = solve_nonnegative(equations, fixed.gram)
    elif in_basis:
        solved = solve_in_eigenbasis(equations, fixed, solver, last)
    else:
        solved = solve_subspace(equations, fixed.gram, solver, last)
    if loss:
        _add_losses(equations, solved.factors, sums)
    factors, failed = solved.factors, np.flatnonzero(solved.status)
    if in_basis:
        factors = rotated(factors, np.ascontiguousarray(fixed.rotation.T))
    return Solution(factors, failed, float(sums[_OBSERVED]), float(sums[_SHADOWED]))


def _equations(problem: Problem, fixed: Fixed) -> Equations:
    entries = problem.entries
    return Equations(
        indptr=read_only(entries.indptr),
        indices=read_only(entries.cols),
        a=read_only(entries.a),
        b=read_only(entries.b),
        unobserved=read_only(problem.unobserved),
        regularization=read_only(problem.regularization),
        Y=read_only(fixed.factors),
        weights=read_only(fixed.weights),
    )


@kernel
def _add_losses(equations, X, sums):  # type: ignore[no-untyped-def]
    indptr, indices, a, b = equations.indptr, equations.indices, equations.a, equations.b
    Y, weights, unobserved = equations.Y, equations.weights, equations.unobserved
    for row in range(len(indptr) - 1):
        x, at = X[row], indptr[row]
        while at < indptr[row + 1]:
            call_for(Y, indices, at)
            col, prediction = indices[at], np.float32(0)
            for k in range(len(x)):
                prediction += Y[col, k] * x[k]
            shadow = unobserved[row] * (weights[col] if len(weights) else 1.0)
            weight, response, first = shadow, 0.0, at
            while at < indptr[row + 1] and indices[at] == col:
                weight += a[at]
                response += b[at]
                at += 1
            target = response / weight if weight != 0.0 else 0.0
            sums[_OBSERVED] += weight * (prediction - target) ** 2
            if shadow == 0.0 and at - first > 1:
                sums[_OBSERVED] += _spread(a, b, first, at, target)
            sums[_SHADOWED] += shadow * np.float64(prediction) ** 2


@jit
def _spread(a, b, first, last, target):  # type: ignore[no-untyped-def]
    """The squared error that the entries of one pair have at their weighted mean."""
    total = 0.0
    for at in range(first, last):
        if a[at] != 0.0:
            total += a[at] * (b[at] / a[at] - target) ** 2
    return total
