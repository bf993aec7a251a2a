"""Top-N and full ranking where every user has the same scores: from one order of the items.

What `kernels.topn.tile` and `kernels.metrics.full_ranking` find in tiles, without computing any.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import kernel
from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS, of_user
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.inner_product import Positions, Single

Mask = npt.NDArray[np.bool_]


class StaticOrder(NamedTuple):
    """scores, scored: (items,). order: candidates, best first, then by position. ascending: the
    scores of the candidates.
    """

    scores: Single
    scored: Mask
    order: Positions
    ascending: Single


def static_order(scores: Single, scored: Mask) -> StaticOrder:
    """The items that are scored, in order."""
    candidates = np.flatnonzero(scored)
    order = candidates[np.lexsort((candidates, -scores[candidates]))].astype(np.int32)
    return StaticOrder(scores, scored, order, np.sort(scores[candidates]))


def static_lists(items: StaticOrder, seen: Ragged, n: int) -> Positions:
    """Each user's best n items that were not seen, (users, n); -1 where fewer are left."""
    positions = np.full((len(seen.indptr) - 1, n), -1, dtype=np.int32)
    _lists(items.order, seen, np.zeros(len(items.scored), dtype=np.int64), positions)
    return positions


@kernel
def _lists(order, seen, marks, positions):  # type: ignore[no-untyped-def]
    users, n = positions.shape
    for user in range(users):
        for entry in range(seen.indptr[user], seen.indptr[user + 1]):
            marks[seen.positions[entry]] = user + 1
        filled = 0
        for item in order:
            if filled == n:
                break
            if marks[item] != user + 1:
                positions[user, filled] = item
                filled += 1


def static_ranking(items: StaticOrder, seen: Ragged, truth: Ragged) -> npt.NDArray[np.float64]:
    """Metrics of every user, (users, metrics), in the order of RANK_METRICS.

    truth: distinct relevant positions, -1 for those outside the catalog.
    """
    out = np.full((len(truth.indptr) - 1, len(RANK_METRICS)), np.nan)
    _ranking(items, seen, truth, np.zeros(len(items.scored), dtype=np.int64), out)
    return out


@kernel
def _ranking(items, seen, truth, marks, out):  # type: ignore[no-untyped-def]
    size = len(items.ascending)
    for user in range(len(out)):
        mark, taken = user + 1, np.empty(
            seen.indptr[user + 1] - seen.indptr[user]
            + truth.indptr[user + 1] - truth.indptr[user], dtype=np.float32,
        )  # fmt: skip
        left = 0
        for entry in range(seen.indptr[user], seen.indptr[user + 1]):
            item = seen.positions[entry]
            if marks[item] != mark and items.scored[item]:
                taken[left] = items.scores[item]
                left += 1
            marks[item] = mark
        placed = 0
        relevant = truth.positions[truth.indptr[user] : truth.indptr[user + 1]]
        scores = np.empty(len(relevant), dtype=np.float32)
        for item in relevant:
            if item >= 0 and marks[item] != mark and items.scored[item]:
                scores[placed] = items.scores[item]
                taken[left + placed] = items.scores[item]
                placed += 1
        negatives = size - left - placed
        if negatives > 0 and len(relevant) > 0:
            better, equal = np.empty(placed, np.int64), np.empty(placed, np.int64)
            for at in range(placed):
                above = size - np.searchsorted(items.ascending, scores[at], side="right")
                ties = size - above - np.searchsorted(items.ascending, scores[at])
                for entry in range(left + placed):
                    above -= taken[entry] > scores[at]
                    ties -= taken[entry] == scores[at]
                better[at], equal[at] = above, ties
            of_user(scores[:placed], better, equal, negatives, len(relevant), out[user])
