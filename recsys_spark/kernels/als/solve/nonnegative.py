"""Rows without negative coordinates, by coordinate descent in double precision."""

import numpy as np

from recsys_spark.kernels.als.solve.fixed_side import Double, Single
from recsys_spark.kernels.als.solve.systems import Equations, Solved, entries_of, unsolved
from recsys_spark.kernels.jit import kernel


def solve_nonnegative(equations: Equations, gram: Double) -> Solved:
    """Factors of the rows, each by itself."""
    solved = unsolved(equations, len(gram))
    _nonnegative(equations, gram, solved)
    return solved


def nonnegative_solution(left: Double, right: Double) -> Single | None:
    """Minimise x'Ax/2 - b'x over x >= 0; None if a diagonal entry of A is not above zero."""
    x = right.copy()
    return x.astype(np.float32) if _nonnegative_descent(left, x) else None


@kernel
def _nonnegative(equations, G, solved):  # type: ignore[no-untyped-def]
    Y, w, penalty = equations.Y, equations.unobserved, equations.regularization
    rank = Y.shape[1]
    left, right = np.empty((rank, rank)), np.empty(rank)
    for row in range(len(equations.indptr) - 1):
        entries = entries_of(equations, row)
        indices, a, b = entries.indices, entries.a, entries.b
        for i in range(rank):
            right[i] = 0.0
            for k in range(rank):
                left[i, k] = w[row] * G[i, k]
            left[i, i] += penalty[row]
        for i in range(len(indices)):
            weight, response, y = np.float64(a[i]), np.float64(b[i]), Y[indices[i]]
            for j in range(rank):
                right[j] += response * y[j]
                weighted = weight * y[j]
                for k in range(rank):
                    left[j, k] += weighted * y[k]
        if not _nonnegative_descent(left, right):
            solved.status[row] = 1
            continue
        for k in range(rank):
            solved.factors[row, k] = right[k]


@kernel
def _nonnegative_descent(left, right):  # type: ignore[no-untyped-def]
    """Minimise x'Ax/2 - b'x over x >= 0 by cyclic coordinate descent (Franc et al. 2005)."""
    size = len(right)
    x = np.zeros(size)
    gradient = np.empty(size)
    for k in range(size):
        gradient[k] = -right[k]
        if not left[k, k] > 0:
            return False
    for _ in range(1000):
        largest, longest = 0.0, 0.0
        for k in range(size):
            moved = max(0.0, x[k] - gradient[k] / left[k, k])
            step = moved - x[k]
            if step != 0.0:
                x[k] = moved
                for i in range(size):
                    gradient[i] += step * left[i, k]
                largest = max(largest, abs(step))
            longest = max(longest, x[k])
        if largest <= 1e-10 * longest:
            break
    for k in range(size):
        right[k] = x[k]
    return True
