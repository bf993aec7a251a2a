"""The exact solution of one row, in the form and the precision that its entries ask for."""

import numpy as np

from recsys_spark.kernels.jit import jit
from recsys_spark.kernels.solve.systems import (
    DEPTH,
    JITTER,
    LEAST_PIVOT_DOUBLE,
    LEAST_PIVOT_SINGLE,
    add_symmetric,
    gather,
    has_roots,
    set_identity,
    set_response,
    solve_system,
)


@jit
def solve_exactly(cols, a, b, fixed, shared, single, double, x):  # type: ignore[no-untyped-def]
    """Solve one row into x; False if it stays singular."""
    if has_roots(a, b):
        if len(cols) <= len(x) and _is_positive(shared):
            if _dual(cols, a, b, fixed, shared, single, x, LEAST_PIVOT_SINGLE):
                return True
            if _dual(cols, a, b, fixed, shared, double, x, LEAST_PIVOT_DOUBLE):
                return True
        elif _primal(cols, a, b, fixed, shared, single, x):
            return True
    for jitter in JITTER:
        if _general(cols, a, b, fixed, shared, double, x, jitter):
            return True
    return False


@jit
def _is_positive(values):  # type: ignore[no-untyped-def]
    for value in values:
        if not value > 0.0:
            return False
    return True


@jit
def _dual(cols, a, b, fixed, shared, work, x, least):  # type: ignore[no-untyped-def]
    rows, system, vector, scales, blas = work
    size = len(cols)
    set_identity(system, size)
    dual_system(cols, a, b, fixed, shared, rows, scales, (system, size, vector), blas)
    if not solve_system(system, size, vector, blas, least):
        return False
    dual_solution(rows, scales, vector, size, x)
    return True


@jit
def _primal(cols, a, b, fixed, shared, work, x):  # type: ignore[no-untyped-def]
    rows, system, vector, scales, blas = work
    rank = len(x)
    set_identity(system, rank)
    primal_system(cols, a, b, fixed, shared, rows, scales, (system, rank, vector), blas)
    if not solve_system(system, rank, vector, blas, LEAST_PIVOT_SINGLE):
        return False
    for k in range(rank):
        x[k] = vector[k]
    return True


@jit
def _general(cols, a, b, fixed, shared, work, x, jitter):  # type: ignore[no-untyped-def]
    """The primal form for weights of any sign, in double precision."""
    rows, system, vector, _, blas = work
    rank = len(x)
    weighted = np.empty((min(len(cols), DEPTH), rank))
    set_identity(system, rank)
    for k in range(rank):
        system[k * rank + k] = shared[k]
        vector[k] = 0.0
    for first in range(0, len(cols), DEPTH):
        size = min(DEPTH, len(cols) - first)
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


@jit
def dual_system(cols, a, b, fixed, shared, rows, scales, into, blas):  # type: ignore[no-untyped-def]
    """Add V V' to the identity, and set the right side; V stays in `rows`."""
    system, stride, right = into
    set_scales(scales, shared)
    gather(rows, fixed, cols, a, scales, 0, len(cols))
    add_symmetric(system, stride, rows, rows, len(cols), len(shared), True, blas)
    for i in range(len(cols)):
        right[i] = b[i] / np.sqrt(a[i]) if a[i] > 0.0 else 0.0


@jit
def dual_solution(rows, scales, weights, size, x):  # type: ignore[no-untyped-def]
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
def set_scales(scales, shared):  # type: ignore[no-untyped-def]
    for k in range(len(shared)):
        scales[k] = 1.0 / np.sqrt(shared[k])


@jit
def primal_system(cols, a, b, fixed, shared, rows, scales, into, blas):  # type: ignore[no-untyped-def]
    """Put A in place of the identity, and set the right side."""
    system, stride, right = into
    rank = len(shared)
    total = np.zeros(rank)
    for k in range(rank):
        scales[k] = 1.0
        system[k * stride + k] = shared[k]
    for first in range(0, len(cols), DEPTH):
        size = min(DEPTH, len(cols) - first)
        gather(rows, fixed, cols, a, scales, first, size)
        set_response(right, rows, a, b, first, size)
        for k in range(rank):
            total[k] += right[k]
        add_symmetric(system, stride, rows, rows, rank, size, False, blas)
    for k in range(rank):
        right[k] = total[k]
