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

from recsys_spark.kernels.blas import dgemm, dpotrf, dpotrs, load_blas, sgemm, spotrf, spotrs
from recsys_spark.kernels.csr import Csr
from recsys_spark.kernels.jit import jit
from recsys_spark.kernels.lanes import LANES, PANEL, empty_lines, subtract_one, subtract_panel
from recsys_spark.kernels.solver import Solver

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

_GATHERED = 1024  # rows of the other side that are held at once
_TILE = 64  # tile x tile x depth stays within what OpenBLAS computes without packing
_DEPTH = 240
_ROTATED = 512
_SIDE_BY_SIDE = 128  # size of the largest systems that are solved in lanes
_APART = 80  # numbers between two systems, so that their entries do not share lines of the cache
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
    loss: bool = True,
) -> Solution:
    """Solve every row against the fixed side; `last`, (rows, rank), is where iterations begin.

    Exact rows are solved by Cholesky factorisation. Conjugate gradients are preconditioned by the
    diagonal of A, which in the rotated basis holds all of the shared part; to begin with the last
    sweep's factors is from Takács et al., "Applications of the conjugate gradient method for
    implicit feedback collaborative filtering" (2011). The subspace method, for a side that is not
    rotated, minimises over the solver's block of coordinates B with the others held:

        x_B -= A_BB^-1 (A x - sum_S b_j y_j)_B

    Rendle et al., "iALS++: Speeding up Matrix Factorization with Subspace Optimization" (2021).
    Nonnegative rows are solved by coordinate descent, in double precision. Without `loss` the two
    sums of the solution stay 0.
    """
    given, rank = _arrays(problem, fixed), fixed.factors.shape[1]
    factors = np.zeros((len(problem.regularization), rank), np.float32)
    status, sums = np.zeros(len(factors), np.int8), np.zeros(2)
    if nonnegative:
        _nonnegative(given, fixed.gram, factors, status)
    elif solver.method == "subspace":
        _solve_subspace(given, fixed, solver, last, factors, status)
    else:
        _solve_rotated(given, fixed, solver, last, factors, status)
    if loss:
        _add_losses(given, factors, sums)
    if not nonnegative and solver.method != "subspace":
        factors = rotated(factors, np.ascontiguousarray(fixed.rotation.T))
    return Solution(factors, np.flatnonzero(status), float(sums[0]), float(sums[1]))


_Arrays = tuple[npt.NDArray[Any], ...]


def _solve_rotated(
    given: _Arrays,
    fixed: Fixed,
    solver: Solver,
    last: Single | None,
    factors: Single,
    status: npt.NDArray[np.int8],
) -> None:
    load_blas()
    steps = solver.cg_steps if solver.method == "cg" else 0
    start = np.zeros((1, 1), np.float32)
    if steps and last is not None:
        start = rotated(last, fixed.rotation)
    eigenvalues = np.ascontiguousarray(np.diag(fixed.gram))
    rank = len(eigenvalues)
    by_size = np.argsort(np.minimum(np.diff(given[0]), rank), kind="stable")
    single, double = (_workspace(rank, dtype) for dtype in (np.float32, np.float64))
    work = single, double, _lane_workspace(rank)
    _rotated(given, by_size, eigenvalues, start, steps, work, factors, status)


def _solve_subspace(
    given: _Arrays,
    fixed: Fixed,
    solver: Solver,
    last: Single | None,
    factors: Single,
    status: npt.NDArray[np.int8],
) -> None:
    load_blas()
    start = np.zeros_like(factors) if last is None else last
    block = solver.coordinates(factors.shape[1])
    single, double = (
        _block_workspace(block.stop - block.start, dtype) for dtype in (np.float32, np.float64)
    )
    gram, start = _read_only(fixed.gram, start)
    _subspace(given, gram, start, block.start, single, double, factors, status)


def _workspace(rank: int, dtype: npt.DTypeLike) -> tuple[Any, ...]:
    """Gathered rows, a matrix, two vectors; dimensions, signs and letters for BLAS."""
    shapes = (max(rank, _GATHERED), rank), rank * rank, rank, rank
    signs, letters = np.array([1, -1], dtype), np.frombuffer(b"NTL", np.uint8).copy()
    return *(np.empty(shape, dtype) for shape in shapes), (np.empty(9, np.int32), signs, letters)


def _lane_workspace(rank: int) -> _Arrays:
    """Systems one after another and side by side; a right side, a diagonal; gathered rows."""
    size = -(-min(rank, _SIDE_BY_SIDE) // PANEL) * PANEL
    systems = np.empty((LANES, size * size + _APART), np.float32)
    lines = (empty_lines(count) for count in (size * size, size, size))
    return systems, *lines, np.empty((LANES, size, rank), np.float32)


def _block_workspace(width: int, dtype: npt.DTypeLike) -> tuple[Any, ...]:
    """A workspace for a block of coordinates, and weighted rows."""
    work = _workspace(width, dtype)
    return *work, np.empty_like(work[0])


def _arrays(problem: Problem, fixed: Fixed) -> _Arrays:
    """What the kernels read, as read-only arrays: to the compiler, other ones are other types."""
    entries = problem.entries
    given = (
        entries.indptr, entries.cols, entries.a, entries.b,
        problem.unobserved, problem.regularization, fixed.factors, fixed.weights,
    )  # fmt: skip
    return _read_only(*given)


def _read_only(*arrays: npt.NDArray[Any]) -> _Arrays:
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
def _rotated(given, by_size, eigenvalues, start, steps, work, factors, status):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, unobserved, regularization, fixed, _ = given
    single, double, lanes = work
    rank = fixed.shape[1]
    shared, x = np.empty(rank), np.empty(rank, dtype=np.float32)
    done = np.zeros(len(by_size), dtype=np.bool_)
    if not steps:
        _side_by_side(given, by_size, eigenvalues, shared, single, lanes, factors, done)
    for row in range(len(indptr) - 1):
        entries = cols[indptr[row] : indptr[row + 1]]
        extra, right = a[indptr[row] : indptr[row + 1]], b[indptr[row] : indptr[row + 1]]
        if done[row] or not _any(right):  # the rule of the zero right side: its solution is zero
            continue
        _set_shared_part(shared, eigenvalues, unobserved[row], regularization[row])
        if steps and _has_roots(extra, right):
            for k in range(rank):
                x[k] = start[row, k]
            solved = _cg(entries, extra, right, fixed, shared, single, x, steps)
        else:
            solved = _exact(entries, extra, right, fixed, shared, single, double, x)
        if solved:
            for k in range(rank):
                factors[row, k] = x[k]
        else:
            status[row] = 1


@jit
def _set_shared_part(shared, eigenvalues, unobserved, regularization):  # type: ignore[no-untyped-def]
    for k in range(len(shared)):
        shared[k] = unobserved * eigenvalues[k] + regularization


@jit
def _side_by_side(given, by_size, eigenvalues, shared, single, lanes, factors, done):  # type: ignore[no-untyped-def]
    """Solve the rows with small systems, LANES of about one size at a time; `done` says which.

    Rows that single precision does not carry are left; so are those without regularisation.
    """
    indptr, _, a, b, unobserved, regularization, fixed, _ = given
    group, count = np.empty(LANES, np.int64), 0
    for row in by_size:
        first, last = indptr[row], indptr[row + 1]
        if min(last - first, fixed.shape[1]) > _SIDE_BY_SIDE:
            break
        if not (regularization[row] > 0.0 and unobserved[row] >= 0.0):
            continue
        if _any(b[first:last]) and _has_roots(a[first:last], b[first:last]):
            group[count] = row
            count += 1
            if count == LANES:
                _solve_group(group, given, eigenvalues, shared, single, lanes, factors, done)
                count = 0
    if count:
        _solve_group(group[:count], given, eigenvalues, shared, single, lanes, factors, done)


@jit
def _solve_group(group, given, eigenvalues, shared, single, lanes, factors, done):  # type: ignore[no-untyped-def]
    indptr, rank = given[0], factors.shape[1]
    systems, lines, right, diagonal, kept = lanes
    largest = min(indptr[group[-1] + 1] - indptr[group[-1]], rank)
    size = (largest + PANEL - 1) // PANEL * PANEL
    _set_empty(systems, right, size)
    for lane in range(len(group)):
        row = group[lane]
        _set_shared_part(shared, eigenvalues, given[4][row], given[5][row])
        _set_lane(lane, row, given, shared, single, systems[lane], size, right, kept[lane])
    _interleave(systems, size, lines, diagonal)
    _factor_lines(lines, size)
    _substitute_lines(lines, size, right)
    for lane in range(len(group)):
        row = group[lane]
        entries = indptr[row + 1] - indptr[row]
        if _carried(lines, diagonal, size, lane, min(entries, rank)):
            _set_shared_part(shared, eigenvalues, given[4][row], given[5][row])
            _get_lane(lane, entries, shared, single, right, kept[lane], factors[row])
            done[row] = True


@jit
def _set_empty(systems, right, size):  # type: ignore[no-untyped-def]
    """What is not used by a row stays the identity."""
    for lane in range(LANES):
        _set_identity(systems[lane], size)
        for k in range(size):
            right[k, lane] = 0.0


@jit
def _set_lane(lane, row, given, shared, single, system, size, right, kept):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, _, _, fixed, _ = given
    rows, _, vector, scales, blas = single
    entries = cols[indptr[row] : indptr[row + 1]]
    extra, target = a[indptr[row] : indptr[row + 1]], b[indptr[row] : indptr[row + 1]]
    into = system, size, vector
    if len(entries) <= len(shared):
        _dual_system(entries, extra, target, fixed, shared, kept, scales, into, blas)
    else:
        _primal_system(entries, extra, target, fixed, shared, rows, scales, into, blas)
    for k in range(min(len(entries), len(shared))):
        right[k, lane] = vector[k]


@jit
def _get_lane(lane, entries, shared, single, right, kept, x):  # type: ignore[no-untyped-def]
    _, _, vector, scales, _ = single
    for k in range(min(entries, len(shared))):
        vector[k] = right[k, lane]
    if entries <= len(shared):
        _set_scales(scales, shared)
        _dual_solution(kept, scales, vector, entries, x)
    else:
        for k in range(len(x)):
            x[k] = vector[k]


@jit
def _interleave(systems, size, lines, diagonal):  # type: ignore[no-untyped-def]
    """The upper triangles, entry by entry side by side; the diagonals also apart."""
    for i in range(size):
        for at in range(i * size + i, i * size + size):
            line = lines[at]
            for lane in range(LANES):
                line[lane] = systems[lane, at]
        for lane in range(LANES):
            diagonal[i, lane] = systems[lane, i * size + i]


# Of a factor U in lines, the diagonal holds the reciprocals: a division is slower than all else.


@jit
def _factor_lines(lines, size):  # type: ignore[no-untyped-def]
    """Cholesky factors U of A = U'U in place; NaN or infinity in the lanes that have none."""
    start, width = lines.ctypes.data, LANES * lines.itemsize
    for first in range(0, size, PANEL):
        for k in range(first, first + PANEL):
            _scale_line(lines[k * size + k : k * size + size])
            for i in range(k + 1, first + PANEL):
                above = start + (k * size + i) * width
                out = start + (i * size + i) * width
                subtract_one(out, 1, size - i, above, 0, above, 0, 1)
        for i in range(first + PANEL, size):
            above = start + (first * size + i) * width
            out = start + (i * size + i) * width
            subtract_panel(out, 1, size - i, above, size, above, size, 1)


@jit
def _scale_line(row):  # type: ignore[no-untyped-def]
    """Divide by the root of the pivot, which is the first."""
    pivot = row[0]
    for lane in range(LANES):
        pivot[lane] = np.float32(1) / np.sqrt(pivot[lane])
    for line in row[1:]:
        for lane in range(LANES):
            line[lane] *= pivot[lane]


@jit
def _substitute_lines(lines, size, right):  # type: ignore[no-untyped-def]
    """Overwrite v with U^-1 U'^-1 v."""
    start, v, width = lines.ctypes.data, right.ctypes.data, LANES * lines.itemsize
    for first in range(0, size, PANEL):
        last = first + PANEL
        for k in range(first, last):
            _multiply(right[k], lines[k * size + k])
            row = start + (k * size + k + 1) * width
            subtract_one(v + (k + 1) * width, 1, last - k - 1, v + k * width, 0, row, 0, 1)
        panel, here = start + (first * size + last) * width, v + first * width
        subtract_panel(v + last * width, 1, size - last, here, 1, panel, size, 1)
    for first in range(size - PANEL, -1, -PANEL):
        here = v + first * width
        for k in range(first + PANEL - 1, first - 1, -1):
            _multiply(right[k], lines[k * size + k])
            column = start + (first * size + k) * width
            subtract_one(here, 1, k - first, v + k * width, 0, column, 0, size)
        subtract_panel(v, 1, first, here, 1, start + first * width, 1, size)


@jit
def _multiply(line, other):  # type: ignore[no-untyped-def]
    for lane in range(LANES):
        line[lane] *= other[lane]


@jit
def _carried(lines, diagonal, size, lane, own):  # type: ignore[no-untyped-def]
    """Whether single precision was enough for the lane's own part of the system."""
    for k in range(own):
        reciprocal = np.float64(lines[k * size + k, lane])
        if not _LEAST_PIVOT_SINGLE * diagonal[k, lane] * reciprocal * reciprocal < 1.0:
            return False
    return True


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
def _set_scales(scales, shared):  # type: ignore[no-untyped-def]
    for k in range(len(shared)):
        scales[k] = 1.0 / np.sqrt(shared[k])


@jit
def _dual_system(cols, a, b, fixed, shared, rows, scales, into, blas):  # type: ignore[no-untyped-def]
    """Add V V' to the identity, and set the right side; V stays in `rows`."""
    system, stride, right = into
    _set_scales(scales, shared)
    _gather(rows, fixed, cols, a, scales, 0, len(cols))
    _add_symmetric(system, stride, rows, rows, len(cols), len(shared), True, blas)
    for i in range(len(cols)):
        right[i] = b[i] / np.sqrt(a[i]) if a[i] > 0.0 else 0.0


@jit
def _dual_solution(rows, scales, weights, size, x):  # type: ignore[no-untyped-def]
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
def _primal_system(cols, a, b, fixed, shared, rows, scales, into, blas):  # type: ignore[no-untyped-def]
    """Put A in place of the identity, and set the right side."""
    system, stride, right = into
    rank = len(shared)
    total = np.zeros(rank)
    for k in range(rank):
        scales[k] = 1.0
        system[k * stride + k] = shared[k]
    for first in range(0, len(cols), _DEPTH):
        size = min(_DEPTH, len(cols) - first)
        _gather(rows, fixed, cols, a, scales, first, size)
        _set_response(right, rows, a, b, first, size)
        for k in range(rank):
            total[k] += right[k]
        _add_symmetric(system, stride, rows, rows, rank, size, False, blas)
    for k in range(rank):
        right[k] = total[k]


@jit
def _set_response(right, rows, a, b, first, size):  # type: ignore[no-untyped-def]
    """The sum of b_j y_j over gathered rows."""
    rank = rows.shape[1]
    for k in range(rank):
        right[k] = 0.0
    for i in range(size):
        response = b[first + i] / np.sqrt(a[first + i]) if a[first + i] > 0.0 else np.float32(0)
        for k in range(rank):
            right[k] += response * rows[i, k]


@jit
def _dual(cols, a, b, fixed, shared, work, x, least):  # type: ignore[no-untyped-def]
    rows, system, vector, scales, blas = work
    size = len(cols)
    _set_identity(system, size)
    _dual_system(cols, a, b, fixed, shared, rows, scales, (system, size, vector), blas)
    if not _solve_system(system, size, vector, blas, least):
        return False
    _dual_solution(rows, scales, vector, size, x)
    return True


@jit
def _primal(cols, a, b, fixed, shared, work, x):  # type: ignore[no-untyped-def]
    rows, system, vector, scales, blas = work
    rank = len(x)
    _set_identity(system, rank)
    _primal_system(cols, a, b, fixed, shared, rows, scales, (system, rank, vector), blas)
    if not _solve_system(system, rank, vector, blas, _LEAST_PIVOT_SINGLE):
        return False
    for k in range(rank):
        x[k] = vector[k]
    return True


@jit
def _general(cols, a, b, fixed, shared, work, x, jitter):  # type: ignore[no-untyped-def]
    """The primal form for weights of any sign, in double precision."""
    rows, system, vector, _, blas = work
    rank = len(x)
    weighted = np.empty((min(len(cols), _DEPTH), rank))
    _set_identity(system, rank)
    for k in range(rank):
        system[k * rank + k] = shared[k]
        vector[k] = 0.0
    for first in range(0, len(cols), _DEPTH):
        size = min(_DEPTH, len(cols) - first)
        for i in range(size):
            weight, response = np.float64(a[first + i]), np.float64(b[first + i])
            for k in range(rank):
                rows[i, k] = fixed[cols[first + i], k]
                weighted[i, k] = weight * rows[i, k]
                vector[k] += response * rows[i, k]
        _add_symmetric(system, rank, rows, weighted, rank, size, False, blas)
    mean = 0.0
    for k in range(rank):
        mean += system[k * rank + k] / rank
    for k in range(rank):
        system[k * rank + k] += jitter * mean
    if not _solve_system(system, rank, vector, blas, _LEAST_PIVOT_DOUBLE):
        return False
    for k in range(rank):
        x[k] = vector[k]
    return True


@jit
def _add_symmetric(system, stride, left, right, size, depth, inner, blas):  # type: ignore[no-untyped-def]
    """Add left right' if `inner`, or left' right, known to be symmetric; its upper triangle.

    size: of the sum, whose rows are `stride` apart in `system`. depth: of each product.
    """
    width, along = left.itemsize, left.shape[1]
    step, deeper = (along, 1) if inner else (1, along)
    for i in range(0, size, _TILE):
        for j in range(i, size, _TILE):
            for first in range(0, depth, _DEPTH):
                _gemm(
                    inner, min(_TILE, size - j), min(_TILE, size - i), min(_DEPTH, depth - first),
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
def _solve_system(system, size, vector, blas, least):  # type: ignore[no-untyped-def]
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


@jit
def _set_identity(system, size):  # type: ignore[no-untyped-def]
    """The upper triangle of the identity."""
    for i in range(size):
        row = system[i * size + i : i * size + size]
        for j in range(len(row)):
            row[j] = 0.0
        row[0] = 1.0


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
        _gather_quads(rows, fixed, cols, a, scales, first, size)
        _set_response(right, rows, a, b, first, size)
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
def _gather_quads(rows, fixed, cols, a, scales, first, size):  # type: ignore[no-untyped-def]
    """Gather, and rows of zeros up to a multiple of four."""
    _gather(rows, fixed, cols, a, scales, first, size)
    for i in range(size, (size + 3) // 4 * 4):
        for k in range(rows.shape[1]):
            rows[i, k] = 0.0


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
            _gather_quads(rows, fixed, cols, a, scales, first, size)
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


@jit
def _subspace(given, gram, start, first, single, double, factors, status):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, unobserved, regularization, fixed, _ = given
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
    rows, system, vector, _, blas, weighted = work
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
        _add_symmetric(system, width, rows, weighted, width, size, False, blas)
    mean = 0.0
    for k in range(width):
        vector[k] = gradient[k]
        mean += system[k * width + k] / width
    for k in range(width):
        system[k * width + k] += jitter * mean
    if not _solve_system(system, width, vector, blas, least):
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
def _add_losses(given, factors, sums):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, unobserved, _, fixed, weights = given
    for row in range(len(indptr) - 1):
        x = factors[row]
        for i in range(indptr[row], indptr[row + 1]):
            y, prediction = fixed[cols[i]], np.float32(0)
            for k in range(len(x)):
                prediction += y[k] * x[k]
            shadow = unobserved[row] * (weights[cols[i]] if len(weights) else 1.0)
            weight = shadow + a[i]
            target = b[i] / weight if weight != 0.0 else 0.0
            sums[0] += weight * (prediction - target) ** 2
            sums[1] += shadow * np.float64(prediction) ** 2


@jit
def _nonnegative(given, gram, factors, status):  # type: ignore[no-untyped-def]
    indptr, cols, a, b, unobserved, regularization, fixed, _ = given
    rank = fixed.shape[1]
    left, right = np.empty((rank, rank)), np.empty(rank)
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
            factors[row, k] = right[k]


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
