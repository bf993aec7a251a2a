"""The exact solution of one row, in the form and the precision that its entries ask for."""

from typing import NamedTuple

import numpy as np

from recsys_spark.kernels.als.solve.cholesky import solve_cholesky
from recsys_spark.kernels.als.solve.systems import (
    GATHERED,
    JITTER,
    LEAST_PIVOT_SINGLE,
    Workspace,
    add_symmetric,
    call_for,
    gather,
    has_roots,
    set_identity,
    solve_system,
    workspace,
)
from recsys_spark.kernels.als.solve.tiles import (
    LINE,
    Numbers,
    add_outer,
    padded,
    transpose_tile,
    zeros_in_lines,
)
from recsys_spark.kernels.jit import jit

_DEPTH = 64  # rows whose products are added at once: to rank 128 they fit the innermost cache


class Work(NamedTuple):
    """Memory of one thread, of which numbers beyond a row's own stay zeros.

    V: (width, width) of the dual form. rows: (_DEPTH, width). system: (width, width). right,
    limits: (width,). scales, ones: (rank,). double: for rows that single precision does not solve.
    """

    V: Numbers
    rows: Numbers
    system: Numbers
    right: Numbers
    limits: Numbers
    scales: Numbers
    ones: Numbers
    double: Workspace


def exact_workspace(rank: int) -> Work:
    """For rows of a rank."""
    width = padded(rank)
    V, rows, system = (zeros_in_lines(count, width) for count in (width, _DEPTH, width))
    right, limits = (zeros_in_lines(1, width)[0] for _ in range(2))
    scales, ones = np.empty(rank, np.float32), np.ones(rank, np.float32)
    double = workspace(rank, np.float64)
    return Work(V, rows, system, right, limits, scales, ones, double)


@jit
def solve_exactly(entries, Y, shared, work, x):  # type: ignore[no-untyped-def]
    """Solve one row into x; False if it stays singular."""
    if has_roots(entries.a, entries.b):
        if len(entries.indices) <= len(x) and _is_positive(shared):
            if _dual(entries, Y, shared, work, x):
                return True
            if _dual_in_double(entries, Y, shared, work.double, x):
                return True
        elif _primal(entries, Y, shared, work, x):
            return True
    for jitter in JITTER:
        if _general(entries, Y, shared, work.double, x, jitter):
            return True
    return False


@jit
def _is_positive(values):  # type: ignore[no-untyped-def]
    for value in values:
        if not value > 0.0:
            return False
    return True


@jit
def _primal(entries, Y, shared, work, x):  # type: ignore[no-untyped-def]
    right, rank = work.right, len(x)
    size, total = padded(rank), np.zeros(rank)
    _set_zero(work.system, size)
    for first in range(0, len(entries.indices), _DEPTH):
        count = min(_DEPTH, len(entries.indices) - first)
        _gather_entries(work.rows, right, Y, entries, first, count)
        for k in range(rank):
            total[k] += right[k]
        _add_products(work, size, count)
    for k in range(rank):
        right[k] = total[k]
    if not _solve(work, rank, size, shared):
        return False
    for k in range(rank):
        x[k] = right[k]
    return True


@jit
def _gather_entries(rows, right, Y, entries, first, count):  # type: ignore[no-untyped-def]
    """rows[i] = sqrt(a_j) y_j, j the i-th entry from `first` on, and the sum of b_j y_j."""
    indices, a, b = entries.indices, entries.a, entries.b
    for k in range(Y.shape[1]):
        right[k] = 0.0
    for i in range(count):
        call_for(Y, indices, first + i)
        root, response = np.sqrt(a[first + i]), b[first + i]
        y, row = Y[indices[first + i]], rows[i]
        for k in range(len(y)):
            row[k] = root * y[k]
            right[k] += response * y[k]


@jit
def _dual(entries, Y, shared, work, x):  # type: ignore[no-untyped-def]
    """Coordinates of V are turned into rows, whose products V V' adds up."""
    V, rows, right, rank = work.V, work.rows, work.right, len(x)
    a, b, count = entries.a, entries.b, len(entries.indices)
    size = padded(count)
    _set_scales(work.scales, shared)
    gather(V, Y, entries, work.scales, 0, count)
    for i in range(count, size):
        for k in range(rank):
            V[i, k] = 0.0
    _set_zero(work.system, size)
    for first in range(0, padded(rank), _DEPTH):
        depth = min(_DEPTH, padded(rank) - first)
        _transpose(V, first, rows, size, depth)
        _add_products(work, size, depth)
    for i in range(count):
        right[i] = b[i] / np.sqrt(a[i]) if a[i] > 0.0 else 0.0
    if not _solve(work, count, size, work.ones):
        return False
    _set_dual_solution(V, work.scales, right, count, x)
    return True


@jit
def _transpose(V, first, rows, size, depth):  # type: ignore[no-untyped-def]
    """Coordinates from `first` on, as rows."""
    one, other, step = V.ctypes.data + 4 * first, rows.ctypes.data, 4 * rows.shape[1]
    for i in range(0, size, LINE):
        for k in range(0, depth, LINE):
            transpose_tile(other + k * step + 4 * i, one + i * step + 4 * k, step)


@jit
def _set_zero(system, size):  # type: ignore[no-untyped-def]
    for i in range(size):
        row = system[i, i // LINE * LINE : size]
        for j in range(len(row)):
            row[j] = 0.0


@jit
def _add_products(work, size, count):  # type: ignore[no-untyped-def]
    system, rows = work.system, work.rows
    add_outer(system.ctypes.data, rows.ctypes.data, 4 * system.shape[1], size, count)


@jit
def _solve(work, own, size, diagonal):  # type: ignore[no-untyped-def]
    """Add the diagonal to the row's own part, and solve; the rest becomes the identity."""
    system, right, limits = work.system, work.right, work.limits
    for k in range(own):
        system[k, k] += diagonal[k]
        limits[k] = LEAST_PIVOT_SINGLE * system[k, k]
    for k in range(own, size):
        system[k, k], limits[k], right[k] = 1.0, 0.0, 0.0
    return solve_cholesky(system, size, right, limits)


@jit
def _dual_in_double(entries, Y, shared, work, x):  # type: ignore[no-untyped-def]
    rows, vector, scales = work.rows, work.vector, work.scales
    a, b, size = entries.a, entries.b, len(entries.indices)
    _set_scales(scales, shared)
    gather(rows, Y, entries, scales, 0, size)
    set_identity(work.system, size)
    add_symmetric(work, rows, rows, size, len(x), True)
    for i in range(size):
        vector[i] = b[i] / np.sqrt(a[i]) if a[i] > 0.0 else 0.0
    if not solve_system(work, size):
        return False
    _set_dual_solution(rows, scales, vector, size, x)
    return True


@jit
def _set_dual_solution(rows, scales, weights, size, x):  # type: ignore[no-untyped-def]
    """x = D^-1/2 V' weights."""
    rank = len(scales)
    for k in range(rank):
        x[k] = 0.0
    for i in range(size):
        for k in range(rank):
            x[k] += weights[i] * rows[i, k]
    for k in range(rank):
        x[k] *= scales[k]


@jit
def _set_scales(scales, shared):  # type: ignore[no-untyped-def]
    for k in range(len(shared)):
        scales[k] = 1.0 / np.sqrt(shared[k])


@jit
def _general(entries, Y, shared, work, x, jitter):  # type: ignore[no-untyped-def]
    """The primal form for weights of any sign, in double precision."""
    rows, system, vector, rank = work.rows, work.system, work.vector, len(x)
    indices, a, b = entries.indices, entries.a, entries.b
    weighted = np.empty((min(len(indices), GATHERED), rank))
    set_identity(system, rank)
    for k in range(rank):
        system[k * rank + k] = shared[k]
        vector[k] = 0.0
    for first in range(0, len(indices), GATHERED):
        size = min(GATHERED, len(indices) - first)
        for i in range(size):
            weight, response = np.float64(a[first + i]), np.float64(b[first + i])
            for k in range(rank):
                rows[i, k] = Y[indices[first + i], k]
                weighted[i, k] = weight * rows[i, k]
                vector[k] += response * rows[i, k]
        add_symmetric(work, rows, weighted, rank, size, False)
    mean = 0.0
    for k in range(rank):
        mean += system[k * rank + k] / rank
    for k in range(rank):
        system[k * rank + k] += jitter * mean
    if not solve_system(work, rank):
        return False
    for k in range(rank):
        x[k] = vector[k]
    return True
