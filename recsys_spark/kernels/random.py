"""Random numbers as a function of (seed, stream, id, position): the same on any partitioning.

A counter-based generator: the finaliser of SplitMix64 (Steele, Lea, Flood 2014) over the mixed
counters, so that any element can be computed alone, anywhere, in any order.
"""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def random_bits(
    seed: int, stream: int, ids: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.uint64]:
    """64 random bits each, shape (len(ids), count); streams are independent of each other."""
    out = np.empty((len(ids), count), dtype=np.uint64)
    _fill(np.uint64(seed & 0xFFFFFFFFFFFFFFFF), np.uint64(stream), ids.astype(np.uint64), out)
    return out


@kernel
def _fill(seed, stream, ids, out):  # type: ignore[no-untyped-def]
    key = _mix(_mix(seed + _GOLDEN) + (stream + np.uint64(1)) * _GOLDEN)
    for row in range(len(ids)):
        start = _mix(ids[row] * _GOLDEN + key)
        for column in range(out.shape[1]):
            out[row, column] = _mix(start + np.uint64(column + 1) * _GOLDEN)


@jit
def _mix(x):  # type: ignore[no-untyped-def]
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(
    seed: int, stream: int, ids: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """Numbers in (0, 1), shape (len(ids), count)."""
    bits = random_bits(seed, stream, ids, count)
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(
    seed: int, stream: int, ids: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """Standard normal numbers, shape (len(ids), count), by the Box-Muller transform."""
    pairs = (count + 1) // 2
    u = uniform(seed, stream, ids, 2 * pairs)
    radius = np.sqrt(-2.0 * np.log(u[:, :pairs]))
    angle = 2.0 * np.pi * u[:, pairs:]
    return np.hstack([radius * np.cos(angle), radius * np.sin(angle)])[:, :count]
