"""Where relevant items stand among all candidates: area under the ROC curve, percentile rank.

Candidates are the items with a score that are not left out; negatives those of them that are not
relevant. A relevant item that is no candidate counts as below all of them.

metric           definition; ties count half
auc              mean over relevant items of the share of negatives scored below
partial_auc      area below the ROC curve up to a false positive rate of 0.1, / 0.1
percentile_rank  mean over relevant items of the share of other candidates scored above
                 (Hu, Koren, Volinsky 2008, equation 8, each row by itself): 0 the best, 0.5 chance

Users without negatives have no value (NaN).
"""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn import rounding_bound, row_norms, score

PLACES = ("auc", "partial_auc", "percentile_rank")
FALSE_POSITIVES = 0.1
CELLS = 4_000_000  # scores of a tile
_ITEMS = 64

_Whole = npt.NDArray[np.int64]
_Single = npt.NDArray[np.float32]


def pad_items(factors: _Single) -> _Single:
    """The item matrix padded with zeros for `place_metrics`: (items, rank) to (padded, rank)."""
    padded = -(-max(len(factors), 1) // _ITEMS) * _ITEMS
    out = np.zeros((padded, factors.shape[1]), dtype=np.float32)
    out[: len(factors)] = factors
    return out


def place_metrics(
    users: _Single, items: _Single, candidates: npt.NDArray[np.bool_], seen: Ragged, truth: Ragged
) -> npt.NDArray[np.float64]:
    """Metrics of every user, shape (users, metrics) in the order of PLACES.

    users: (users, rank). items: from `pad_items`. candidates: (items,) which have a score. seen:
    positions left out. truth: distinct relevant positions, -1 for those outside the catalogue.
    """
    out = np.full((len(users), len(PLACES)), np.nan)
    height = max(1, CELLS // len(items))
    users = np.ascontiguousarray(users, dtype=np.float32)
    slack = rounding_bound(users, row_norms(items).max())
    for start in range(0, len(users), height):
        rows = slice(start, min(start + height, len(users)))
        tile = users[rows] @ items.T
        _place(tile, users[rows], items, 2 * slack[rows], candidates, start, seen, truth, out[rows])
    return out


@kernel
def _place(tile, users, items, slack, candidates, start, seen, truth, out):  # type: ignore[no-untyped-def]
    """Single-precision products decide where they differ by more than their rounding may."""
    size = len(candidates)
    kinds = np.zeros(size, dtype=np.int8)  # 0 no candidate, 1 negative, 2 relevant candidate
    for user in range(len(tile)):
        kinds[:] = candidates
        for entry in range(seen.indptr[start + user], seen.indptr[start + user + 1]):
            kinds[seen.positions[entry]] = 0
        relevant = truth.positions[truth.indptr[start + user] : truth.indptr[start + user + 1]]
        scores = np.empty(len(relevant), dtype=np.float32)
        placed = 0
        for item in relevant:
            if item >= 0 and kinds[item] == 1:
                kinds[item] = 2
                scores[placed] = score(users[user], items[item])
                placed += 1
        scores = np.sort(scores[:placed])
        above, equal = np.zeros(placed + 1), np.zeros(placed + 1)
        negatives = 0
        for item in range(size):
            if kinds[item] == 1:
                negatives += 1
                _count(
                    tile[user, item], users[user], items[item], slack[user], scores, above, equal
                )
        if negatives > 0 and len(relevant) > 0:
            _summarise(scores, above, equal, negatives, len(relevant), out[user])


@jit
def _count(value, user, item, slack, scores, above, equal):  # type: ignore[no-untyped-def]
    """Note a negative: above[j] more of the first j scores below it, and those equal to it."""
    low = np.searchsorted(scores, value)
    near = (low < len(scores) and scores[low] - value <= slack) or (
        low > 0 and value - scores[low - 1] <= slack
    )
    if near:
        value = score(user, item)
        low = np.searchsorted(scores, value)
    above[low] += 1
    high = low
    while high < len(scores) and scores[high] == value:
        equal[high] += 1
        high += 1


@jit
def _summarise(scores, above, equal, negatives, relevant, out):  # type: ignore[no-untyped-def]
    placed = len(scores)
    reach = FALSE_POSITIVES * negatives
    better, below, area, percentile = 0.0, 0.0, 0.0, 0.0
    for at in range(placed - 1, -1, -1):
        better += above[at + 1]
        below += negatives - better - equal[at] / 2.0
        area += _area(better, equal[at], reach)
        first, last = np.searchsorted(scores, scores[at]), at
        while last + 1 < placed and scores[last + 1] == scores[at]:
            last += 1
        others = placed - 1 - last + (last - first) / 2.0  # relevant ones above, ties by half
        rest = negatives + placed - 1
        percentile += (better + equal[at] / 2.0 + others) / rest if rest > 0 else 0.0
    out[0] = below / negatives / relevant
    out[1] = area / reach / relevant
    out[2] = (percentile + (relevant - placed)) / relevant


@jit
def _area(better, equal, reach):  # type: ignore[no-untyped-def]
    """Up to `reach` negatives: how many come after a relevant item, ties on a slope."""
    if reach >= better + equal:
        return reach - better - equal / 2.0
    return (reach - better) ** 2 / (2.0 * equal) if reach > better else 0.0
