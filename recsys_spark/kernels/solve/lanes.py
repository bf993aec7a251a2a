"""Sixteen small systems at once, one in every lane of the processor's vectors.

A small Cholesky factorisation spends its time in short loops. Where the same entry of sixteen
systems stands side by side, as a line of one array, every loop over the lanes is one vector
operation however short the rows are. The compiler does not find this by itself, because it cannot
tell that the lines do not overlap; so the innermost loop is handed to it in its own language.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from recsys_spark.kernels.jit import jit

LANES = 16
PANEL = 8

_LINE = ir.VectorType(ir.FloatType(), LANES)
_INTEGER = ir.IntType(64)
_BYTES = ir.Constant(_INTEGER, 4 * LANES)
_FUSED = ("contract",)


def empty_lines(count: int) -> npt.NDArray[np.float32]:
    """(count, LANES) uninitialised, each line within one line of the cache."""
    memory = np.empty((count + 1) * LANES, np.float32)
    skipped = -memory.ctypes.data // memory.itemsize % LANES
    return memory[skipped : skipped + count * LANES].reshape(count, LANES)


def _subtract(depth: int) -> Any:
    """Lines out[j] -= sum over q < depth of one[q] * other[q, j], for j < count.

    Arrays are given as the address of their first line, and steps in lines: those of `out` and
    `other` from j to j + 1, those of `one` and `other` from q to q + 1.
    """

    @intrinsic
    def subtract(context, out, out_j, count, one, one_q, other, other_q, other_j):  # type: ignore[no-untyped-def]
        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            out, out_j, count, one, one_q, other, other_q, other_j = arguments

            def line(base: Any, step: Any, number: Any) -> Any:
                moved = builder.mul(builder.mul(step, number), _BYTES)
                return builder.inttoptr(builder.add(base, moved), _LINE.as_pointer())

            orders = [ir.Constant(_INTEGER, q) for q in range(depth)]
            held = [builder.load(line(one, one_q, q), align=4) for q in orders]
            with cgutils.for_range(builder, count) as loop:
                target = line(out, out_j, loop.index)
                row = builder.add(other, builder.mul(builder.mul(other_j, loop.index), _BYTES))
                total = builder.load(target, align=4)
                for q, factor in zip(orders, held, strict=True):
                    along = builder.load(line(row, other_q, q), align=4)
                    product = builder.fmul(factor, along, flags=_FUSED)
                    total = builder.fsub(total, product, flags=_FUSED)
                builder.store(total, target, align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 8), code

    return subtract


subtract_one, subtract_panel = _subtract(1), _subtract(PANEL)


@jit
def interleave(systems, size, lines, diagonal):  # type: ignore[no-untyped-def]
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
def factor_lines(lines, size):  # type: ignore[no-untyped-def]
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
def substitute_lines(lines, size, right):  # type: ignore[no-untyped-def]
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
