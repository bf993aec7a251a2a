"""Exact solutions of rows with small systems, as many at once as a vector has lanes."""

import numpy as np

from recsys_spark.kernels.jit import jit
from recsys_spark.kernels.solve.exact import (
    dual_solution,
    dual_system,
    primal_system,
    set_scales,
)
from recsys_spark.kernels.solve.lanes import (
    LANES,
    PANEL,
    empty_lines,
    factor_lines,
    interleave,
    substitute_lines,
)
from recsys_spark.kernels.solve.systems import (
    LEAST_PIVOT_SINGLE,
    Arrays,
    any_nonzero,
    has_roots,
    set_identity,
    set_shared_part,
)

_LARGEST = 128  # size of the largest systems that are solved in lanes
_APART = 80  # numbers between two systems, so that their entries do not share lines of the cache


def lane_workspace(rank: int) -> Arrays:
    """Systems one after another and side by side; a right side, a diagonal; gathered rows."""
    size = -(-min(rank, _LARGEST) // PANEL) * PANEL
    systems = np.empty((LANES, size * size + _APART), np.float32)
    lines = (empty_lines(count) for count in (size * size, size, size))
    return systems, *lines, np.empty((LANES, size, rank), np.float32)


@jit
def solve_side_by_side(given, by_size, eigenvalues, shared, single, lanes, factors, done):  # type: ignore[no-untyped-def]
    """Solve the rows with small systems, LANES of about one size at a time; `done` says which.

    Rows that single precision does not carry are left; so are those without regularisation.
    """
    indptr, _, a, b, unobserved, regularization, fixed, _ = given
    group, count = np.empty(LANES, np.int64), 0
    for row in by_size:
        first, last = indptr[row], indptr[row + 1]
        if min(last - first, fixed.shape[1]) > _LARGEST:
            break
        if not (regularization[row] > 0.0 and unobserved[row] >= 0.0):
            continue
        if any_nonzero(b[first:last]) and has_roots(a[first:last], b[first:last]):
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
        set_shared_part(shared, eigenvalues, given[4][row], given[5][row])
        _set_lane(lane, row, given, shared, single, systems[lane], size, right, kept[lane])
    interleave(systems, size, lines, diagonal)
    factor_lines(lines, size)
    substitute_lines(lines, size, right)
    for lane in range(len(group)):
        row = group[lane]
        entries = indptr[row + 1] - indptr[row]
        if _carried(lines, diagonal, size, lane, min(entries, rank)):
            set_shared_part(shared, eigenvalues, given[4][row], given[5][row])
            _get_lane(lane, entries, shared, single, right, kept[lane], factors[row])
            done[row] = True


@jit
def _set_empty(systems, right, size):  # type: ignore[no-untyped-def]
    """What is not used by a row stays the identity."""
    for lane in range(LANES):
        set_identity(systems[lane], size)
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
        dual_system(entries, extra, target, fixed, shared, kept, scales, into, blas)
    else:
        primal_system(entries, extra, target, fixed, shared, rows, scales, into, blas)
    for k in range(min(len(entries), len(shared))):
        right[k, lane] = vector[k]


@jit
def _get_lane(lane, entries, shared, single, right, kept, x):  # type: ignore[no-untyped-def]
    _, _, vector, scales, _ = single
    for k in range(min(entries, len(shared))):
        vector[k] = right[k, lane]
    if entries <= len(shared):
        set_scales(scales, shared)
        dual_solution(kept, scales, vector, entries, x)
    else:
        for k in range(len(x)):
            x[k] = vector[k]


@jit
def _carried(lines, diagonal, size, lane, own):  # type: ignore[no-untyped-def]
    """Whether single precision was enough for the lane's own part of the system."""
    for k in range(own):
        reciprocal = np.float64(lines[k * size + k, lane])
        if not LEAST_PIVOT_SINGLE * diagonal[k, lane] * reciprocal * reciprocal < 1.0:
            return False
    return True
