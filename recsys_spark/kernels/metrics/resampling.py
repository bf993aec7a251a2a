"""Resamples of users: weights and signs as a function of (seed, user), on any partitioning.

The same user has the same weights in every metric, model and run, so that differences between
models are resampled in pairs.
"""

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import kernel
from recsys_spark.kernels.random import random_bits

_WEIGHTS, _SIGNS = 1, 2  # streams of random numbers
_PER_WORD = 4
_VALUES = 2**16
_LEVELS = (0.025, 0.975)


def poisson_weights(
    seed: int, users: npt.NDArray[np.int64], resamples: int
) -> npt.NDArray[np.float64]:
    """How often each user is in each resample, (users, resamples): Poisson numbers of mean 1.

    The Poisson bootstrap, which needs no pass to count the users first (Chamandy, Muralidharan,
    Najmi, Naidu: "Estimating Uncertainty for Massive Data Streams", 2012). Each number is drawn
    with 16 bits, so that its mean is 1 to within one part in 30,000.
    """
    words = _short_words(seed, _WEIGHTS, users, resamples)
    weights = np.empty(words.shape)
    _look_up(_poisson_table(), words, weights)
    return weights


def random_signs(
    seed: int, users: npt.NDArray[np.int64], resamples: int
) -> npt.NDArray[np.float64]:
    """1 or -1 for each user in each resample, (users, resamples), both as likely."""
    words = _short_words(seed, _SIGNS, users, resamples)
    signs = np.empty(words.shape)
    _sign(words, signs)
    return signs


def _short_words(
    seed: int, stream: int, users: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.uint16]:
    words = random_bits(seed, stream, users, -(-count // _PER_WORD))
    return words.view(np.uint16)[:, :count]


@kernel
def _look_up(table, words, out):  # type: ignore[no-untyped-def]
    for row in range(len(words)):
        for column in range(words.shape[1]):
            out[row, column] = table[words[row, column]]


@kernel
def _sign(words, out):  # type: ignore[no-untyped-def]
    for row in range(len(words)):
        for column in range(words.shape[1]):
            out[row, column] = 1.0 - 2.0 * np.float64(words[row, column] & np.uint16(1))


@cache
def _poisson_table() -> npt.NDArray[np.uint8]:
    """The inverse of the distribution function, at the middles of equal steps."""
    probabilities = [math.exp(-1.0)]
    for n in range(1, 12):
        probabilities.append(probabilities[-1] / n)
    steps = (np.arange(_VALUES) + 0.5) / _VALUES
    return np.searchsorted(np.cumsum(probabilities), steps).astype(np.uint8)


def rounded_sums(values: npt.NDArray[np.float64], scale: float) -> npt.NDArray[np.int64]:
    """Sums over users, of shape (users, ...), each value times `scale` and rounded; NaN is 0."""
    flat = np.ascontiguousarray(values).reshape(len(values), math.prod(values.shape[1:]))
    sums = np.zeros(flat.shape[1], dtype=np.int64)
    _add_rounded(flat, scale, sums)
    return sums.reshape(values.shape[1:])


@kernel
def _add_rounded(values, scale, sums):  # type: ignore[no-untyped-def]
    for row in range(len(values)):
        for column in range(values.shape[1]):
            value = values[row, column]
            sums[column] += np.int64(np.rint((value if value == value else 0.0) * scale))


def limits(
    sums: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Limits of the 95 % interval of each mean, (2, metrics), from its resamples.

    sums, weights: (resamples, metrics); a resample without weight does not count. NaN without
    resamples.
    """
    out = np.full((2, sums.shape[1]), np.nan)
    for metric in range(sums.shape[1]):
        kept = weights[:, metric] > 0
        if kept.any():
            means = sums[kept, metric] / weights[kept, metric]
            out[:, metric] = np.quantile(means, _LEVELS)
    return out
