"""Tiles of small symmetric systems, held in the processor's registers.

A row's system is as large as the rank: too small for BLAS and LAPACK to reach the processor's
speed, and BLAS cannot leave out half of a small tile. The compiler does not keep tiles in
registers by itself, so these loops are handed to it in its own language. Arrays are given as the
address of a number; from a row to the next it is `step` bytes. Every sum takes its terms in their
order, whatever the processor.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

from recsys_spark.kernels.jit import jit

_FEATURES = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
_WIDE = "+avx512f" in _FEATURES.split(",")  # 32 registers of 16 numbers
LINE = 16 if _WIDE else 8
_MOST = 4 if _WIDE else 2  # lines of a tile
_HEIGHTS = {1: LINE, 2: LINE // 2, 4: LINE // 4}  # of a tile, by its number of lines

_FLOAT, _INTEGER, _ORDER = ir.FloatType(), ir.IntType(64), ir.IntType(32)
_LINE = ir.VectorType(_FLOAT, LINE)
_FUSED = ("contract",)

Numbers = npt.NDArray[np.float32]


@jit
def padded(size: int) -> int:
    """The size up to a whole line."""
    return -(-size // LINE) * LINE


def zeros_in_lines(rows: int, width: int) -> Numbers:
    """(rows, width) zeros that begin with a line of the cache; width: of whole lines."""
    memory = np.zeros(rows * width + LINE, np.float32)
    skipped = -memory.ctypes.data // memory.itemsize % LINE
    return memory[skipped : skipped + rows * width].reshape(rows, width)


def _at(builder: Any, base: Any, place: int, kind: Any) -> Any:
    """A pointer to the number, or the line, that is so many of them behind the base."""
    size = 4 * (LINE if kind is _LINE else 1)
    moved = builder.add(base, ir.Constant(_INTEGER, size * place))
    return builder.inttoptr(moved, kind.as_pointer())


def _row(builder: Any, base: Any, step: Any, number: int) -> Any:
    return builder.add(base, builder.mul(step, ir.Constant(_INTEGER, number)))


def _spread(builder: Any, number: Any) -> Any:
    """A line of one number, repeated."""
    none = ir.Constant(_LINE, ir.Undefined)
    first = builder.insert_element(none, number, ir.Constant(_ORDER, 0))
    return builder.shuffle_vector(first, none, _lanes([0] * LINE))


def _outer_tile(lines: int, subtract: bool) -> Any:
    """Rows out[i] +- sum over t < count of one[t, i] other[t], i < height, of so many lines."""

    @intrinsic
    def add(context, out, one, other, step, count):  # type: ignore[no-untyped-def]
        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            out, one, other, step, count = arguments
            zero = ir.Constant(_LINE, [0.0] * LINE)
            tile = [
                [cgutils.alloca_once_value(builder, zero) for _ in range(lines)]
                for _ in range(_HEIGHTS[lines])
            ]
            with cgutils.for_range(builder, count) as loop:
                moved = builder.mul(step, loop.index)
                left, right = builder.add(one, moved), builder.add(other, moved)
                held = [builder.load(_at(builder, right, place, _LINE)) for place in range(lines)]
                for i, sums in enumerate(tile):
                    factor = _spread(builder, builder.load(_at(builder, left, i, _FLOAT)))
                    for total, line in zip(sums, held, strict=True):
                        product = builder.fmul(factor, line, flags=_FUSED)
                        added = builder.fadd(builder.load(total), product, flags=_FUSED)
                        builder.store(added, total)
            join = builder.fsub if subtract else builder.fadd
            for i, sums in enumerate(tile):
                row = _row(builder, out, step, i)
                for place, total in enumerate(sums):
                    target = _at(builder, row, place, _LINE)
                    builder.store(join(builder.load(target), builder.load(total)), target)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), code

    return add


def _outer(subtract: bool) -> Callable[..., None]:
    one, two, four = (_outer_tile(lines, subtract) for lines in _HEIGHTS)
    high, higher, highest = (_HEIGHTS[lines] for lines in (4, 2, 1))

    @jit
    def over_triangle(out, rows, step, size, count):  # type: ignore[no-untyped-def]
        for top in range(0, size, LINE):
            left = top
            while left < size:
                rest = (size - left) // LINE
                tile, factors, other = out + top * step + 4 * left, rows + 4 * top, rows + 4 * left
                if rest >= 4 and _MOST == 4:
                    for i in range(0, LINE, high):
                        four(tile + i * step, factors + 4 * i, other, step, count)
                    left += 4 * LINE
                elif rest >= 2:
                    for i in range(0, LINE, higher):
                        two(tile + i * step, factors + 4 * i, other, step, count)
                    left += 2 * LINE
                else:
                    for i in range(0, LINE, highest):
                        one(tile + i * step, factors + 4 * i, other, step, count)
                    left += LINE

    return over_triangle


# The upper triangle of `out`, (size, size), in whole lines, plus or minus the sum of y y' over
# `count` rows y. What lies below the diagonal is changed within the diagonal's lines.
add_outer, subtract_outer = _outer(subtract=False), _outer(subtract=True)


@intrinsic
def factor_tile(context, tile, step, limits):  # type: ignore[no-untyped-def]
    """The factor U of U'U in place of the LINE rows of a tile, and U' below its diagonal.

    On the diagonal are the reciprocals: a division is slower than all else. False if a squared
    pivot is not above its limit, of which there is one for each row.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        tile, step, limits = arguments
        rows = _rows(builder, tile, step)
        lines = [builder.load(row) for row in rows]
        root = builder.module.declare_intrinsic("llvm.sqrt", [_FLOAT])
        one, good = ir.Constant(_FLOAT, 1.0), ir.Constant(ir.IntType(1), True)
        for k in range(LINE):
            pivot = builder.extract_element(lines[k], ir.Constant(_ORDER, k))
            limit = builder.load(_at(builder, limits, k, _FLOAT))
            good = builder.and_(good, builder.fcmp_ordered(">", pivot, limit))
            inverse = builder.fdiv(one, builder.call(root, [pivot]))
            line = builder.fmul(lines[k], _spread(builder, inverse))
            for i in range(k + 1, LINE):
                factor = builder.extract_element(line, ir.Constant(_ORDER, i))
                lines[i] = _less(builder, lines[i], factor, line)
            lines[k] = builder.insert_element(line, inverse, ir.Constant(_ORDER, k))
        for k, below in enumerate(_transposed(builder, lines)):
            own = _lanes([i if i < k else LINE + i for i in range(LINE)])
            builder.store(builder.shuffle_vector(below, lines[k], own), rows[k])
        return good

    return types.boolean(*[types.intp] * 3), code


@intrinsic
def solve_tile(context, factor, tile, step):  # type: ignore[no-untyped-def]
    """U'^-1 of a factored tile, times one line of each of the LINE rows of another; in place."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        factor, tile, step = arguments
        rows = _rows(builder, tile, step)
        lines = [builder.load(row) for row in rows]
        for k, row in enumerate(rows):
            own = _row(builder, factor, step, k)
            number = [builder.load(_at(builder, own, i, _FLOAT)) for i in range(k, LINE)]
            lines[k] = builder.fmul(lines[k], _spread(builder, number[0]))
            for i in range(k + 1, LINE):
                lines[i] = _less(builder, lines[i], number[i - k], lines[k])
            builder.store(lines[k], row)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), code


def _less(builder: Any, line: Any, factor: Any, other: Any) -> Any:
    """line - factor other."""
    product = builder.fmul(_spread(builder, factor), other, flags=_FUSED)
    return builder.fsub(line, product, flags=_FUSED)


@intrinsic
def transpose_tile(context, out, tile, step):  # type: ignore[no-untyped-def]
    """LINE rows of one line each, as columns."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        out, tile, step = arguments
        lines = [builder.load(row) for row in _rows(builder, tile, step)]
        for row, line in zip(_rows(builder, out, step), _transposed(builder, lines), strict=True):
            builder.store(line, row)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), code


def _rows(builder: Any, tile: Any, step: Any) -> list[Any]:
    """Pointers to the lines of a tile."""
    return [_at(builder, _row(builder, tile, step, k), 0, _LINE) for k in range(LINE)]


def _transposed(builder: Any, lines: list[Any]) -> list[Any]:
    """Merge rows k and k + LINE / 2, number by number, until each has met all others."""
    half = LINE // 2
    merges = [_lanes([first + i // 2 + LINE * (i % 2) for i in range(LINE)]) for first in (0, half)]
    for _ in range(half.bit_length()):
        lines = [
            builder.shuffle_vector(lines[k // 2], lines[k // 2 + half], merges[k % 2])
            for k in range(LINE)
        ]
    return lines


def _lanes(numbers: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_ORDER, LINE), numbers)


def _substitution(places: range) -> Any:
    """Overwrite the line v with L^-1 v, L the triangle of a factored tile."""

    @intrinsic
    def substitute(context, tile, step, right):  # type: ignore[no-untyped-def]
        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            tile, step, right = arguments
            place = _at(builder, right, 0, _LINE)
            rest, solved = builder.load(place), ir.Constant(_LINE, ir.Undefined)
            rows = _rows(builder, tile, step)
            for k in places:
                row, number = builder.load(rows[k]), ir.Constant(_ORDER, k)
                value = builder.extract_element(builder.fmul(rest, row), number)
                solved = builder.insert_element(solved, value, number)
                rest = _less(builder, rest, value, row)  # what is solved is not looked at again
            builder.store(solved, place)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 3), code

    return substitute


substitute_down, substitute_up = _substitution(range(LINE)), _substitution(range(LINE)[::-1])


@intrinsic
def prefetch(context, address):  # type: ignore[no-untyped-def]
    """Ask for a line of the cache before it is needed."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, _ORDER, _ORDER, _ORDER])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], fnty=kind)
        hints = [ir.Constant(_ORDER, hint) for hint in (0, 3, 1)]  # to read, into every cache, data
        builder.call(function, [builder.inttoptr(arguments[0], pointer), *hints])
        return context.get_dummy_value()

    return types.void(types.intp), code
