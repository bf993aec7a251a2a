"""Ranking metrics of one user's list against what the user really chose, at several cut-offs.

R = relevant items of the user; g = gain of an item, its value in the truth, at least 0; a list
shorter than k counts as filled with misses.

metric            definition at cut-off k
precision         hits / k
recall            hits / R
recall_min        hits / min(k, R)
f1                2 hits / (k + R), the harmonic mean of precision and recall
hit_rate          1 if there is a hit, else 0
mrr               1 / rank of the first hit, 0 without one
map               sum over hits of precision at that rank, / R
map_min           the same sum, / min(k, R)
ndcg              sum over hits of 1 / log2(rank + 1), / the same sum of a perfect list of k
ndcg_linear       with g / log2(rank + 1) in place of 1 / log2(rank + 1)
ndcg_exponential  with 2^g - 1 in place of g, where g above 30 counts as 30
r_precision       hits among the first min(k, R) / R
rbp               (1 - p) times the sum over hits of p^(rank - 1), p = 0.8

An empty list counts zero in every metric, and so does graded NDCG where no gain is above 0. A user
without relevant items has no value at all and is not averaged; callers leave such users out.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel
from recsys_spark.kernels.ragged import Coded

METRICS = (
    "precision",
    "recall",
    "recall_min",
    "f1",
    "hit_rate",
    "mrr",
    "map",
    "map_min",
    "ndcg",
    "ndcg_linear",
    "ndcg_exponential",
    "r_precision",
    "rbp",
)
PERSISTENCE = 0.8
LARGEST_GAIN = 30.0

Double = npt.NDArray[np.float64]


class _Relevant(NamedTuple):
    """Row i's items and their gains are at indptr[i]:indptr[i + 1]."""

    indptr: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    gains: Double


def ranking_metrics(
    list_indptr: npt.NDArray[np.int64],
    lists: npt.NDArray[np.int64],
    truth_indptr: npt.NDArray[np.int64],
    truth: npt.NDArray[np.int64],
    cutoffs: npt.NDArray[np.int64],
    gains: Double | None = None,
) -> Double:
    """Metrics of every user, shape (users, cut-offs, metrics) in the order of METRICS.

    lists: recommended items, best first, none twice. truth: relevant items of each user, at least
    one a user, in any order; gains: of these, by default 1; of an item that is there twice the
    larger one counts. cutoffs: ascending.
    """
    gains = np.ones(len(truth)) if gains is None else np.maximum(gains, 0.0)
    out = np.zeros((len(list_indptr) - 1, len(cutoffs), len(METRICS)))
    _metrics(Coded(list_indptr, lists), _Relevant(truth_indptr, truth, gains), cutoffs, out)
    return out


@jit
def _sorted(items, gains):  # type: ignore[no-untyped-def]
    """Each item once, ascending, its largest gain, and all of these from the largest down."""
    order = np.argsort(items)
    chosen, gain, size = items[order], gains[order], 0
    for at in range(len(order)):
        if size > 0 and chosen[at] == chosen[size - 1]:
            gain[size - 1] = max(gain[size - 1], gain[at])
        else:
            chosen[size], gain[size] = chosen[at], gain[at]
            size += 1
    return chosen[:size], gain[:size], np.sort(gain[:size])[::-1]


@kernel
def _metrics(lists, relevant, cutoffs, out):  # type: ignore[no-untyped-def]
    for user in range(len(lists.indptr) - 1):
        mine = slice(relevant.indptr[user], relevant.indptr[user + 1])
        chosen, gain, ideal = _sorted(relevant.codes[mine], relevant.gains[mine])
        ranked = lists.codes[lists.indptr[user] : lists.indptr[user + 1]]
        hits, first, precisions, persistent, first_hits, rank = 0, 0, 0.0, 0.0, 0, 0
        found, best = np.zeros(3), np.zeros(3)
        for at, k in enumerate(cutoffs):
            while rank < k:
                rank += 1
                if rank <= len(chosen):
                    _add_gains(best, ideal[rank - 1], rank)
                if rank > len(ranked):
                    continue
                place = _place(chosen, ranked[rank - 1])
                if place >= 0:
                    hits += 1
                    first = rank if first == 0 else first
                    first_hits += rank <= len(chosen)
                    precisions += hits / rank
                    persistent += (1.0 - PERSISTENCE) * PERSISTENCE ** (rank - 1)
                    _add_gains(found, gain[place], rank)
            reachable = min(k, len(chosen))
            row = out[user, at]
            row[0] = hits / k
            row[1] = hits / len(chosen)
            row[2] = hits / reachable
            row[3] = 2.0 * hits / (k + len(chosen))
            row[4] = 1.0 if hits > 0 else 0.0
            row[5] = 1.0 / first if first > 0 else 0.0
            row[6] = precisions / len(chosen)
            row[7] = precisions / reachable
            for grade in range(3):
                row[8 + grade] = found[grade] / best[grade] if best[grade] > 0.0 else 0.0
            row[11] = first_hits / len(chosen)
            row[12] = persistent


@jit
def _add_gains(sums, gain, rank):  # type: ignore[no-untyped-def]
    """Binary, linear and exponential gain of a hit, discounted by its rank."""
    discount = 1.0 / np.log2(rank + 1.0)
    sums[0] += discount
    sums[1] += gain * discount
    sums[2] += (2.0 ** min(gain, LARGEST_GAIN) - 1.0) * discount


@jit
def _place(ascending, value):  # type: ignore[no-untyped-def]
    """Where the value stands, or -1."""
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < len(ascending) and ascending[low] == value else -1
