"""Rows against a side in the basis of its Gram matrix: exact, or by conjugate gradients."""

from typing import NamedTuple

import numpy as np

from recsys_spark.kernels.als.solve.conjugate_gradient import conjugate_gradients
from recsys_spark.kernels.als.solve.exact import Work, exact_workspace, solve_exactly
from recsys_spark.kernels.als.solve.fixed_side import Fixed, Single, rotated
from recsys_spark.kernels.als.solve.systems import (
    Equations,
    Solved,
    Workspace,
    any_nonzero,
    entries_of,
    has_roots,
    set_shared_part,
    unsolved,
    workspace,
)
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.blas import load_blas
from recsys_spark.kernels.jit import kernel


class _Workspaces(NamedTuple):
    exact: Work
    single: Workspace


def solve_in_eigenbasis(
    equations: Equations, fixed: Fixed, solver: Solver, last: Single | None
) -> Solved:
    """Factors in the rotated basis: by the solver's cg steps, or else exact."""
    load_blas()
    steps = solver.cg_steps if solver.method == "cg" else 0
    start = np.zeros((1, 1), np.float32)
    if steps and last is not None:
        start = rotated(last, fixed.rotation)
    eigenvalues = np.ascontiguousarray(np.diag(fixed.gram))
    rank, solved = len(eigenvalues), unsolved(equations, len(eigenvalues))
    work = _Workspaces(exact_workspace(rank), workspace(rank, np.float32))
    _rotated(equations, eigenvalues, start, steps, work, solved)
    return solved


@kernel
def _rotated(equations, eigenvalues, start, steps, work, solved):  # type: ignore[no-untyped-def]
    Y, w, penalty = equations.Y, equations.unobserved, equations.regularization
    rank = Y.shape[1]
    shared, x = np.empty(rank), np.empty(rank, dtype=np.float32)
    for row in range(len(equations.indptr) - 1):
        entries = entries_of(equations, row)
        if not any_nonzero(entries.b):  # where the right side is zero, so is the solution
            continue
        set_shared_part(shared, eigenvalues, w[row], penalty[row])
        if steps and has_roots(entries.a, entries.b):
            for k in range(rank):
                x[k] = start[row, k]
            good = conjugate_gradients(entries, Y, shared, work.single, x, steps)
        else:
            good = solve_exactly(entries, Y, shared, work.exact, x)
        if good:
            for k in range(rank):
                solved.factors[row, k] = x[k]
        else:
            solved.status[row] = 1
