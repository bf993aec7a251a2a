"""Conjugate gradients for one row, from the last sweep's factors.

Preconditioned by the diagonal of A, which in the rotated basis holds all of the shared part. To
begin with the last factors is from Takács et al., "Applications of the conjugate gradient method
for implicit feedback collaborative filtering" (2011).
"""

import numpy as np

from recsys_spark.kernels.als.solve.systems import GATHERED, dot, gather, set_response
from recsys_spark.kernels.jit import jit


@jit
def conjugate_gradients(entries, Y, shared, work, x, steps):  # type: ignore[no-untyped-def]
    """Move x by so many steps; False if A proves not to be positive definite."""
    rank = len(x)
    product, residual = np.empty(rank, dtype=np.float32), np.empty(rank, dtype=np.float32)
    direction, inverse = np.empty(rank, dtype=np.float32), np.empty(rank, dtype=np.float32)
    if not _precondition(entries, Y, shared, work, inverse, residual):
        return False
    _times(entries, Y, shared, work, x, product)
    for k in range(rank):
        residual[k] -= product[k]
        direction[k] = inverse[k] * residual[k]
    slope = dot(residual, direction)
    goal = np.float32(1e-12) * slope
    for _ in range(steps):
        if not slope > goal:
            break
        _times(entries, Y, shared, work, direction, product)
        curvature = dot(direction, product)
        if not curvature > 0.0:
            return False
        length = slope / curvature
        before = slope
        for k in range(rank):
            x[k] += length * direction[k]
            residual[k] -= length * product[k]
            product[k] = inverse[k] * residual[k]
        slope = dot(residual, product)
        turn = slope / before
        for k in range(rank):
            direction[k] = product[k] + turn * direction[k]
    return dot(x, x) < np.inf


@jit
def _precondition(entries, Y, shared, work, inverse, right):  # type: ignore[no-untyped-def]
    """Gather the entries; the inverse diagonal of A, and the right side."""
    rows, scales, rank = work.rows, work.scales, len(inverse)
    total, diagonal = np.zeros(rank), np.zeros(rank)
    for k in range(rank):
        scales[k], diagonal[k] = 1.0, shared[k]
    for first in range(0, len(entries.indices), GATHERED):
        size = min(GATHERED, len(entries.indices) - first)
        _gather_quads(rows, Y, entries, scales, first, size)
        set_response(right, rows, entries, first, size)
        for k in range(rank):
            total[k] += right[k]
            right[k] = 0.0
        for i in range(size):
            for k in range(rank):
                right[k] += rows[i, k] * rows[i, k]
        for k in range(rank):
            diagonal[k] += right[k]
    for k in range(rank):
        if not diagonal[k] > 0.0:
            return False
        inverse[k], right[k] = 1.0 / diagonal[k], total[k]
    return True


@jit
def _gather_quads(rows, Y, entries, scales, first, size):  # type: ignore[no-untyped-def]
    """Gather, and rows of zeros up to a multiple of four."""
    gather(rows, Y, entries, scales, first, size)
    for i in range(size, (size + 3) // 4 * 4):
        for k in range(rows.shape[1]):
            rows[i, k] = 0.0


@jit
def _times(entries, Y, shared, work, vector, product):  # type: ignore[no-untyped-def]
    """product = A vector; entries that fit stay gathered from call to call."""
    rows, rank = work.rows, len(vector)
    for k in range(rank):
        product[k] = shared[k] * vector[k]
    for first in range(0, len(entries.indices), GATHERED):
        size = min(GATHERED, len(entries.indices) - first)
        if len(entries.indices) > GATHERED:
            _gather_quads(rows, Y, entries, work.scales, first, size)
        for i in range(0, size, 4):  # four sums at a time, none of which waits for another
            r0, r1, r2, r3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
            x0 = x1 = x2 = x3 = np.float32(0)
            for k in range(rank):
                x0 += r0[k] * vector[k]
                x1 += r1[k] * vector[k]
                x2 += r2[k] * vector[k]
                x3 += r3[k] * vector[k]
            for k in range(rank):
                product[k] += x0 * r0[k] + x1 * r1[k] + x2 * r2[k] + x3 * r3[k]
