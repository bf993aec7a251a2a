"""Rows against a side in the basis of its Gram matrix: exact, or by conjugate gradients."""

import numpy as np

from recsys_spark.kernels.als.solve.conjugate_gradient import conjugate_gradients
from recsys_spark.kernels.als.solve.exact import exact_workspace, solve_exactly
from recsys_spark.kernels.als.solve.fixed_side import Fixed, Single, rotated
from recsys_spark.kernels.als.solve.systems import (
    Arrays,
    Solved,
    any_nonzero,
    has_roots,
    set_shared_part,
    unsolved,
    workspace,
)
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.blas import load_blas
from recsys_spark.kernels.jit import kernel


def solve_in_eigenbasis(given: Arrays, fixed: Fixed, solver: Solver, last: Single | None) -> Solved:
    """Factors in the rotated basis: by the solver's cg steps, or else exact."""
    load_blas()
    steps = solver.cg_steps if solver.method == "cg" else 0
    start = np.zeros((1, 1), np.float32)
    if steps and last is not None:
        start = rotated(last, fixed.rotation)
    eigenvalues = np.ascontiguousarray(np.diag(fixed.gram))
    rank, solved = len(eigenvalues), unsolved(given, len(eigenvalues))
    work = exact_workspace(rank), workspace(rank, np.float32)
    _rotated(given, eigenvalues, start, steps, work, *solved)
    return solved


@kernel
def _rotated(given, eigenvalues, start, steps, work, factors, status):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, unobserved, regularization, fixed, _ = given
    exact, single = work
    rank = fixed.shape[1]
    shared, x = np.empty(rank), np.empty(rank, dtype=np.float32)
    for row in range(len(indptr) - 1):
        entries = cols[indptr[row] : indptr[row + 1]]
        extra, right = a[indptr[row] : indptr[row + 1]], b[indptr[row] : indptr[row + 1]]
        if not any_nonzero(right):  # where the right side is zero, so is the solution
            continue
        set_shared_part(shared, eigenvalues, unobserved[row], regularization[row])
        if steps and has_roots(extra, right):
            for k in range(rank):
                x[k] = start[row, k]
            solved = conjugate_gradients(entries, extra, right, fixed, shared, single, x, steps)
        else:
            solved = solve_exactly(entries, extra, right, fixed, shared, exact, x)
        if solved:
            for k in range(rank):
                factors[row, k] = x[k]
        else:
            status[row] = 1
