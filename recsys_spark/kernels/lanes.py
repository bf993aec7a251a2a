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
