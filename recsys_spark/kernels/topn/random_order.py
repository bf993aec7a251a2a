"""Top-N and full ranking of a random baseline: every user begins a random order at a random place.

A few random orders serve all users, each from a place of its own, so that every item is as likely
at every rank, and no user costs a pass over the items.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel
from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS, of_user
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.random import random_bits
from recsys_spark.kernels.topn.inner_product import Positions, Single

_ORDERS = 8
_ITEMS, _USERS = 201, 202  # streams of random numbers

Whole = npt.NDArray[np.int64]


class Shuffled(NamedTuple):
    """orders: (orders, items), positions in each order. rank_of: (orders, items), its inverse."""

    orders: Positions
    rank_of: Positions


def shuffle(seed: int, ids: Whole) -> Shuffled:
    """Random orders of items, a function of seed and ids."""
    keys = random_bits(seed, _ITEMS, ids, _ORDERS)
    orders = np.argsort(keys, axis=0, kind="stable").T
    return Shuffled(orders.astype(np.int32), np.argsort(orders, axis=1).astype(np.int32))


def begin(seed: int, items: int, users: Whole) -> Single:
    """The order of each user and the place where it begins, (users, 2), whole numbers."""
    bits = random_bits(seed, _USERS, users, 2)
    return (bits % np.array([_ORDERS, max(items, 1)], dtype=np.uint64)).astype(np.float32)


def shuffled_scores(items: Shuffled, begun: Single) -> Single:
    """Scores that descend in the order of each user, (users, items)."""
    order, start = begun.astype(np.int64).T
    ranks = (items.rank_of[order] - start[:, None]) % max(items.orders.shape[1], 1)
    scores: Single = -ranks.astype(np.float32)
    return scores


def shuffled_lists(items: Shuffled, begun: Single, seen: Ragged, n: int) -> Positions:
    """Each user's first n items that were not seen, (users, n); -1 where fewer are left."""
    positions = np.full((len(begun), n), -1, dtype=np.int32)
    marks = np.zeros(items.orders.shape[1], dtype=np.int64)
    _lists(items.orders, begun.astype(np.int64), seen, marks, positions)
    return positions


@kernel
def _lists(orders, begun, seen, marks, positions):  # type: ignore[no-untyped-def]
    users, n = positions.shape
    for user in range(users):
        for entry in range(seen.indptr[user], seen.indptr[user + 1]):
            marks[seen.positions[entry]] = user + 1
        order, filled = orders[begun[user, 0]], 0
        for step in range(len(order)):
            if filled == n:
                break
            item = order[(begun[user, 1] + step) % len(order)]
            if marks[item] != user + 1:
                positions[user, filled] = item
                filled += 1


def shuffled_ranking(
    items: Shuffled, begun: Single, seen: Ragged, truth: Ragged
) -> npt.NDArray[np.float64]:
    """Metrics of every user, (users, metrics), in the order of RANK_METRICS.

    truth: distinct relevant positions, -1 for those outside the catalog.
    """
    out = np.full((len(begun), len(RANK_METRICS)), np.nan)
    marks = np.zeros(items.orders.shape[1], dtype=np.int64)
    _ranking(items.rank_of, begun.astype(np.int64), seen, truth, marks, out)
    return out


@kernel
def _ranking(rank_of, begun, seen, truth, marks, out):  # type: ignore[no-untyped-def]
    size = rank_of.shape[1]
    for user in range(len(out)):
        place, start, mark = rank_of[begun[user, 0]], begun[user, 1], user + 1
        taken, left = _ranks(
            place, start, seen.positions[seen.indptr[user] : seen.indptr[user + 1]], marks, mark
        )
        relevant = truth.positions[truth.indptr[user] : truth.indptr[user + 1]]
        ranks, placed = _ranks(place, start, relevant, marks, mark)
        negatives = size - left - placed
        if negatives > 0 and len(relevant) > 0:
            better = np.empty(placed, np.int64)
            for at in range(placed):
                better[at] = ranks[at]
                better[at] -= (taken[:left] < ranks[at]).sum() + (ranks[:placed] < ranks[at]).sum()
            scores, equal = -ranks[:placed].astype(np.float32), np.zeros(placed, np.int64)
            of_user(scores, better, equal, negatives, len(relevant), out[user])


@jit
def _ranks(place, start, items, marks, mark):  # type: ignore[no-untyped-def]
    """The ranks of items that have no mark yet, which they get, and how many there are."""
    ranks, found = np.empty(len(items), np.int64), 0
    for item in items:
        if item >= 0 and marks[item] != mark:
            marks[item] = mark
            ranks[found] = (place[item] - start) % len(place)
            found += 1
    return ranks, found
