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
from numba import types

from recsys_spark.kernels.jit import jit
from recsys_spark.kernels.numba_internals import (
    BIT,
    INT32,
    INT64,
    SINGLE,
    constant,
    cpu_features,
    fetch_early,
    for_range,
    inlined,
    square_root,
    undefined,
    variable,
    vector,
)

_WIDE = "+avx512f" in cpu_features()  # 32 registers of 16 numbers
LINE = 16 if _WIDE else 8
_MOST = 4 if _WIDE else 2  # lines of a tile
_HEIGHTS = {1: LINE, 2: LINE // 2, 4: LINE // 4}  # of a tile, by its number of lines

_LINE = vector(SINGLE, LINE)
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
    moved = builder.add(base, constant(INT64, size * place))
    return builder.inttoptr(moved, kind.as_pointer())


def _row(builder: Any, base: Any, step: Any, number: int) -> Any:
    return builder.add(base, builder.mul(step, constant(INT64, number)))


def _spread(builder: Any, number: Any) -> Any:
    """A line of one number, repeated."""
    none = undefined(_LINE)
    first = builder.insert_element(none, number, constant(INT32, 0))
    return builder.shuffle_vector(first, none, _lanes([0] * LINE))


def _outer_tile(lines: int, subtract: bool) -> Any:
    """Rows out[i] +- sum over t < count of one[t, i] other[t], i < height, of so many lines."""

    @inlined()
    def add(builder: Any, out: Any, one: Any, other: Any, step: Any, count: Any) -> None:
        zero = constant(_LINE, [0.0] * LINE)
        tile = [[variable(builder, zero) for _ in range(lines)] for _ in range(_HEIGHTS[lines])]
        with for_range(builder, count) as index:
            moved = builder.mul(step, index)
            left, right = builder.add(one, moved), builder.add(other, moved)
            held = [builder.load(_at(builder, right, place, _LINE)) for place in range(lines)]
            for i, sums in enumerate(tile):
                factor = _spread(builder, builder.load(_at(builder, left, i, SINGLE)))
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


@inlined(types.boolean)
def factor_tile(builder: Any, tile: Any, step: Any, limits: Any) -> Any:
    """The factor U of U'U in place of the LINE rows of a tile, and U' below its diagonal.

    On the diagonal are the reciprocals: a division is slower than all else. False if a squared
    pivot is not above its limit, of which there is one for each row.
    """
    rows = _rows(builder, tile, step)
    lines = [builder.load(row) for row in rows]
    one, good = constant(SINGLE, 1.0), constant(BIT, True)
    for k in range(LINE):
        pivot = builder.extract_element(lines[k], constant(INT32, k))
        limit = builder.load(_at(builder, limits, k, SINGLE))
        good = builder.and_(good, builder.fcmp_ordered(">", pivot, limit))
        inverse = builder.fdiv(one, square_root(builder, pivot))
        line = builder.fmul(lines[k], _spread(builder, inverse))
        for i in range(k + 1, LINE):
            factor = builder.extract_element(line, constant(INT32, i))
            lines[i] = _less(builder, lines[i], factor, line)
        lines[k] = builder.insert_element(line, inverse, constant(INT32, k))
    for k, below in enumerate(_transposed(builder, lines)):
        own = _lanes([i if i < k else LINE + i for i in range(LINE)])
        builder.store(builder.shuffle_vector(below, lines[k], own), rows[k])
    return good


@inlined()
def solve_tile(builder: Any, factor: Any, tile: Any, step: Any) -> None:
    """U'^-1 of a factored tile, times one line of each of the LINE rows of another; in place."""
    rows = _rows(builder, tile, step)
    lines = [builder.load(row) for row in rows]
    for k, row in enumerate(rows):
        own = _row(builder, factor, step, k)
        number = [builder.load(_at(builder, own, i, SINGLE)) for i in range(k, LINE)]
        lines[k] = builder.fmul(lines[k], _spread(builder, number[0]))
        for i in range(k + 1, LINE):
            lines[i] = _less(builder, lines[i], number[i - k], lines[k])
        builder.store(lines[k], row)


def _less(builder: Any, line: Any, factor: Any, other: Any) -> Any:
    """line - factor other."""
    product = builder.fmul(_spread(builder, factor), other, flags=_FUSED)
    return builder.fsub(line, product, flags=_FUSED)


@inlined()
def transpose_tile(builder: Any, out: Any, tile: Any, step: Any) -> None:
    """LINE rows of one line each, as columns."""
    lines = [builder.load(row) for row in _rows(builder, tile, step)]
    for row, line in zip(_rows(builder, out, step), _transposed(builder, lines), strict=True):
        builder.store(line, row)


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
    return constant(vector(INT32, LINE), numbers)


def _substitution(columns: range) -> Any:
    """Overwrite the line v with L^-1 v, L the triangle of a factored tile."""

    @inlined()
    def substitute(builder: Any, tile: Any, step: Any, right: Any) -> None:
        place = _at(builder, right, 0, _LINE)
        rest, solved = builder.load(place), undefined(_LINE)
        rows = _rows(builder, tile, step)
        for k in columns:
            row, number = builder.load(rows[k]), constant(INT32, k)
            value = builder.extract_element(builder.fmul(rest, row), number)
            solved = builder.insert_element(solved, value, number)
            rest = _less(builder, rest, value, row)  # what is solved is not looked at again
        builder.store(solved, place)

    return substitute


substitute_down, substitute_up = _substitution(range(LINE)), _substitution(range(LINE)[::-1])


@inlined()
def prefetch(builder: Any, address: Any) -> None:
    """Ask for a line of the cache before it is needed."""
    fetch_early(builder, address)
