"""Rows by blocks of coordinates, against a side that is not rotated.

One step minimises over the solver's block of coordinates B with the others held:

    x_B -= A_BB^-1 (A x - sum_S b_j y_j)_B

Rendle et al., "iALS++: Speeding up Matrix Factorization with Subspace Optimization" (2021).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.als.solve.fixed_side import Double, Single
from recsys_spark.kernels.als.solve.systems import (
    GATHERED,
    JITTER,
    LEAST_PIVOT_DOUBLE,
    LEAST_PIVOT_SINGLE,
    Arrays,
    Solved,
    add_symmetric,
    any_nonzero,
    has_roots,
    read_only,
    solve_system,
    unsolved,
    workspace,
)
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.blas import load_blas
from recsys_spark.kernels.jit import jit, kernel


def solve_subspace(given: Arrays, gram: Double, solver: Solver, last: Single | None) -> Solved:
    """The last factors, or zeros, after a step in the solver's block of coordinates."""
    load_blas()
    solved = unsolved(given, len(gram))
    block = solver.coordinates(len(gram))
    single, double = (
        _block_workspace(block.stop - block.start, dtype) for dtype in (np.float32, np.float64)
    )
    gram, start = read_only(gram, np.zeros_like(solved[0]) if last is None else last)
    _subspace(given, gram, start, block.start, single, double, *solved)
    return solved


def _block_workspace(width: int, dtype: npt.DTypeLike) -> tuple[Any, ...]:
    """A workspace for a block of coordinates, and weighted rows."""
    work = workspace(width, dtype)
    return *work, np.empty_like(work[0])


@kernel
def _subspace(given, gram, start, first, single, double, factors, status):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, unobserved, regularization, fixed, _ = given
    rank = fixed.shape[1]
    x = np.empty(rank, dtype=np.float32)
    for row in range(len(indptr) - 1):
        entries = cols[indptr[row] : indptr[row + 1]]
        extra, right = a[indptr[row] : indptr[row + 1]], b[indptr[row] : indptr[row + 1]]
        w, penalty = unobserved[row], regularization[row]
        for k in range(rank):
            x[k] = 0.0
        if any_nonzero(right):
            for k in range(rank):
                x[k] = start[row, k]
            if not _step(entries, extra, right, fixed, gram, w, penalty, single, double, x, first):
                status[row] = 1
                continue
        for k in range(rank):
            factors[row, k] = x[k]


@jit
def _step(cols, a, b, fixed, gram, w, penalty, single, double, x, first):  # type: ignore[no-untyped-def]
    """Minimise over the block of x from `first` on; False if its system stays singular."""
    least = LEAST_PIVOT_SINGLE
    if has_roots(a, b) and _newton(
        cols, a, b, fixed, gram, w, penalty, single, x, first, 0.0, least
    ):
        return True
    least = LEAST_PIVOT_DOUBLE
    for jitter in JITTER:
        if _newton(cols, a, b, fixed, gram, w, penalty, double, x, first, jitter, least):
            return True
    return False


@jit
def _newton(cols, a, b, fixed, gram, w, penalty, work, x, first, jitter, least):  # type: ignore[no-untyped-def]
    rows, system, vector, _, blas, weighted = work
    rank, width = len(x), len(vector)
    gradient, start = np.empty(width), np.empty(rank, vector.dtype)
    for k in range(rank):
        start[k] = x[k]
    _set_shared(system, gradient, gram, w, penalty, x, first)
    for begin in range(0, len(cols), GATHERED):
        size = min(GATHERED, len(cols) - begin)
        _gather_block(rows, weighted, vector, fixed, cols, a, b, start, first, begin, size)
        for k in range(width):
            gradient[k] += vector[k]
        add_symmetric(system, width, rows, weighted, width, size, False, blas)
    mean = 0.0
    for k in range(width):
        vector[k] = gradient[k]
        mean += system[k * width + k] / width
    for k in range(width):
        system[k * width + k] += jitter * mean
    if not solve_system(system, width, vector, blas, least):
        return False
    for k in range(width):
        x[first + k] -= vector[k]
    return True


@jit
def _gather_block(rows, weighted, slopes, fixed, cols, a, b, x, first, begin, size):  # type: ignore[no-untyped-def]
    """A block's coordinates of y_j and a_j y_j, and the sum of (a_j x y_j - b_j) y_j."""
    last = first + len(slopes)
    for k in range(len(slopes)):
        slopes[k] = 0.0
    for i in range(size):
        weight, y = a[begin + i], fixed[cols[begin + i]]
        part, prediction = y[first:last], slopes.dtype.type(0)
        for k in range(len(x)):
            prediction += y[k] * x[k]
        slope = weight * prediction - b[begin + i]
        for k in range(len(slopes)):
            rows[i, k] = part[k]
            weighted[i, k] = weight * rows[i, k]
            slopes[k] += slope * rows[i, k]


@jit
def _set_shared(system, gradient, gram, w, penalty, x, first):  # type: ignore[no-untyped-def]
    """The block of w G + L I, upper triangle, and of its product with x."""
    width = len(gradient)
    last = first + width
    inside = x[first:last]
    for k in range(width):
        gradient[k] = penalty * inside[k]
    for i in range(len(x)):
        row, scale = gram[i, first:last], w * x[i]
        for k in range(width):
            gradient[k] += scale * row[k]
    for i in range(width):
        row, out = gram[first + i, first + i : last], system[i * width + i : i * width + width]
        for k in range(len(out)):
            out[k] = w * row[k]
        out[0] = w * row[0] + penalty
