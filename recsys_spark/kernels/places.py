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
from recsys_spark.kernels.tile import (
    ItemFactors,
    Mask,
    Tile,
    exact_scores,
    factor_tile,
    leave_out,
    user_blocks,
)
from recsys_spark.kernels.topn import Single

PLACES = ("auc", "partial_auc", "percentile_rank")
FALSE_POSITIVES = 0.1
_CHUNK = 512


def place_metrics(
    users: Single, items: ItemFactors, candidates: Mask, seen: Ragged, truth: Ragged
) -> npt.NDArray[np.float64]:
    """Metrics of every user, shape (users, metrics) in the order of PLACES.

    users: (users, rank). candidates: (items,) which have a score. seen: positions left out.
    truth: distinct relevant positions, -1 for those outside the catalogue.
    """
    out = np.full((len(users), len(PLACES)), np.nan)
    for rows in user_blocks(len(users), len(candidates)):
        tile = factor_tile(users[rows], items)
        leave_out(tile.values, candidates, seen.rows(rows))
        out[rows] = full_ranking(tile, truth.rows(rows))
    return out


def full_ranking(tile: Tile, truth: Ragged) -> npt.NDArray[np.float64]:
    """The same of a tile, which is used up."""
    rows = np.repeat(np.arange(len(tile.values)), np.diff(truth.indptr))
    placed = truth.positions >= 0
    placed[placed] = tile.values[rows[placed], truth.positions[placed]] > -np.inf
    rows, positions = rows[placed], truth.positions[placed]
    in_doubt = tile.slack[rows] > 0
    scores = exact_scores(tile, rows, positions)
    tile.values[rows, positions] = -np.inf
    low, high = _limits(scores, tile.slack[rows] * tile.shares[positions])
    better, near = _counts(tile.values, rows, low, high, tile.slack, tile.shares)
    equal, near = np.where(in_doubt, 0, near), np.where(in_doubt, near, 0)
    if near.any():
        of, at = _near(tile.values, rows, low, high, near, tile.slack, tile.shares)
        exact = tile.refine(rows[of], at)
        better += np.bincount(of[exact > scores[of]], minlength=len(rows))
        equal += np.bincount(of[exact == scores[of]], minlength=len(rows))
    negatives = np.count_nonzero(tile.values > -np.inf, axis=1)
    bounds = np.searchsorted(rows, np.arange(len(tile.values) + 1))
    out = np.full((len(tile.values), len(PLACES)), np.nan)
    _summarise(bounds, scores, better, equal, negatives, np.diff(truth.indptr), out)
    return out


def _limits(scores: Single, slack: npt.NDArray[np.float64]) -> tuple[Single, Single]:
    """Between which values approximate scores of the same pairs lie, rounded outwards."""
    low, high = (scores - slack).astype(np.float32), (scores + slack).astype(np.float32)
    moved = slack > 0
    low[moved], high[moved] = np.nextafter(low[moved], -np.inf), np.nextafter(high[moved], np.inf)
    return low, high


@jit
def _bounds(row, slack, shares, least, most):  # type: ignore[no-untyped-def]
    """Between which numbers the exact scores of a row lie, rounded outwards."""
    wide, rounding = np.float32(slack * 1.000001), np.float32(2.0**-23 if slack > 0.0 else 0.0)
    for item in range(len(row)):
        own = wide * shares[item] + rounding * abs(row[item])
        least[item], most[item] = row[item] - own, row[item] + own


@kernel
def _counts(values, rows, low, high, slack, shares):  # type: ignore[no-untyped-def]
    """How many of the row are surely above `high`, and how many may be from `low` to `high`."""
    above, between = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    least = np.empty(values.shape[1], dtype=np.float32)
    most = np.empty(values.shape[1], dtype=np.float32)
    last = -1
    for at in range(len(rows)):
        if rows[at] != last:
            last = rows[at]
            _bounds(values[last], slack[last], shares, least, most)
        above[at], between[at] = _count(least, most, low[at], high[at])
    return above, between


@kernel
def _near(values, rows, low, high, near, slack, shares):  # type: ignore[no-untyped-def]
    """The positions that `_counts` has between, and the entry of `rows` that each belongs to."""
    of, positions = np.empty(near.sum(), np.int64), np.empty(near.sum(), np.int32)
    least = np.empty(values.shape[1], dtype=np.float32)
    most = np.empty(values.shape[1], dtype=np.float32)
    filled, last = 0, -1
    for at in range(len(rows)):
        if near[at] == 0:
            continue
        if rows[at] != last:
            last = rows[at]
            _bounds(values[last], slack[last], shares, least, most)
        wanted, first = filled + near[at], 0
        while filled < wanted:
            chunk = slice(first, first + _CHUNK)
            if _count(least[chunk], most[chunk], low[at], high[at])[1] > 0:
                found = positions[filled:wanted]
                inside = _inside(least[chunk], most[chunk], low[at], high[at], first, found)
                of[filled : filled + inside] = at
                filled += inside
            first += _CHUNK
    return of, positions


@jit
def _count(least, most, low, high):  # type: ignore[no-untyped-def]
    over, upto = np.int32(0), np.int32(0)  # short sums, so that vectors are long
    for item in range(len(least)):
        over = np.int32(over + np.int32(least[item] > high))
        upto = np.int32(upto + np.int32(most[item] >= low))
    return over, upto - over


@jit
def _inside(least, most, low, high, first, found):  # type: ignore[no-untyped-def]
    filled = 0
    for item in range(len(least)):
        if most[item] >= low and least[item] <= high:
            found[filled] = first + item
            filled += 1
    return filled


@kernel
def _summarise(bounds, scores, better, equal, negatives, relevant, out):  # type: ignore[no-untyped-def]
    for user in range(len(out)):
        first, last = bounds[user], bounds[user + 1]
        if negatives[user] > 0 and relevant[user] > 0:
            of_user(
                scores[first:last],
                better[first:last],
                equal[first:last],
                negatives[user],
                relevant[user],
                out[user],
            )


@jit
def of_user(scores, better, equal, negatives, relevant, out):  # type: ignore[no-untyped-def]
    """Relevant items are taken from the best downwards."""
    order = np.argsort(scores)
    ordered = scores[order]
    placed = len(scores)
    reach = FALSE_POSITIVES * negatives
    below, area, percentile = 0.0, 0.0, 0.0
    for at in range(placed - 1, -1, -1):
        over, ties = float(better[order[at]]), float(equal[order[at]])
        below += negatives - over - ties / 2.0
        area += _area(over, ties, reach)
        first, last = np.searchsorted(ordered, ordered[at]), at
        while last + 1 < placed and ordered[last + 1] == ordered[at]:
            last += 1
        others = placed - 1 - last + (last - first) / 2.0  # relevant ones above, ties by half
        rest = negatives + placed - 1
        percentile += (over + ties / 2.0 + others) / rest if rest > 0 else 0.0
    out[0] = below / negatives / relevant
    out[1] = area / reach / relevant
    out[2] = (percentile + (relevant - placed)) / relevant


@jit
def _area(better, equal, reach):  # type: ignore[no-untyped-def]
    """Up to `reach` negatives: how many come after a relevant item, ties on a slope."""
    if reach >= better + equal:
        return reach - better - equal / 2.0
    return (reach - better) ** 2 / (2.0 * equal) if reach > better else 0.0
