"""Scores by sparse rows: a user's history times an item-item matrix, and ranks of several lists."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import kernel
from recsys_spark.kernels.ragged import Ragged

Single = npt.NDArray[np.float32]


class SparseRows(NamedTuple):
    """Row j's entries are columns[indptr[j]:indptr[j + 1]], with their weights."""

    indptr: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int32]
    weights: Single


def scatter(history: Ragged, weights: Single, matrix: SparseRows, items: int, out: Single) -> None:
    """Fill out, (users, items or more), with each user's sum of weight times row.

    history: positions of rows, in an order that is the same in every block; their weights are
    parallel. Sums are in double precision, rounded once.
    """
    _scatter(history, weights, matrix, np.zeros(items), out)


@kernel
def _scatter(history, weights, matrix, sums, out):  # type: ignore[no-untyped-def]
    for user in range(len(out)):
        sums[:] = 0.0
        for entry in range(history.indptr[user], history.indptr[user + 1]):
            row, weight = history.positions[entry], np.float64(weights[entry])
            for at in range(matrix.indptr[row], matrix.indptr[row + 1]):
                sums[matrix.columns[at]] += weight * np.float64(matrix.weights[at])
        out[user, : len(sums)] = sums


def fuse(positions: npt.NDArray[np.int32], weight: float, constant: float, out: Single) -> None:
    """Add weight / (constant + rank) for every entry of the lists, (users, n), in place."""
    rows, ranks = np.nonzero(positions >= 0)
    out[rows, positions[rows, ranks]] += (weight / (constant + 1.0 + ranks)).astype(np.float32)


def add_scaled(total: Single, part: Single, scale: Single) -> Single:
    """Add part, (users, items), times scale, (users,), in place; the largest addend of each user.

    What is -inf in part adds nothing, and stays -inf in total where nothing was added before.
    """
    largest = np.zeros(len(total), dtype=np.float32)
    _add_scaled(total, part, scale, largest)
    return largest


@kernel
def _add_scaled(total, part, scale, largest):  # type: ignore[no-untyped-def]
    for user in range(len(total)):
        row, added, times, most = total[user], part[user], scale[user], np.float32(0.0)
        for item in range(len(row)):
            scored = added[item] > -np.inf
            value = added[item] * times if scored else np.float32(0.0)
            before = row[item] if row[item] > -np.inf else np.float32(0.0)
            row[item] = before + value if scored else row[item]
            most = max(most, abs(value))
        largest[user] = most


def spread(users: npt.NDArray[np.float32], covariance: npt.NDArray[np.float64]) -> Single:
    """Standard deviation of every user's scores by factors, from the covariance of the items'.

    users: (users, rank). covariance: (rank, rank). Sums have one order, whatever the block.
    """
    out = np.empty(len(users), dtype=np.float64)
    _spread(users, covariance, out)
    return out.astype(np.float32)


@kernel
def _spread(users, covariance, out):  # type: ignore[no-untyped-def]
    rank = users.shape[1]
    for user in range(len(users)):
        total = 0.0
        for one in range(rank):
            along = 0.0
            for other in range(rank):
                along += covariance[one, other] * np.float64(users[user, other])
            total += along * np.float64(users[user, one])
        out[user] = np.sqrt(max(total, 0.0))


def row_spread(values: Single, items: int) -> Single:
    """Standard deviation of every row's first items; sums have one order."""
    out = np.empty(len(values), dtype=np.float64)
    _row_spread(values, items, out)
    return out.astype(np.float32)


@kernel
def _row_spread(values, items, out):  # type: ignore[no-untyped-def]
    for user in range(len(values)):
        total, squares = 0.0, 0.0
        for item in range(items):
            value = np.float64(values[user, item])
            total += value
            squares += value * value
        mean = total / max(items, 1)
        out[user] = np.sqrt(max(squares / max(items, 1) - mean * mean, 0.0))
