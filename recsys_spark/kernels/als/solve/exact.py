"""The exact solution of one row, in the form and the precision that its entries ask for."""

from typing import Any, NamedTuple

import numpy as np

from recsys_spark.kernels.als.solve.cholesky import solve_cholesky
from recsys_spark.kernels.als.solve.systems import (
    GATHERED,
    JITTER,
    LEAST_PIVOT_DOUBLE,
    LEAST_PIVOT_SINGLE,
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

    entries: (width, width) of the dual form. rows: (_DEPTH, width). system: (width, width). right,
    limits: (width,). scales, ones: (rank,). double: `systems.workspace`.
    """

    entries: Numbers
    rows: Numbers
    system: Numbers
    right: Numbers
    limits: Numbers
    scales: Numbers
    ones: Numbers
    double: tuple[Any, ...]


def exact_workspace(rank: int) -> Work:
    """For rows of a rank."""
    width = padded(rank)
    entries, rows, system = (zeros_in_lines(count, width) for count in (width, _DEPTH, width))
    right, limits = (zeros_in_lines(1, width)[0] for _ in range(2))
    scales, ones = np.empty(rank, np.float32), np.ones(rank, np.float32)
    double = workspace(rank, np.float64)
    return Work(entries, rows, system, right, limits, scales, ones, double)


@jit
def solve_exactly(cols, a, b, fixed, shared, work, x):  # type: ignore[no-untyped-def]
    """Solve one row into x; False if it stays singular."""
    if has_roots(a, b):
        if len(cols) <= len(x) and _is_positive(shared):
            if _dual(cols, a, b, fixed, shared, work, x):
                return True
            if _dual_in_double(cols, a, b, fixed, shared, work.double, x):
                return True
        elif _primal(cols, a, b, fixed, shared, work, x):
            return True
    for jitter in JITTER:
        if _general(cols, a, b, fixed, shared, work.double, x, jitter):
            return True
    return False


@jit
def _is_positive(values):  # type: ignore[no-untyped-def]
    for value in values:
        if not value > 0.0:
            return False
    return True


@jit
def _primal(cols, a, b, fixed, shared, work, x):  # type: ignore[no-untyped-def]
    rows, right, rank = work.rows, work.right, len(x)
    size, total = padded(rank), np.zeros(rank)
    _set_zero(work.system, size)
    for first in range(0, len(cols), _DEPTH):
        count = min(_DEPTH, len(cols) - first)
        _gather_entries(rows, right, fixed, cols, a, b, first, count)
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
def _gather_entries(rows, right, fixed, cols, a, b, first, count):  # type: ignore[no-untyped-def]
    """rows[i] = sqrt(a_j) y_j, j the i-th entry from `first` on, and the sum of b_j y_j."""
    for k in range(fixed.shape[1]):
        right[k] = 0.0
    for i in range(count):
        call_for(fixed, cols, first + i)
        root, response = np.sqrt(a[first + i]), b[first + i]
        y, row = fixed[cols[first + i]], rows[i]
        for k in range(len(y)):
            row[k] = root * y[k]
            right[k] += response * y[k]


@jit
def _dual(cols, a, b, fixed, shared, work, x):  # type: ignore[no-untyped-def]
    """V stays in `entries`; coordinates are turned into rows, whose products V V' adds up."""
    entries, rows, right, count, rank = work.entries, work.rows, work.right, len(cols), len(x)
    size = padded(count)
    _set_scales(work.scales, shared)
    gather(entries, fixed, cols, a, work.scales, 0, count)
    for i in range(count, size):
        for k in range(rank):
            entries[i, k] = 0.0
    _set_zero(work.system, size)
    for first in range(0, padded(rank), _DEPTH):
        depth = min(_DEPTH, padded(rank) - first)
        _transpose(entries, first, rows, size, depth)
        _add_products(work, size, depth)
    for i in range(count):
        right[i] = b[i] / np.sqrt(a[i]) if a[i] > 0.0 else 0.0
    if not _solve(work, count, size, work.ones):
        return False
    _set_dual_solution(entries, work.scales, right, count, x)
    return True


@jit
def _transpose(entries, first, rows, size, depth):  # type: ignore[no-untyped-def]
    """Coordinates from `first` on, as rows."""
    one, other, step = entries.ctypes.data + 4 * first, rows.ctypes.data, 4 * rows.shape[1]
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
def _dual_in_double(cols, a, b, fixed, shared, work, x):  # type: ignore[no-untyped-def]
    rows, system, vector, scales, blas = work
    size = len(cols)
    _set_scales(scales, shared)
    gather(rows, fixed, cols, a, scales, 0, size)
    set_identity(system, size)
    add_symmetric(system, size, rows, rows, size, len(x), True, blas)
    for i in range(size):
        vector[i] = b[i] / np.sqrt(a[i]) if a[i] > 0.0 else 0.0
    if not solve_system(system, size, vector, blas, LEAST_PIVOT_DOUBLE):
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
def _general(cols, a, b, fixed, shared, work, x, jitter):  # type: ignore[no-untyped-def]
    """The primal form for weights of any sign, in double precision."""
    rows, system, vector, _, blas = work
    rank = len(x)
    weighted = np.empty((min(len(cols), GATHERED), rank))
    set_identity(system, rank)
    for k in range(rank):
        system[k * rank + k] = shared[k]
        vector[k] = 0.0
    for first in range(0, len(cols), GATHERED):
        size = min(GATHERED, len(cols) - first)
        for i in range(size):
            weight, response = np.float64(a[first + i]), np.float64(b[first + i])
            for k in range(rank):
                rows[i, k] = fixed[cols[first + i], k]
                weighted[i, k] = weight * rows[i, k]
                vector[k] += response * rows[i, k]
        add_symmetric(system, rank, rows, weighted, rank, size, False, blas)
    mean = 0.0
    for k in range(rank):
        mean += system[k * rank + k] / rank
    for k in range(rank):
        system[k * rank + k] += jitter * mean
    if not solve_system(system, rank, vector, blas, LEAST_PIVOT_DOUBLE):
        return False
    for k in range(rank):
        x[k] = vector[k]
    return True
