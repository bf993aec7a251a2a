"""One row's system of equations: gathered rows, their products, the solution by LAPACK.

A system is held as the rows of its upper triangle; what lies below the diagonal is never set.
The compiled code uses plain loops: assignments to slices and NumPy's reductions run no faster
and take the compiler ten times as long, which every new installation would wait for.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.als.solve.tiles import prefetch
from recsys_spark.kernels.blas import dgemm, dpotrf, dpotrs, sgemm, spotrf, spotrs
from recsys_spark.kernels.jit import jit

Arrays = tuple[npt.NDArray[Any], ...]
Solved = tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]

GATHERED = 1024  # rows of the other side that are held at once
DEPTH = 240  # tile x tile x depth stays within what OpenBLAS computes without packing
_TILE = 64
_AHEAD = 6  # entries
LEAST_PIVOT_SINGLE = 1e-4  # squared pivot over diagonal entry: 1 - R^2 of the coordinate
LEAST_PIVOT_DOUBLE = 1e-14
JITTER = (0.0, 1e-10, 1e-7, 1e-4)


def unsolved(given: Arrays, rank: int) -> Solved:
    """Factors and status of each row before it is solved: zeros; 1 will stand for a failure."""
    rows = len(given[0]) - 1
    return np.zeros((rows, rank), np.float32), np.zeros(rows, np.int8)


def workspace(rank: int, dtype: npt.DTypeLike) -> tuple[Any, ...]:
    """Gathered rows, a matrix, two vectors; dimensions, signs and letters for BLAS."""
    shapes = (max(rank, GATHERED), rank), rank * rank, rank, rank
    signs, letters = np.array([1, -1], dtype), np.frombuffer(b"NTL", np.uint8).copy()
    return *(np.empty(shape, dtype) for shape in shapes), (np.empty(9, np.int32), signs, letters)


def read_only(*arrays: npt.NDArray[Any]) -> Arrays:
    views = tuple(np.asarray(array).view() for array in arrays)
    for view in views:
        view.flags.writeable = False
    return views


@jit
def set_shared_part(shared, eigenvalues, unobserved, regularization):  # type: ignore[no-untyped-def]
    for k in range(len(shared)):
        shared[k] = unobserved * eigenvalues[k] + regularization


@jit
def any_nonzero(values):  # type: ignore[no-untyped-def]
    for value in values:
        if value != 0.0:
            return True
    return False


@jit
def has_roots(a, b):  # type: ignore[no-untyped-def]
    """Whether each entry is sqrt(a) times a row with a finite response b / sqrt(a)."""
    for i in range(len(a)):
        if a[i] < 0.0 or (a[i] == 0.0 and b[i] != 0.0):
            return False
    return True


@jit
def gather(rows, fixed, cols, a, scales, first, size):  # type: ignore[no-untyped-def]
    """rows[i] = sqrt(a_j) y_j diag(scales), j the i-th entry from `first` on."""
    for i in range(size):
        call_for(fixed, cols, first + i)
        col, root = cols[first + i], np.sqrt(a[first + i])
        for k in range(fixed.shape[1]):
            rows[i, k] = root * scales[k] * fixed[col, k]


@jit
def call_for(fixed, cols, at):  # type: ignore[no-untyped-def]
    """Have the row of a later entry fetched from memory while others are worked on."""
    if at + _AHEAD < len(cols):
        step = fixed.shape[1] * fixed.itemsize
        row = fixed.ctypes.data + cols[at + _AHEAD] * step
        for place in range(0, step, 64):
            prefetch(row + place)


@jit
def set_response(right, rows, a, b, first, size):  # type: ignore[no-untyped-def]
    """The sum of b_j y_j over gathered rows."""
    rank = len(right)
    for k in range(rank):
        right[k] = 0.0
    for i in range(size):
        response = b[first + i] / np.sqrt(a[first + i]) if a[first + i] > 0.0 else np.float32(0)
        for k in range(rank):
            right[k] += response * rows[i, k]


@jit
def dot(one, other):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for k in range(len(one)):
        total += one[k] * other[k]
    return total


@jit
def set_identity(system, size):  # type: ignore[no-untyped-def]
    """The upper triangle of the identity."""
    for i in range(size):
        row = system[i * size + i : i * size + size]
        for j in range(len(row)):
            row[j] = 0.0
        row[0] = 1.0


@jit
def add_symmetric(system, stride, left, right, size, depth, inner, blas):  # type: ignore[no-untyped-def]
    """Add left right' if `inner`, or left' right, known to be symmetric; its upper triangle.

    size: of the sum, whose rows are `stride` apart in `system`. depth: of each product.
    """
    width, along = left.itemsize, left.shape[1]
    step, deeper = (along, 1) if inner else (1, along)
    for i in range(0, size, _TILE):
        for j in range(i, size, _TILE):
            for first in range(0, depth, DEPTH):
                _gemm(
                    inner, min(_TILE, size - j), min(_TILE, size - i), min(DEPTH, depth - first),
                    right.ctypes.data + (j * step + first * deeper) * width,
                    left.ctypes.data + (i * step + first * deeper) * width, along,
                    system.ctypes.data + (i * stride + j) * width, stride, blas,
                )  # fmt: skip


@jit
def _gemm(inner, m, n, k, one, other, along, out, stride, blas):  # type: ignore[no-untyped-def]
    """Add one other', or one' other if `inner`; by columns, as BLAS reads."""
    numbers, signs, letters = blas
    numbers[0], numbers[1], numbers[2], numbers[3], numbers[4] = m, n, k, along, stride
    at, plus = numbers.ctypes.data, signs.ctypes.data
    plain, transposed = letters.ctypes.data, letters.ctypes.data + 1
    op_one, op_other = (transposed, plain) if inner else (plain, transposed)
    if signs.itemsize == 4:
        sgemm(
            op_one, op_other, at, at + 4, at + 8, plus, one, at + 12, other, at + 12,
            plus, out, at + 16,
        )  # fmt: skip
    else:
        dgemm(
            op_one, op_other, at, at + 4, at + 8, plus, one, at + 12, other, at + 12,
            plus, out, at + 16,
        )  # fmt: skip


@jit
def solve_system(system, size, vector, blas, least):  # type: ignore[no-untyped-def]
    """Overwrite the vector with the solution; `system` holds rows of the upper triangle.

    False if the matrix is not positive definite, or a squared pivot falls below `least` times
    its diagonal entry: then the matrix is singular to the precision that `least` stands for.
    """
    diagonal = np.empty(size)
    for k in range(size):
        diagonal[k] = system[k * size + k]
    numbers, _, letters = blas
    numbers[0], numbers[1], numbers[2] = size, 1, 0
    at, lower, matrix = numbers.ctypes.data, letters.ctypes.data + 2, system.ctypes.data
    if system.itemsize == 4:
        spotrf(lower, at, matrix, at, at + 8)
    else:
        dpotrf(lower, at, matrix, at, at + 8)
    if numbers[2] != 0:
        return False
    for k in range(size):
        pivot = np.float64(system[k * size + k])
        if not pivot * pivot > least * diagonal[k]:  # so that NaN does not pass
            return False
    if system.itemsize == 4:
        spotrs(lower, at, at + 4, matrix, at, vector.ctypes.data, at, at + 8)
    else:
        dpotrs(lower, at, at + 4, matrix, at, vector.ctypes.data, at, at + 8)
    return True
