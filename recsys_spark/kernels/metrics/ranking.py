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
Whole = npt.NDArray[np.int64]


class Relevant(NamedTuple):
    """What each user really chose, from `prepare_truth`.

    User u's items, ascending, and their gains are at starts[u]:ends[u]. best: (users, cut-offs, 3)
    sums of discounted binary, linear and exponential gains of a perfect list.
    """

    starts: Whole
    ends: Whole
    codes: Whole
    gains: Double
    best: Double


def ranking_metrics(
    list_indptr: Whole,
    lists: Whole,
    truth_indptr: Whole,
    truth: Whole,
    cutoffs: Whole,
    gains: Double | None = None,
) -> Double:
    """Metrics of every user, shape (users, cut-offs, metrics) in the order of METRICS.

    lists: recommended items, best first, none twice. truth: relevant items of each user, at least
    one a user, in any order; gains: of these, by default 1; of an item that is there twice the
    larger one counts. cutoffs: ascending.
    """
    relevant = prepare_truth(truth_indptr, truth, cutoffs, gains)
    return measure_lists(Coded(list_indptr, lists), relevant, cutoffs)[0]


def prepare_truth(
    indptr: Whole, items: Whole, cutoffs: Whole, gains: Double | None = None
) -> Relevant:
    """The relevant items of users, prepared once for the lists of several models."""
    codes = items.astype(np.int64)
    positive = np.ones(len(codes)) if gains is None else np.maximum(gains, 0.0)
    best = np.zeros((len(indptr) - 1, len(cutoffs), 3))
    relevant = Relevant(indptr[:-1], indptr[1:].copy(), codes, positive, best)
    _prepare(relevant, cutoffs)
    return relevant


def measure_lists(
    lists: Coded, relevant: Relevant, cutoffs: Whole
) -> tuple[Double, npt.NDArray[np.bool_]]:
    """The metrics of `ranking_metrics`, and which listed items up to the last cut-off are hits."""
    out = np.zeros((len(lists.indptr) - 1, len(cutoffs), len(METRICS)))
    hit = np.zeros(len(lists.codes), dtype=np.bool_)
    _metrics(lists, relevant, cutoffs, out, hit)
    return out, hit


@kernel
def _prepare(relevant, cutoffs):  # type: ignore[no-untyped-def]
    for user in range(len(relevant.starts)):
        start = relevant.starts[user]
        mine = slice(start, relevant.ends[user])
        size = _sort(relevant.codes[mine], relevant.gains[mine])
        relevant.ends[user] = start + size
        ideal = np.sort(relevant.gains[start : start + size])[::-1]
        best, rank = np.zeros(3), 0
        for at, k in enumerate(cutoffs):
            while rank < min(k, size):
                rank += 1
                _add_gains(best, ideal[rank - 1], rank)
            relevant.best[user, at] = best


@jit
def _sort(items, gains):  # type: ignore[no-untyped-def]
    """Put each item once, ascending, with its largest gain, to the front; how many there are."""
    order = np.argsort(items)
    chosen, gain, size = items[order], gains[order], 0
    for at in range(len(order)):
        if size > 0 and chosen[at] == items[size - 1]:
            gains[size - 1] = max(gains[size - 1], gain[at])
        else:
            items[size], gains[size] = chosen[at], gain[at]
            size += 1
    return size


@kernel
def _metrics(lists, relevant, cutoffs, out, hit):  # type: ignore[no-untyped-def]
    for user in range(len(lists.indptr) - 1):
        mine = slice(relevant.starts[user], relevant.ends[user])
        chosen, gain = relevant.codes[mine], relevant.gains[mine]
        listed = slice(lists.indptr[user], lists.indptr[user + 1])
        ranked, hit_of = lists.codes[listed], hit[listed]
        hits, first, precisions, persistent, first_hits, rank = 0, 0, 0.0, 0.0, 0, 0
        found = np.zeros(3)
        for at, k in enumerate(cutoffs):
            while rank < min(k, len(ranked)):
                rank += 1
                place = _place(chosen, ranked[rank - 1])
                if place >= 0:
                    hit_of[rank - 1] = True
                    hits += 1
                    first = rank if first == 0 else first
                    first_hits += rank <= len(chosen)
                    precisions += hits / rank
                    persistent += (1.0 - PERSISTENCE) * PERSISTENCE ** (rank - 1)
                    _add_gains(found, gain[place], rank)
            reachable, best = min(k, len(chosen)), relevant.best[user, at]
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
