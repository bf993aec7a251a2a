"""Solution of a block of rows: the half-sweep's arithmetic.

For each row with observed columns S (symbols in `kernels.spec`; w the row's unobserved weight, G
the other side's weighted Gram matrix):

    A = w G + sum_S a_j y_j y_j' + L I,     A x = sum_S b_j y_j

The other side comes rotated by the eigenvectors of G (`fix`), which makes the shared part
D = w G + L I diagonal. A row with fewer entries than the rank is solved in the dual form,
with V = diag(sqrt a) Y_S D^-1/2:

    x = D^-1/2 V' (I + V V')^-1 diag(sqrt a)^-1 b,    O(n^2 d + n^3) instead of O(n d^2 + d^3)

Precision: single for what is stored, gathered and multiplied; right sides of long rows and the
loss are summed in double. A row whose pivots show that single precision does not carry is solved
again in double, and with jitter if it is singular. A row whose right side is zero solves to zero.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from recsys_spark.kernels.blas import dgemm, dpotrf, load_blas, sgemm, spotrf
from recsys_spark.kernels.csr import Csr
from recsys_spark.kernels.jit import jit
from recsys_spark.kernels.solver import Solver

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

_GATHERED = 1024  # rows of the other side that are held at once
_TILE = 64  # tile x tile x depth stays within what OpenBLAS computes without packing
_DEPTH = 240
_ROTATED = 512
_PANEL = 4
_LAPACK_ABOVE = 128
JITTER = (0.0, 1e-10, 1e-7, 1e-4)
_LEAST_PIVOT_SINGLE = 1e-4  # squared pivot over diagonal entry: 1 - R^2 of the coordinate
_LEAST_PIVOT_DOUBLE = 1e-14


@dataclass(frozen=True)
class Fixed:
    """The side that stays, in the basis of the columns of `rotation`.

    factors: (columns, rank) = Y Q. rotation: (rank, rank) = Q, orthogonal. gram: (rank, rank) =
    Q'GQ, diagonal if Q holds G's eigenvectors. weights: (columns,) unobserved weight of each
    column; empty: all 1. offsets: (columns,) what is subtracted from the targets of a column;
    empty: nothing.
    """

    factors: Single
    rotation: Single
    gram: Double
    weights: Single
    offsets: Single


@dataclass(frozen=True)
class Problem:
    """A block's entries, and of its rows, (rows,): unobserved = w, regularization = L."""

    entries: Csr
    unobserved: Double
    regularization: Double


@dataclass(frozen=True)
class Solution:
    """factors: (rows, rank). failed: positions of rows that no jitter made solvable.

    observed: sum over entries of (w + a)(xy - b / (w + a))^2. shadowed: sum of w (xy)^2, what the
    Gram matrices count for the same entries as unobserved.
    """

    factors: Single
    failed: npt.NDArray[np.int64]
    observed: float
    shadowed: float


def gram(factors: Single, weights: Single | None = None) -> Double:
    """Y'CY in double precision, shape (rank, rank); C = diag(weights), by default 1.

    Summed in chunks of fixed size, so that the result depends on the factors alone.
    """
    total = np.zeros((factors.shape[1], factors.shape[1]))
    for start in range(0, len(factors), 4096):
        part = factors[start : start + 4096].astype(np.float64)
        scaled = (
            part if weights is None or not len(weights) else part * weights[start:][:4096, None]
        )
        total += part.T @ scaled
    return total


def fix(
    factors: Single,
    gram: Double,
    weights: Single | None = None,
    offsets: Single | None = None,
    rotate: bool = True,
) -> Fixed:
    """Prepare a side with its Gram matrix; without rotation for solvers bound to coordinates."""
    none = np.empty(0, np.float32)
    more = (none if weights is None else weights, none if offsets is None else offsets)
    if not rotate or not np.isfinite(gram).all():
        return Fixed(factors, np.eye(factors.shape[1], dtype=np.float32), gram, *more)
    eigenvalues, vectors = scipy.linalg.eigh(gram, driver="evd")
    rotation = vectors.astype(np.float32)
    return Fixed(rotated(factors, rotation), rotation, np.diag(np.maximum(eigenvalues, 0.0)), *more)


def rotated(rows: Single, rotation: Single) -> Single:
    """rows @ rotation, in products of one shape.

    BLAS takes other ways, with other rounding, for other shapes; so a row would come out
    differently in another block.
    """
    rotated = np.empty_like(rows)
    tile = np.zeros((_ROTATED, rows.shape[1]), np.float32)
    for first in range(0, len(rows), _ROTATED):
        part = rows[first : first + _ROTATED]
        tile[: len(part)] = part
        rotated[first : first + len(part)] = (tile @ rotation)[: len(part)]
    return rotated


def solve_rows(
    problem: Problem,
    fixed: Fixed,
    solver: Solver,
    last: Single | None = None,
    nonnegative: bool = False,
) -> Solution:
    """Solve every row against the fixed side; `last`, (rows, rank), is where iterations begin.

    Exact rows are solved by Cholesky factorisation. Conjugate gradients are preconditioned by the
    diagonal of A, which in the rotated basis holds all of the shared part; to begin with the last
    sweep's factors is from Takács et al., "Applications of the conjugate gradient method for
    implicit feedback collaborative filtering" (2011). The subspace method, for a side that is not
    rotated, minimises over the solver's block of coordinates B with the others held:

        x_B -= A_BB^-1 (A x - sum_S b_j y_j)_B

    Rendle et al., "iALS++: Speeding up Matrix Factorization with Subspace Optimization" (2021).
    Nonnegative rows are solved by coordinate descent, in double precision.
    """
    if nonnegative:
        return _solve_nonnegative(problem, fixed)
    if solver.method == "subspace":
        return _solve_subspace(problem, fixed, solver, last)
    steps = solver.cg_steps if solver.method == "cg" else 0
    start = np.zeros((1, 1), np.float32)
    if steps and last is not None:
        start = rotated(last, fixed.rotation)
    return _solve_rotated(problem, fixed, start, steps)


def _solve_nonnegative(problem: Problem, fixed: Fixed) -> Solution:
    factors, status, sums = found = _outputs(problem, fixed)
    _nonnegative(_arrays(problem, fixed), fixed.gram, found)
    return Solution(factors, np.flatnonzero(status), float(sums[0]), float(sums[1]))


def _solve_rotated(problem: Problem, fixed: Fixed, start: Single, steps: int) -> Solution:
    load_blas()
    factors, status, sums = found = _outputs(problem, fixed)
    eigenvalues = np.ascontiguousarray(np.diag(fixed.gram))
    single, double = (_workspace(len(eigenvalues), dtype) for dtype in (np.float32, np.float64))
    _rotated(_arrays(problem, fixed), eigenvalues, start, steps, single, double, found)
    rotated_back = rotated(factors, np.ascontiguousarray(fixed.rotation.T))
    return Solution(rotated_back, np.flatnonzero(status), float(sums[0]), float(sums[1]))


def _solve_subspace(
    problem: Problem, fixed: Fixed, solver: Solver, last: Single | None
) -> Solution:
    load_blas()
    factors, status, sums = found = _outputs(problem, fixed)
    start = np.zeros_like(factors) if last is None else last
    block = solver.coordinates(factors.shape[1])
    single, double = (
        _block_workspace(block.stop - block.start, dtype) for dtype in (np.float32, np.float64)
    )
    gram, start = _read_only(fixed.gram, start)
    _subspace(_arrays(problem, fixed), gram, start, block.start, single, double, found)
    return Solution(factors, np.flatnonzero(status), float(sums[0]), float(sums[1]))


def _outputs(problem: Problem, fixed: Fixed) -> tuple[Single, npt.NDArray[np.int8], Double]:
    rows = len(problem.regularization)
    factors = np.zeros((rows, fixed.factors.shape[1]), dtype=np.float32)
    return factors, np.zeros(rows, dtype=np.int8), np.zeros(2)


def _workspace(rank: int, dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], ...]:
    """Gathered rows, a matrix, two vectors; dimensions, signs and letters for BLAS."""
    shapes = (max(rank, _GATHERED), rank), rank * rank, rank, rank
    signs, letters = np.array([1, -1], dtype), np.frombuffer(b"NTL", np.uint8).copy()
    return *(np.empty(shape, dtype) for shape in shapes), np.empty(8, np.int32), signs, letters


def _block_workspace(width: int, dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], ...]:
    """A workspace for a block of coordinates, and weighted rows."""
    work = _workspace(width, dtype)
    return *work, np.empty_like(work[0])


def _arrays(problem: Problem, fixed: Fixed) -> tuple[npt.NDArray[Any], ...]:
    """What the kernels read, as read-only arrays: to the compiler, other ones are other types."""
    entries = problem.entries
    given = (
        entries.indptr, entries.cols, entries.a, entries.b,
        problem.unobserved, problem.regularization, fixed.factors, fixed.weights,
    )  # fmt: skip
    return _read_only(*given)


def _read_only(*arrays: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    views = tuple(np.asarray(array).view() for array in arrays)
    for view in views:
        view.flags.writeable = False
    return views


def nonnegative_solution(left: Double, right: Double) -> Single | None:
    """Minimise x'Ax/2 - b'x over x >= 0; None if a diagonal entry of A is not above zero."""
    x = right.copy()
    return x.astype(np.float32) if _nonnegative_descent(left, x) else None


# The compiled code uses plain loops: assignments to slices and NumPy's reductions run no faster
# and take the compiler ten times as long, which every new installation would wait for.


@jit
def _rotated(given, eigenvalues, start, steps, single, double, found):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, unobserved, regularization, fixed, weights = given
    factors, status, sums = found
    rank = fixed.shape[1]
    shared, x = np.empty(rank), np.empty(rank, dtype=np.float32)
    for row in range(len(indptr) - 1):
        entries = cols[indptr[row] : indptr[row + 1]]
        extra, right = a[indptr[row] : indptr[row + 1]], b[indptr[row] : indptr[row + 1]]
        for k in range(rank):
            shared[k] = unobserved[row] * eigenvalues[k] + regularization[row]
            x[k] = 0.0
        solved = True
        if _any(right):  # the rule of the zero right side: its solution is zero
            if steps and _has_roots(extra, right):
                for k in range(rank):
                    x[k] = start[row, k]
                solved = _cg(entries, extra, right, fixed, shared, single, x, steps)
            else:
                solved = _exact(entries, extra, right, fixed, shared, single, double, x)
        if not solved:
            status[row] = 1
            continue
        for k in range(rank):
            factors[row, k] = x[k]
        _add_loss(entries, extra, right, fixed, weights, unobserved[row], x, sums)


@jit
def _any(values):  # type: ignore[no-untyped-def]
    for value in values:
        if value != 0.0:
            return True
    return False


@jit
def _exact(cols, a, b, fixed, shared, single, double, x):  # type: ignore[no-untyped-def]
    """Solve one row into x; False if it stays singular."""
    if _has_roots(a, b):
        if len(cols) <= len(x) and _is_positive(shared):
            if _dual(cols, a, b, fixed, shared, single, x, _LEAST_PIVOT_SINGLE):
                return True
            if _dual(cols, a, b, fixed, shared, double, x, _LEAST_PIVOT_DOUBLE):
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
def _has_roots(a, b):  # type: ignore[no-untyped-def]
    """Whether each entry is sqrt(a) times a row with a finite response b / sqrt(a)."""
    for i in range(len(a)):
        if a[i] < 0.0 or (a[i] == 0.0 and b[i] != 0.0):
            return False
    return True


@jit
def _gather(rows, fixed, cols, a, scales, first, size):  # type: ignore[no-untyped-def]
    """rows[i] = sqrt(a_j) y_j diag(scales), j the i-th entry from `first` on."""
    for i in range(size):
        col, root = cols[first + i], np.sqrt(a[first + i])
        for k in range(fixed.shape[1]):
            rows[i, k] = root * scales[k] * fixed[col, k]


@jit
def _dual(cols, a, b, fixed, shared, work, x, least):  # type: ignore[no-untyped-def]
    rows, system, vector, scales, numbers, signs, letters = work
    size, rank = len(cols), len(x)
    for k in range(rank):
        scales[k] = 1.0 / np.sqrt(shared[k])
    _gather(rows, fixed, cols, a, scales, 0, size)
    for i in range(size):
        vector[i] = 1.0
    _set_diagonal(system, vector, size)
    for i in range(size):
        vector[i] = b[i] / np.sqrt(a[i]) if a[i] > 0.0 else 0.0
    _add_products(system, rows, size, rank, numbers, signs, letters)
    if not _solve_system(system, size, vector, numbers, signs, letters, least):
        return False
    for k in range(rank):
        x[k] = 0.0
    for i in range(size):
        for k in range(rank):
            x[k] += vector[i] * rows[i, k]
    for k in range(rank):
        x[k] *= scales[k]
    return True


@jit
def _primal(cols, a, b, fixed, shared, work, x):  # type: ignore[no-untyped-def]
    rows, system, vector, scales, numbers, signs, letters = work
    rank = len(x)
    right = np.zeros(rank)
    _set_diagonal(system, shared, rank)
    for k in range(rank):
        scales[k] = 1.0
    for first in range(0, len(cols), _GATHERED):
        size = min(_GATHERED, len(cols) - first)
        _gather(rows, fixed, cols, a, scales, first, size)
        for k in range(rank):
            vector[k] = 0.0
        for i in range(size):
            response = b[first + i] / np.sqrt(a[first + i]) if a[first + i] > 0.0 else np.float32(0)
            for k in range(rank):
                vector[k] += response * rows[i, k]
        for k in range(rank):
            right[k] += vector[k]
        _add_outer_products(system, rows, rows, size, rank, numbers, signs, letters)
    for k in range(rank):
        vector[k] = right[k]
    if not _solve_system(system, rank, vector, numbers, signs, letters, _LEAST_PIVOT_SINGLE):
        return False
    for k in range(rank):
        x[k] = vector[k]
    return True


@jit
def _general(cols, a, b, fixed, shared, work, x, jitter):  # type: ignore[no-untyped-def]
    """The primal form for weights of any sign, in double precision."""
    rows, system, vector, _, numbers, signs, letters = work
    rank = len(x)
    weighted = np.empty((min(len(cols), _GATHERED), rank))
    _set_diagonal(system, shared, rank)
    for k in range(rank):
        vector[k] = 0.0
    for first in range(0, len(cols), _GATHERED):
        size = min(_GATHERED, len(cols) - first)
        for i in range(size):
            weight, response = np.float64(a[first + i]), np.float64(b[first + i])
            for k in range(rank):
                rows[i, k] = fixed[cols[first + i], k]
                weighted[i, k] = weight * rows[i, k]
                vector[k] += response * rows[i, k]
        _add_outer_products(system, rows, weighted, size, rank, numbers, signs, letters)
    mean = 0.0
    for k in range(rank):
        mean += system[k * rank + k] / rank
    for k in range(rank):
        system[k * rank + k] += jitter * mean
    if not _solve_system(system, rank, vector, numbers, signs, letters, _LEAST_PIVOT_DOUBLE):
        return False
    for k in range(rank):
        x[k] = vector[k]
    return True


@jit
def _add_outer_products(system, left, right, size, rank, numbers, signs, letters):  # type: ignore[no-untyped-def]
    """Add left'right, of the first `size` rows, to the upper triangle of a symmetric matrix."""
    width = left.itemsize
    for i in range(0, rank, _TILE):
        for j in range(i, rank, _TILE):
            for first in range(0, size, _DEPTH):
                _gemm(
                    False, False,
                    min(_TILE, rank - j), min(_TILE, rank - i), min(_DEPTH, size - first),
                    right.ctypes.data + (first * rank + j) * width, rank,
                    left.ctypes.data + (first * rank + i) * width, rank,
                    system.ctypes.data + (i * rank + j) * width, rank,
                    numbers, signs, letters,
                )  # fmt: skip


@jit
def _add_products(system, rows, size, rank, numbers, signs, letters):  # type: ignore[no-untyped-def]
    """Add rows rows', of the first `size` rows, to the upper triangle of a symmetric matrix."""
    width = rows.itemsize
    for i in range(0, size, _TILE):
        for j in range(i, size, _TILE):
            for first in range(0, rank, _DEPTH):
                _gemm(
                    True, False,
                    min(_TILE, size - j), min(_TILE, size - i), min(_DEPTH, rank - first),
                    rows.ctypes.data + (j * rank + first) * width, rank,
                    rows.ctypes.data + (i * rank + first) * width, rank,
                    system.ctypes.data + (i * size + j) * width, size,
                    numbers, signs, letters,
                )  # fmt: skip


@jit
def _gemm(  # type: ignore[no-untyped-def]
    inner, negative, m, n, k, one, ld_one, other, ld_other, out, ld_out, numbers, signs, letters
):
    """Add (or subtract) one other' to out, or one' other if `inner`; by columns, as BLAS reads."""
    numbers[0], numbers[1], numbers[2] = m, n, k
    numbers[3], numbers[4], numbers[5] = ld_one, ld_other, ld_out
    at, plus = numbers.ctypes.data, signs.ctypes.data
    sign = plus + signs.itemsize if negative else plus
    plain, transposed = letters.ctypes.data, letters.ctypes.data + 1
    op_one, op_other = (transposed, plain) if inner else (plain, transposed)
    if signs.itemsize == 4:
        sgemm(
            op_one, op_other, at, at + 4, at + 8, sign, one, at + 12, other, at + 16,
            plus, out, at + 20,
        )  # fmt: skip
    else:
        dgemm(
            op_one, op_other, at, at + 4, at + 8, sign, one, at + 12, other, at + 16,
            plus, out, at + 20,
        )  # fmt: skip


@jit
def _solve_system(system, size, vector, numbers, signs, letters, least):  # type: ignore[no-untyped-def]
    """Overwrite the vector with the solution; `system` holds rows of the upper triangle.

    False if the matrix is not positive definite, or a squared pivot falls below `least` times
    its diagonal entry: then the matrix is singular to the precision that `least` stands for.
    """
    diagonal = np.empty(size)
    for k in range(size):
        diagonal[k] = system[k * size + k]
    if not _factor(system, size, numbers, signs, letters):
        return False
    for k in range(size):
        pivot = np.float64(system[k * size + k])
        if not pivot * pivot > least * diagonal[k]:  # so that NaN does not pass
            return False
    _substitute(system, size, vector)
    return True


@jit
def _factor(system, size, numbers, signs, letters):  # type: ignore[no-untyped-def]
    """Cholesky factor U of A = U'U in place, rows of the upper triangle; False if not definite.

    Up to some size, panels of eight rows with one product for the rest are twice as fast as
    LAPACK, whose overheads are made for larger matrices.
    """
    width, at = system.itemsize, numbers.ctypes.data
    whole = size // (2 * _PANEL) * (2 * _PANEL) if size <= _LAPACK_ABOVE else 0
    for first in range(0, whole, 2 * _PANEL):
        second, last = first + _PANEL, first + 2 * _PANEL
        if not _factor_panel(system, size, first):
            return False
        for row in range(second, last):
            _subtract_panel(system, size, first, row)
        if not _factor_panel(system, size, second):
            return False
        if last < size:
            panel = system.ctypes.data + (first * size + last) * width
            _gemm(
                False, True, size - last, size - last, last - first,
                panel, size, panel, size, system.ctypes.data + (last * size + last) * width, size,
                numbers, signs, letters,
            )  # fmt: skip
    numbers[0], numbers[1], numbers[2] = size - whole, size, 0
    corner = system.ctypes.data + (whole * size + whole) * width
    if whole < size and system.itemsize == 4:
        spotrf(letters.ctypes.data + 2, at, corner, at + 4, at + 8)
    elif whole < size:
        dpotrf(letters.ctypes.data + 2, at, corner, at + 4, at + 8)
    return numbers[2] == 0


# Loops run over slices from 0 on: an index that might be negative keeps them from vectorising.


@jit
def _panel(system, size, first, begin):  # type: ignore[no-untyped-def]
    """Rows first to first + 3, from column `begin` on."""
    at = first * size
    return (
        system[at + begin : at + size],
        system[at + size + begin : at + 2 * size],
        system[at + 2 * size + begin : at + 3 * size],
        system[at + 3 * size + begin : at + 4 * size],
    )


@jit
def _factor_panel(system, size, first):  # type: ignore[no-untyped-def]
    """Four rows of U: their pivots, then all columns in one pass."""
    r0, r1, r2, r3 = _panel(system, size, first, first)
    one = r0[0] / r0[0]  # in the matrix's own precision; NaN for 0
    p0 = one / np.sqrt(r0[0])
    u01, u02, u03 = r0[1] * p0, r0[2] * p0, r0[3] * p0
    p1 = one / np.sqrt(r1[1] - u01 * u01)
    u12, u13 = (r1[2] - u01 * u02) * p1, (r1[3] - u01 * u03) * p1
    p2 = one / np.sqrt(r2[2] - u02 * u02 - u12 * u12)
    u23 = (r2[3] - u02 * u03 - u12 * u13) * p2
    p3 = one / np.sqrt(r3[3] - u03 * u03 - u13 * u13 - u23 * u23)
    if not (p0 < np.inf and p1 < np.inf and p2 < np.inf and p3 < np.inf):
        return False  # a root of what is not above zero
    for j in range(len(r0)):
        x0 = r0[j] * p0
        x1 = (r1[j] - u01 * x0) * p1
        x2 = (r2[j] - u02 * x0 - u12 * x1) * p2
        x3 = (r3[j] - u03 * x0 - u13 * x1 - u23 * x2) * p3
        r0[j], r1[j], r2[j], r3[j] = x0, x1, x2, x3
    return True


@jit
def _subtract_panel(system, size, first, row):  # type: ignore[no-untyped-def]
    r0, r1, r2, r3 = _panel(system, size, first, row)
    out = system[row * size + row : row * size + size]
    w0, w1, w2, w3 = r0[0], r1[0], r2[0], r3[0]
    for j in range(len(out)):
        out[j] -= w0 * r0[j] + w1 * r1[j] + w2 * r2[j] + w3 * r3[j]


@jit
def _substitute(system, size, vector):  # type: ignore[no-untyped-def]
    """Overwrite v with U^-1 U'^-1 v, four rows of U at a time."""
    whole = size // _PANEL * _PANEL
    for first in range(0, whole, _PANEL):
        r0, r1, r2, r3 = _panel(system, size, first, first)
        rest = vector[first:size]
        x0 = rest[0] / r0[0]
        x1 = (rest[1] - x0 * r0[1]) / r1[1]
        x2 = (rest[2] - x0 * r0[2] - x1 * r1[2]) / r2[2]
        x3 = (rest[3] - x0 * r0[3] - x1 * r1[3] - x2 * r2[3]) / r3[3]
        for j in range(_PANEL, len(rest)):
            rest[j] -= x0 * r0[j] + x1 * r1[j] + x2 * r2[j] + x3 * r3[j]
        rest[0], rest[1], rest[2], rest[3] = x0, x1, x2, x3
    for k in range(whole, size):
        row, rest = system[k * size + k : k * size + size], vector[k:size]
        x = rest[0] / row[0]
        for j in range(1, len(rest)):
            rest[j] -= x * row[j]
        rest[0] = x
    for k in range(size - 1, whole - 1, -1):
        row, rest = system[k * size + k : k * size + size], vector[k:size]
        for j in range(1, len(rest)):
            rest[0] -= row[j] * rest[j]
        rest[0] /= row[0]
    for first in range(whole - _PANEL, -1, -_PANEL):
        r0, r1, r2, r3 = _panel(system, size, first, first)
        rest = vector[first:size]
        x0, x1, x2, x3 = rest[0], rest[1], rest[2], rest[3]
        for j in range(_PANEL, len(rest)):  # what stands below the diagonal was never set
            x0 -= r0[j] * rest[j]
            x1 -= r1[j] * rest[j]
            x2 -= r2[j] * rest[j]
            x3 -= r3[j] * rest[j]
        x3 /= r3[3]
        x2 = (x2 - r2[3] * x3) / r2[2]
        x1 = (x1 - r1[2] * x2 - r1[3] * x3) / r1[1]
        x0 = (x0 - r0[1] * x1 - r0[2] * x2 - r0[3] * x3) / r0[0]
        rest[0], rest[1], rest[2], rest[3] = x0, x1, x2, x3


@jit
def _set_diagonal(system, diagonal, size):  # type: ignore[no-untyped-def]
    """The upper triangle of a diagonal matrix."""
    for i in range(size):
        row = system[i * size + i : i * size + size]
        for j in range(len(row)):
            row[j] = 0.0
        row[0] = diagonal[i]


@jit
def _cg(cols, a, b, fixed, shared, work, x, steps):  # type: ignore[no-untyped-def]
    rows, scales, rank = work[0], work[3], len(x)
    product, residual = np.empty(rank, dtype=np.float32), np.empty(rank, dtype=np.float32)
    direction, inverse = np.empty(rank, dtype=np.float32), np.empty(rank, dtype=np.float32)
    if not _precondition(cols, a, b, fixed, shared, rows, scales, inverse, residual):
        return False
    _times(cols, a, fixed, shared, rows, scales, x, product)
    for k in range(rank):
        residual[k] -= product[k]
        direction[k] = inverse[k] * residual[k]
    slope = _dot(residual, direction)
    goal = np.float32(1e-12) * slope
    for _ in range(steps):
        if not slope > goal:
            break
        _times(cols, a, fixed, shared, rows, scales, direction, product)
        curvature = _dot(direction, product)
        if not curvature > 0.0:
            return False
        length = slope / curvature
        before = slope
        for k in range(rank):
            x[k] += length * direction[k]
            residual[k] -= length * product[k]
            product[k] = inverse[k] * residual[k]
        slope = _dot(residual, product)
        turn = slope / before
        for k in range(rank):
            direction[k] = product[k] + turn * direction[k]
    return _dot(x, x) < np.inf


@jit
def _precondition(cols, a, b, fixed, shared, rows, scales, inverse, right):  # type: ignore[no-untyped-def]
    """Gather the entries; the inverse diagonal of A, and the right side."""
    rank = len(inverse)
    total, diagonal = np.zeros(rank), np.zeros(rank)
    for k in range(rank):
        scales[k], diagonal[k] = 1.0, shared[k]
    for first in range(0, len(cols), _GATHERED):
        size = min(_GATHERED, len(cols) - first)
        _gather(rows, fixed, cols, a, scales, first, size)
        for i in range(size):
            response = b[first + i] / np.sqrt(a[first + i]) if a[first + i] > 0.0 else np.float32(0)
            for k in range(rank):
                total[k] += response * rows[i, k]
                diagonal[k] += rows[i, k] * rows[i, k]
    for k in range(rank):
        if not diagonal[k] > 0.0:
            return False
        inverse[k], right[k] = 1.0 / diagonal[k], total[k]
    return True


@jit
def _dot(one, other):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for k in range(len(one)):
        total += one[k] * other[k]
    return total


@jit
def _times(cols, a, fixed, shared, rows, scales, vector, product):  # type: ignore[no-untyped-def]
    """product = A vector; entries that fit stay gathered from call to call."""
    rank = len(vector)
    for k in range(rank):
        product[k] = shared[k] * vector[k]
    for first in range(0, len(cols), _GATHERED):
        size = min(_GATHERED, len(cols) - first)
        if len(cols) > _GATHERED:
            _gather(rows, fixed, cols, a, scales, first, size)
        for i in range(size):
            along = np.float32(0)
            for k in range(rank):
                along += rows[i, k] * vector[k]
            for k in range(rank):
                product[k] += along * rows[i, k]


@jit
def _subspace(given, gram, start, first, single, double, found):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, unobserved, regularization, fixed, weights = given
    factors, status, sums = found
    rank = fixed.shape[1]
    x = np.empty(rank, dtype=np.float32)
    for row in range(len(indptr) - 1):
        entries = cols[indptr[row] : indptr[row + 1]]
        extra, right = a[indptr[row] : indptr[row + 1]], b[indptr[row] : indptr[row + 1]]
        w, penalty = unobserved[row], regularization[row]
        for k in range(rank):
            x[k] = 0.0
        if _any(right):
            for k in range(rank):
                x[k] = start[row, k]
            if not _step(entries, extra, right, fixed, gram, w, penalty, single, double, x, first):
                status[row] = 1
                continue
        for k in range(rank):
            factors[row, k] = x[k]
        _add_loss(entries, extra, right, fixed, weights, w, x, sums)


@jit
def _step(cols, a, b, fixed, gram, w, penalty, single, double, x, first):  # type: ignore[no-untyped-def]
    """Minimise over the block of x from `first` on; False if its system stays singular."""
    least = _LEAST_PIVOT_SINGLE
    if _has_roots(a, b) and _newton(
        cols, a, b, fixed, gram, w, penalty, single, x, first, 0.0, least
    ):
        return True
    least = _LEAST_PIVOT_DOUBLE
    for jitter in JITTER:
        if _newton(cols, a, b, fixed, gram, w, penalty, double, x, first, jitter, least):
            return True
    return False


@jit
def _newton(cols, a, b, fixed, gram, w, penalty, work, x, first, jitter, least):  # type: ignore[no-untyped-def]
    rows, system, vector, _, numbers, signs, letters, weighted = work
    rank, width = len(x), len(vector)
    gradient, start = np.empty(width), np.empty(rank, vector.dtype)
    for k in range(rank):
        start[k] = x[k]
    _set_shared(system, gradient, gram, w, penalty, x, first)
    for begin in range(0, len(cols), _GATHERED):
        size = min(_GATHERED, len(cols) - begin)
        _gather_block(rows, weighted, vector, fixed, cols, a, b, start, first, begin, size)
        for k in range(width):
            gradient[k] += vector[k]
        _add_outer_products(system, rows, weighted, size, width, numbers, signs, letters)
    mean = 0.0
    for k in range(width):
        vector[k] = gradient[k]
        mean += system[k * width + k] / width
    for k in range(width):
        system[k * width + k] += jitter * mean
    if not _solve_system(system, width, vector, numbers, signs, letters, least):
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


@jit
def _add_loss(cols, a, b, fixed, weights, unobserved, x, sums):  # type: ignore[no-untyped-def]
    for i in range(len(cols)):
        col, prediction = cols[i], np.float32(0)
        for k in range(len(x)):
            prediction += fixed[col, k] * x[k]
        shadow = unobserved * (weights[col] if len(weights) else 1.0)
        weight = shadow + a[i]
        target = b[i] / weight if weight != 0.0 else 0.0
        sums[0] += weight * (prediction - target) ** 2
        sums[1] += shadow * np.float64(prediction) ** 2


@jit
def _nonnegative(given, gram, found):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, unobserved, regularization, fixed, weights = given
    factors, status, sums = found
    rank = fixed.shape[1]
    left, right = np.empty((rank, rank)), np.empty(rank)
    x = np.empty(rank, dtype=np.float32)
    for row in range(len(indptr) - 1):
        first, last = indptr[row], indptr[row + 1]
        for i in range(rank):
            right[i] = 0.0
            for k in range(rank):
                left[i, k] = unobserved[row] * gram[i, k]
            left[i, i] += regularization[row]
        for i in range(first, last):
            weight, response, y = np.float64(a[i]), np.float64(b[i]), fixed[cols[i]]
            for j in range(rank):
                right[j] += response * y[j]
                weighted = weight * y[j]
                for k in range(rank):
                    left[j, k] += weighted * y[k]
        if not _nonnegative_descent(left, right):
            status[row] = 1
            continue
        for k in range(rank):
            x[k] = factors[row, k] = right[k]
        _add_loss(
            cols[first:last], a[first:last], b[first:last], fixed, weights, unobserved[row], x, sums
        )


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
