"""Rows by blocks of coordinates, against a side that is not rotated.

One step minimises over the solver's block of coordinates B with the others held:

    x_B -= A_BB^-1 (A x - sum_S b_j y_j)_B

Rendle et al., "iALS++: Speeding up Matrix Factorization with Subspace Optimization" (2021).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.als.solve.fixed_side import Double, Single
from recsys_spark.kernels.als.solve.systems import (
    GATHERED,
    JITTER,
    Equations,
    Solved,
    Workspace,
    add_symmetric,
    any_nonzero,
    entries_of,
    has_roots,
    read_only,
    solve_system,
    unsolved,
    workspace,
)
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.blas import load_blas
from recsys_spark.kernels.jit import jit, kernel


class _Shared(NamedTuple):
    """Of w G + L I. G: (rank, rank)."""

    G: Double
    unobserved: float
    regularization: float


class _Block(NamedTuple):
    """Coordinates from `first` on, and memory for them: `weighted` is of the shape of own.rows."""

    first: int
    own: Workspace
    weighted: npt.NDArray[Any]


class _Blocks(NamedTuple):
    single: _Block
    double: _Block


def solve_subspace(
    equations: Equations, gram: Double, solver: Solver, last: Single | None
) -> Solved:
    """The last factors, or zeros, after a step in the solver's block of coordinates."""
    load_blas()
    solved = unsolved(equations, len(gram))
    coordinates = solver.coordinates(len(gram))
    blocks = _Blocks(_block(coordinates, np.float32), _block(coordinates, np.float64))
    start = np.zeros_like(solved.factors) if last is None else last
    _subspace(equations, read_only(gram), read_only(start), blocks, solved)
    return solved


def _block(coordinates: slice, dtype: type[np.float32] | type[np.float64]) -> _Block:
    own = workspace(coordinates.stop - coordinates.start, dtype)
    return _Block(coordinates.start, own, np.empty_like(own.rows))


@kernel
def _subspace(equations, G, start, blocks, solved):  # type: ignore[no-untyped-def]
    Y, w, penalty = equations.Y, equations.unobserved, equations.regularization
    rank = Y.shape[1]
    x = np.empty(rank, dtype=np.float32)
    for row in range(len(equations.indptr) - 1):
        entries = entries_of(equations, row)
        for k in range(rank):
            x[k] = 0.0
        if any_nonzero(entries.b):
            for k in range(rank):
                x[k] = start[row, k]
            if not _step(entries, Y, _Shared(G, w[row], penalty[row]), blocks, x):
                solved.status[row] = 1
                continue
        for k in range(rank):
            solved.factors[row, k] = x[k]


@jit
def _step(entries, Y, shared, blocks, x):  # type: ignore[no-untyped-def]
    """Minimise over the block of x; False if its system stays singular."""
    if has_roots(entries.a, entries.b) and _newton(entries, Y, shared, blocks.single, x, 0.0):
        return True
    for jitter in JITTER:
        if _newton(entries, Y, shared, blocks.double, x, jitter):
            return True
    return False


@jit
def _newton(entries, Y, shared, block, x, jitter):  # type: ignore[no-untyped-def]
    system, vector = block.own.system, block.own.vector
    rank, width, count = len(x), len(vector), len(entries.indices)
    gradient, start = np.empty(width), np.empty(rank, vector.dtype)
    for k in range(rank):
        start[k] = x[k]
    _set_shared(system, gradient, shared, x, block.first)
    for begin in range(0, count, GATHERED):
        size = min(GATHERED, count - begin)
        _gather_block(block, Y, entries, start, begin, size)
        for k in range(width):
            gradient[k] += vector[k]
        add_symmetric(block.own, block.own.rows, block.weighted, width, size, False)
    mean = 0.0
    for k in range(width):
        vector[k] = gradient[k]
        mean += system[k * width + k] / width
    for k in range(width):
        system[k * width + k] += jitter * mean
    if not solve_system(block.own, width):
        return False
    for k in range(width):
        x[block.first + k] -= vector[k]
    return True


@jit
def _gather_block(block, Y, entries, x, begin, size):  # type: ignore[no-untyped-def]
    """A block's coordinates of y_j and a_j y_j, and the sum of (a_j x y_j - b_j) y_j."""
    rows, slopes, weighted = block.own.rows, block.own.vector, block.weighted
    indices, a, b = entries.indices, entries.a, entries.b
    first, last = block.first, block.first + len(slopes)
    for k in range(len(slopes)):
        slopes[k] = 0.0
    for i in range(size):
        weight, y = a[begin + i], Y[indices[begin + i]]
        part, prediction = y[first:last], slopes.dtype.type(0)
        for k in range(len(x)):
            prediction += y[k] * x[k]
        slope = weight * prediction - b[begin + i]
        for k in range(len(slopes)):
            rows[i, k] = part[k]
            weighted[i, k] = weight * rows[i, k]
            slopes[k] += slope * rows[i, k]


@jit
def _set_shared(system, gradient, shared, x, first):  # type: ignore[no-untyped-def]
    """The block of w G + L I, upper triangle, and of its product with x."""
    G, w, penalty = shared.G, shared.unobserved, shared.regularization
    width = len(gradient)
    last = first + width
    inside = x[first:last]
    for k in range(width):
        gradient[k] = penalty * inside[k]
    for i in range(len(x)):
        row, scale = G[i, first:last], w * x[i]
        for k in range(width):
            gradient[k] += scale * row[k]
    for i in range(width):
        row, out = G[first + i, first + i : last], system[i * width + i : i * width + width]
        for k in range(len(out)):
            out[k] = w * row[k]
        out[0] = w * row[0] + penalty
