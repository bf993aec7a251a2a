"""Exact solution of a block of rows: the half-sweep's arithmetic.

For each row with observed columns S (DESIGN's equation, symbols in `kernels.spec`):

    A = w0 Y'Y + sum_S a_j y_j y_j' + L I,     A x = sum_S b_j y_j

Entries are gathered in chunks and accumulated by matrix products, O(n d^2); the system is
solved by Cholesky, O(d^3), or by coordinate descent under x >= 0. Factors are stored in single
precision; everything in between is double. A row whose right side is zero solves to zero.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.csr import Csr
from recsys_spark.kernels.jit import jit

_CHUNK = 256
_JITTER = (0.0, 1e-10, 1e-7, 1e-4)
_SINGULAR = 1


@dataclass(frozen=True)
class Solution:
    """factors: (rows, rank). failed: positions of rows that no jitter made solvable."""

    factors: npt.NDArray[np.float32]
    failed: npt.NDArray[np.int64]


@dataclass(frozen=True)
class LossTerms:
    """Sums over a block: weighted squared error, and squared predictions, of observed pairs."""

    weighted_error: float
    squared_prediction: float


def solve_rows(
    block: Csr,
    a: npt.NDArray[np.float64],
    b: npt.NDArray[np.float64],
    fixed: npt.NDArray[np.float32],
    base: npt.NDArray[np.float64],
    regularization: npt.NDArray[np.float64],
    nonnegative: bool = False,
) -> Solution:
    """Solve every row of the block against the fixed side.

    a, b: (entries,) weights. fixed: (columns, rank). base: (rank, rank) = w0 Y'Y.
    regularization: (rows,) = L.
    """
    factors = np.zeros((len(block.ids), fixed.shape[1]), dtype=np.float32)
    status = np.zeros(len(block.ids), dtype=np.int8)
    fixed = np.ascontiguousarray(fixed)
    _solve(
        block.indptr, block.cols, a, b, fixed, base, regularization, nonnegative, factors, status
    )
    return Solution(factors, np.flatnonzero(status))


def observed_loss(
    block: Csr,
    a: npt.NDArray[np.float64],
    b: npt.NDArray[np.float64],
    fixed: npt.NDArray[np.float32],
    factors: npt.NDArray[np.float32],
    w0: float,
) -> LossTerms:
    """sum_S (w0 + a) (xy - b / (w0 + a))^2 and sum_S (xy)^2 over the block."""
    weighted, squared = _observed(block.indptr, block.cols, a, b, fixed, factors, w0)
    return LossTerms(weighted, squared)


def gram(factors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Y'Y in double precision, shape (rank, rank)."""
    wide = factors.astype(np.float64)
    product: npt.NDArray[np.float64] = wide.T @ wide
    return product


# The compiled code uses plain loops: assignments to slices and NumPy's reductions run no faster
# and take the compiler ten times as long, which every new installation would wait for.


@jit
def _solve(indptr, cols, a, b, fixed, base, regularization, nonnegative, factors, status):  # type: ignore[no-untyped-def]
    rank = fixed.shape[1]
    gathered = np.empty((_CHUNK, rank))
    weighted = np.empty((_CHUNK, rank))
    left = np.empty((rank, rank))
    right = np.empty(rank)
    for row in range(len(indptr) - 1):
        _start(left, right, base, regularization[row])
        for start in range(indptr[row], indptr[row + 1], _CHUNK):
            size = min(_CHUNK, indptr[row + 1] - start)
            for i in range(size):
                col = cols[start + i]
                for k in range(rank):
                    y = np.float64(fixed[col, k])
                    gathered[i, k] = y
                    weighted[i, k] = a[start + i] * y
                    right[k] += b[start + i] * y
            left += np.dot(gathered[:size].T, weighted[:size])
        if _is_zero(right):
            continue  # the empty row's rule: its solution is zero
        if nonnegative:
            solved = _nonnegative_descent(left, right)
        else:
            solved = _cholesky_with_jitter(left, right)
        if not solved:
            status[row] = _SINGULAR
            continue
        for k in range(rank):
            factors[row, k] = right[k]


@jit
def _start(left, right, base, regularization):  # type: ignore[no-untyped-def]
    for i in range(len(right)):
        right[i] = 0.0
        for k in range(len(right)):
            left[i, k] = base[i, k]
        left[i, i] += regularization


@jit
def _is_zero(vector):  # type: ignore[no-untyped-def]
    for value in vector:
        if value != 0.0:
            return False
    return True


@jit
def _cholesky_with_jitter(left, right):  # type: ignore[no-untyped-def]
    """Overwrite `right` with the solution; False if no jitter makes `left` positive definite."""
    scale = 0.0
    for k in range(len(right)):
        scale += left[k, k] / len(right)
    for jitter in _JITTER:
        for k in range(len(right)):
            left[k, k] += jitter * scale
        try:
            lower = np.linalg.cholesky(left)
        except Exception:  # what LAPACK's failure looks like in compiled code
            continue
        if _is_regular(lower, scale):
            _substitute(lower, right)
            return True
    return False


@jit
def _is_regular(lower, scale):  # type: ignore[no-untyped-def]
    """A pivot of rounding size means a singular system, not a small one."""
    for k in range(len(lower)):
        if not lower[k, k] ** 2 > 1e-14 * scale:  # so that NaN does not pass
            return False
    return True


@jit
def _substitute(lower, right):  # type: ignore[no-untyped-def]
    size = len(right)
    for i in range(size):
        total = right[i]
        for k in range(i):
            total -= lower[i, k] * right[k]
        right[i] = total / lower[i, i]
    for i in range(size - 1, -1, -1):
        right[i] /= lower[i, i]
        for k in range(i):
            right[k] -= lower[i, k] * right[i]


@jit
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


@jit
def _observed(indptr, cols, a, b, fixed, factors, w0):  # type: ignore[no-untyped-def]
    weighted = 0.0
    squared = 0.0
    for row in range(len(indptr) - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            prediction = 0.0
            for k in range(fixed.shape[1]):
                prediction += np.float64(factors[row, k]) * np.float64(fixed[cols[entry], k])
            weight = w0 + a[entry]
            target = b[entry] / weight if weight != 0.0 else 0.0
            weighted += weight * (prediction - target) ** 2
            squared += prediction**2
    return weighted, squared
