"""One row's system of equations: gathered rows, their products, the solution by LAPACK.

A system is held as the rows of its upper triangle; what lies below the diagonal is never set.
The compiled code uses plain loops: assignments to slices and NumPy's reductions run no faster
and take the compiler ten times as long, which every new installation would wait for.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.als.solve.tiles import prefetch
from recsys_spark.kernels.blas import dgemm, dpotrf, dpotrs, sgemm, spotrf, spotrs
from recsys_spark.kernels.jit import jit

GATHERED = 1024  # rows of the other side that are held at once
DEPTH = 240  # tile x tile x depth stays within what OpenBLAS computes without packing
_TILE = 64
_AHEAD = 6  # entries
LEAST_PIVOT_SINGLE = 1e-4
_LEAST_PIVOT = {np.float32: LEAST_PIVOT_SINGLE, np.float64: 1e-14}
JITTER = (0.0, 1e-10, 1e-7, 1e-4)


class Equations(NamedTuple):
    """What determines the normal equations of a block of rows; the kernels do not write to it.

    indptr: (rows + 1,). indices: (entries,) columns, ascending within a row. a, b: (entries,).
    unobserved, regularization: (rows,), w and L. Y: (columns, rank) factors of the fixed side.
    weights: (columns,) unobserved weights; empty: all 1.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    a: npt.NDArray[np.float32]
    b: npt.NDArray[np.float32]
    unobserved: npt.NDArray[np.float64]
    regularization: npt.NDArray[np.float64]
    Y: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]


class Entries(NamedTuple):
    """The entries of one row, (entries,) each, as in `Equations`."""

    indices: npt.NDArray[np.int32]
    a: npt.NDArray[np.float32]
    b: npt.NDArray[np.float32]


class Solved(NamedTuple):
    """factors: (rows, rank). status: (rows,), 1 of rows that failed, else 0."""

    factors: npt.NDArray[np.float32]
    status: npt.NDArray[np.int8]


class Blas(NamedTuple):
    """Arguments that BLAS takes by address.

    numbers: (9,) dimensions, of which each call sets its own. signs: 1, -1. letters: N, T, L.
    """

    numbers: npt.NDArray[np.int32]
    signs: npt.NDArray[Any]
    letters: npt.NDArray[np.uint8]


class Workspace(NamedTuple):
    """Memory of one thread in one precision.

    rows: (GATHERED or rank, rank) gathered rows. system: (rank^2,). vector, scales: (rank,).
    least: share of its diagonal entry that a squared pivot exceeds: 1 - R^2 of the coordinate.
    """

    rows: npt.NDArray[Any]
    system: npt.NDArray[Any]
    vector: npt.NDArray[Any]
    scales: npt.NDArray[Any]
    blas: Blas
    least: float


def unsolved(equations: Equations, rank: int) -> Solved:
    """Factors and status of each row before it is solved: zeros."""
    rows = len(equations.indptr) - 1
    return Solved(np.zeros((rows, rank), np.float32), np.zeros(rows, np.int8))


def workspace(rank: int, dtype: type[np.float32] | type[np.float64]) -> Workspace:
    """For rows of a rank."""
    shapes = (max(rank, GATHERED), rank), rank * rank, rank, rank
    signs, letters = np.array([1, -1], dtype), np.frombuffer(b"NTL", np.uint8).copy()
    blas = Blas(np.empty(9, np.int32), signs, letters)
    rows, system, vector, scales = (np.empty(shape, dtype) for shape in shapes)
    return Workspace(rows, system, vector, scales, blas, _LEAST_PIVOT[dtype])


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view that cannot be written to; to the compiler, other arrays are of other types."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@jit
def entries_of(equations, row):  # type: ignore[no-untyped-def]
    first, last = equations.indptr[row], equations.indptr[row + 1]
    a, b = equations.a[first:last], equations.b[first:last]
    return Entries(equations.indices[first:last], a, b)


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
def gather(rows, Y, entries, scales, first, size):  # type: ignore[no-untyped-def]
    """rows[i] = sqrt(a_j) y_j diag(scales), j the i-th entry from `first` on."""
    indices, a = entries.indices, entries.a
    for i in range(size):
        call_for(Y, indices, first + i)
        col, root = indices[first + i], np.sqrt(a[first + i])
        for k in range(Y.shape[1]):
            rows[i, k] = root * scales[k] * Y[col, k]


@jit
def call_for(Y, indices, at):  # type: ignore[no-untyped-def]
    """Have the row of a later entry fetched from memory while others are worked on."""
    if at + _AHEAD < len(indices):
        step = Y.shape[1] * Y.itemsize
        row = Y.ctypes.data + indices[at + _AHEAD] * step
        for place in range(0, step, 64):
            prefetch(row + place)


@jit
def set_response(right, rows, entries, first, size):  # type: ignore[no-untyped-def]
    """The sum of b_j y_j over gathered rows."""
    rank, a, b = len(right), entries.a, entries.b
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
def add_symmetric(work, left, right, size, depth, inner):  # type: ignore[no-untyped-def]
    """Add left right' if `inner`, or left' right, known to be symmetric, to the system.

    size: of the sum, of which the upper triangle is added. depth: of each product.
    """
    width, along = left.itemsize, left.shape[1]
    step, deeper = (along, 1) if inner else (1, along)
    numbers = work.blas.numbers
    numbers[3], numbers[4] = along, size
    for i in range(0, size, _TILE):
        for j in range(i, size, _TILE):
            for first in range(0, depth, DEPTH):
                numbers[0], numbers[1] = min(_TILE, size - j), min(_TILE, size - i)
                numbers[2] = min(DEPTH, depth - first)
                _gemm(
                    right.ctypes.data + (j * step + first * deeper) * width,
                    left.ctypes.data + (i * step + first * deeper) * width,
                    work.system.ctypes.data + (i * size + j) * width,
                    inner,
                    work.blas,
                )


@jit
def _gemm(one, other, out, inner, blas):  # type: ignore[no-untyped-def]
    """Add a product; BLAS reads by columns what lies in memory by rows.

    blas.numbers: columns and rows of `out`, depth of the product, and how many numbers the rows of
    the factors lie apart, and those of `out`.
    """
    at, plus = blas.numbers.ctypes.data, blas.signs.ctypes.data
    plain, transposed = blas.letters.ctypes.data, blas.letters.ctypes.data + 1
    op_one, op_other = (transposed, plain) if inner else (plain, transposed)
    # out += other @ one.T if inner else other.T @ one
    if blas.signs.itemsize == 4:
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
def solve_system(work, size):  # type: ignore[no-untyped-def]
    """Overwrite the vector with the solution, and the system with its Cholesky factor.

    False if the matrix is not positive definite, or a squared pivot falls below work.least times
    its diagonal entry: then the matrix is singular to the precision of the workspace.
    """
    system, vector = work.system, work.vector
    diagonal = np.empty(size)
    for k in range(size):
        diagonal[k] = system[k * size + k]
    numbers, letters = work.blas.numbers, work.blas.letters
    numbers[0], numbers[1], numbers[2] = size, 1, 0
    at, lower, matrix = numbers.ctypes.data, letters.ctypes.data + 2, system.ctypes.data
    # U = np.linalg.cholesky(A, upper=True), by columns the lower triangle
    if system.itemsize == 4:
        spotrf(lower, at, matrix, at, at + 8)
    else:
        dpotrf(lower, at, matrix, at, at + 8)
    if numbers[2] != 0:
        return False
    for k in range(size):
        pivot = np.float64(system[k * size + k])
        if not pivot * pivot > work.least * diagonal[k]:  # so that NaN does not pass
            return False
    # vector = np.linalg.solve(U, np.linalg.solve(U.T, vector))
    if system.itemsize == 4:
        spotrs(lower, at, at + 4, matrix, at, vector.ctypes.data, at, at + 8)
    else:
        dpotrs(lower, at, at + 4, matrix, at, vector.ctypes.data, at, at + 8)
    return True
