"""Cholesky factors of small systems in single precision, tile by tile.

A system is held as rows of whole lines, of which the upper triangle counts; its size is that of
whole lines, too, and what a row does not use is the identity.
"""

from recsys_spark.kernels.als.solve.systems import dot
from recsys_spark.kernels.als.solve.tiles import (
    LINE,
    factor_tile,
    solve_tile,
    substitute_down,
    substitute_up,
    subtract_outer,
)
from recsys_spark.kernels.jit import jit


@jit
def solve_cholesky(system, size, right, limits):  # type: ignore[no-untyped-def]
    """Overwrite `right` with the solution, and the system A with the U of A = U'U.

    On U's diagonal are the reciprocals: a division is slower than all else. limits: (size,), what
    each squared pivot has to exceed; False, without a solution, if one does not.
    """
    if not _factor(system, size, limits):
        return False
    _substitute(system, size, right)
    return True


@jit
def _factor(system, size, limits):  # type: ignore[no-untyped-def]
    start, step = system.ctypes.data, 4 * system.shape[1]
    for top in range(0, size, LINE):
        panel = start + top * step
        if not factor_tile(panel + 4 * top, step, limits.ctypes.data + 4 * top):
            return False
        below = top + LINE
        for left in range(below, size, LINE):
            solve_tile(panel + 4 * top, panel + 4 * left, step)
        out = start + below * step + 4 * below
        subtract_outer(out, panel + 4 * below, step, size - below, LINE)
    return True


@jit
def _substitute(system, size, right):  # type: ignore[no-untyped-def]
    """Overwrite v with U^-1 U'^-1 v."""
    start, v, step = system.ctypes.data, right.ctypes.data, 4 * system.shape[1]
    for top in range(0, size, LINE):
        substitute_down(start + top * step + 4 * top, step, v + 4 * top)
        below = top + LINE
        for k in range(top, below):
            _subtract(right[below:size], right[k], system[k, below:size])
    for below in range(size, 0, -LINE):
        top = below - LINE
        for k in range(top, below):
            right[k] -= dot(system[k, below:size], right[below:size])
        substitute_up(start + top * step + 4 * top, step, v + 4 * top)


@jit
def _subtract(line, factor, other):  # type: ignore[no-untyped-def]
    for j in range(len(line)):
        line[j] -= factor * other[j]
