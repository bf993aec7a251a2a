"""Small symmetric systems in registers, beside NumPy and SciPy; also without wide registers."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg

from recsys_spark.kernels.als.solve import tiles
from recsys_spark.kernels.als.solve.cholesky import solve_cholesky
from recsys_spark.kernels.als.solve.tiles import LINE
from recsys_spark.kernels.jit import kernel

SIZES = [LINE * lines for lines in (1, 2, 3, 4, 5, 7, 9)]
STEPS = [0, LINE]  # what a row has beyond the size


@kernel
def add_products(out, rows, size):
    tiles.add_outer(out.ctypes.data, rows.ctypes.data, 4 * out.shape[1], size, len(rows))


@kernel
def subtract_products(out, rows, size):
    tiles.subtract_outer(out.ctypes.data, rows.ctypes.data, 4 * out.shape[1], size, len(rows))


@kernel
def solve(system, size, right, limits):
    return solve_cholesky(system, size, right, limits)


@kernel
def transpose(out, tile):
    tiles.transpose_tile(out.ctypes.data, tile.ctypes.data, 4 * tile.shape[1])


def in_lines(values, more=0):
    held = tiles.zeros_in_lines(len(values), values.shape[1] + more)
    held[:, : values.shape[1]] = values
    return held


def of_seed(seed, rows, size):
    return np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32)


@pytest.mark.parametrize("more", STEPS)
@pytest.mark.parametrize("count", [1, 2, 77])
@pytest.mark.parametrize("size", SIZES)
def test_products_are_added_to_the_upper_triangle(size, count, more):
    rows, before = of_seed(count, count, size), of_seed(1, size, size)
    product = rows.astype(np.float64).T @ rows
    for call, sign in ((add_products, 1), (subtract_products, -1)):
        out = in_lines(before, more)
        call(out, in_lines(rows, more), size)
        expected = np.triu(before + sign * product)
        np.testing.assert_allclose(np.triu(out[:, :size]), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("more", STEPS)
@pytest.mark.parametrize("size", SIZES)
def test_systems_are_solved(size, more):
    rows, right = of_seed(size, 2 * size, size), of_seed(2, 1, size)
    matrix = rows.astype(np.float64).T @ rows + np.eye(size)
    limits, x = tiles.zeros_in_lines(1, size)[0], in_lines(right)[0]
    junk = np.tril(np.full((size, size), np.nan), -1)  # what is below the diagonal does not count
    system = in_lines(np.triu(matrix) + np.where(in_a_tile(size), 0, junk), more)
    assert solve(system, size, x, limits)
    expected = scipy.linalg.solve(matrix, right[0], assume_a="pos")
    np.testing.assert_allclose(x, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def in_a_tile(size):
    """Whether an entry is in a tile of the diagonal."""
    lines = np.arange(size) // LINE
    return lines[:, None] == lines


@pytest.mark.parametrize("at", [0, LINE - 1, LINE, 3 * LINE - 1])
@pytest.mark.parametrize("pivot", [-1.0, 0.0, 0.5, np.nan])
def test_a_pivot_that_is_not_above_its_limit_is_refused(at, pivot):
    diagonal = np.ones(3 * LINE)
    limits = in_lines(0.5 * diagonal[None])[0]
    assert solve(in_lines(np.diag(diagonal)), len(diagonal), in_lines(diagonal[None])[0], limits)
    diagonal[at] = pivot
    system, right = in_lines(np.diag(diagonal)), in_lines(diagonal[None])[0]
    assert not solve(system, len(diagonal), right, limits)


def test_a_tile_is_transposed():
    tile, out = in_lines(of_seed(3, LINE, LINE), LINE), tiles.zeros_in_lines(LINE, 2 * LINE)
    transpose(out, tile)
    np.testing.assert_array_equal(out[:, :LINE], tile[:, :LINE].T)


def test_lines_begin_with_a_line_of_the_cache():
    for rows, width in ((1, LINE), (5, 3 * LINE)):
        assert tiles.zeros_in_lines(rows, width).ctypes.data % (4 * LINE) == 0


@pytest.mark.skipif(LINE == 8, reason="this processor has no wide registers: all tests were narrow")
def test_processors_without_wide_registers(process_environment, tmp_path):
    narrow = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+sse4.2"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    own = process_environment | narrow | {"NUMBA_CACHE_DIR": str(tmp_path)}
    line = [sys.executable, "-c", f"from {tiles.__name__} import LINE; assert LINE == 8"]
    subprocess.run(line, env=own, check=True)
    done = subprocess.run([*command, "-k", "not wide"], env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
