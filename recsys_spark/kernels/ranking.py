"""Ranking metrics of one user's list against what the user really chose, at several cut-offs.

R = relevant items of the user; a list shorter than k counts as filled with misses.

metric      definition at cut-off k
precision   hits / k
recall      hits / R
recall_min  hits / min(k, R)
hit_rate    1 if there is a hit, else 0
mrr         1 / rank of the first hit, 0 without one
map         sum over hits of precision at that rank, / min(k, R)
ndcg        sum over hits of 1 / log2(rank + 1), / the same sum of a perfect list of min(k, R)

An empty list counts zero in every metric. A user without relevant items has no value at all and
is not averaged; callers leave such users out.
"""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel

METRICS = ("precision", "recall", "recall_min", "hit_rate", "mrr", "map", "ndcg")


def ranking_metrics(
    list_indptr: npt.NDArray[np.int64],
    lists: npt.NDArray[np.int64],
    truth_indptr: npt.NDArray[np.int64],
    truth: npt.NDArray[np.int64],
    cutoffs: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Metrics of every user, shape (users, cut-offs, metrics) in the order of METRICS.

    lists: recommended items, best first. truth: distinct relevant items of each user, at least
    one a user, in any order. cutoffs: ascending.
    """
    users = np.repeat(np.arange(len(truth_indptr) - 1), np.diff(truth_indptr))
    truth = truth[np.lexsort((truth, users))]
    out = np.zeros((len(list_indptr) - 1, len(cutoffs), len(METRICS)))
    _metrics(list_indptr, lists, truth_indptr, truth, cutoffs, out)
    return out


@kernel
def _metrics(list_indptr, lists, truth_indptr, truth, cutoffs, out):  # type: ignore[no-untyped-def]
    for user in range(len(list_indptr) - 1):
        relevant = truth[truth_indptr[user] : truth_indptr[user + 1]]
        ranked = lists[list_indptr[user] : list_indptr[user + 1]]
        hits, first, precisions, gain, ideal = 0, 0, 0.0, 0.0, 0.0
        rank = 0
        for at, k in enumerate(cutoffs):
            while rank < k:
                rank += 1
                if rank <= len(relevant):
                    ideal += 1.0 / np.log2(rank + 1.0)
                if rank <= len(ranked) and _contains(relevant, ranked[rank - 1]):
                    hits += 1
                    first = rank if first == 0 else first
                    precisions += hits / rank
                    gain += 1.0 / np.log2(rank + 1.0)
            reachable = min(k, len(relevant))
            out[user, at, 0] = hits / k
            out[user, at, 1] = hits / len(relevant)
            out[user, at, 2] = hits / reachable
            out[user, at, 3] = 1.0 if hits > 0 else 0.0
            out[user, at, 4] = 1.0 / first if first > 0 else 0.0
            out[user, at, 5] = precisions / reachable
            out[user, at, 6] = gain / ideal


@jit
def _contains(ascending, value):  # type: ignore[no-untyped-def]
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < len(ascending) and ascending[low] == value
