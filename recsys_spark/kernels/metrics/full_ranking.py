"""Where relevant items stand among all candidates: area under the ROC curve, percentile rank.

Candidates are the items with a score that are not left out; negatives those of them that are not
relevant. A relevant item that is no candidate counts as below all of them.

metric           definition; ties count half
auc              mean over relevant items of the share of negatives scored below
partial_auc      area below the ROC curve up to a false positive rate of 0.1, / 0.1
percentile_rank  mean over relevant items of the share of other candidates scored above
                 (Hu, Koren, Volinsky 2008, equation 8, each row by itself): 0 the best, 0.5 random

Users without negatives have no value (NaN).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.inner_product import Single
from recsys_spark.kernels.topn.tile import (
    ItemFactors,
    Mask,
    Tile,
    exact_scores,
    factor_tile,
    leave_out,
    user_blocks,
)

RANK_METRICS = ("auc", "partial_auc", "percentile_rank")
FALSE_POSITIVES = 0.1
_CHUNK, _GROUP = 256, 32  # items that are compared at once
_ABOVE, _BELOW, _UNSURE = range(3)
_STEPS, _ROOM = 32_000, 32  # of short numbers: between the limits of a row, and at either end


class _Placed(NamedTuple):
    """Relevant items that have a score, (entries,): how many negatives are above, and equal."""

    scores: Single
    better: npt.NDArray[np.int64]
    equal: npt.NDArray[np.int64]


def rank_metrics(
    users: Single, items: ItemFactors, candidates: Mask, seen: Ragged, truth: Ragged
) -> npt.NDArray[np.float64]:
    """Metrics of every user, shape (users, metrics) in the order of RANK_METRICS.

    users: (users, rank). candidates: (items,) which have a score. seen: positions left out.
    truth: distinct relevant positions, -1 for those outside the catalog.
    """
    out = np.full((len(users), len(RANK_METRICS)), np.nan)
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
    scores = exact_scores(tile, rows, positions)
    tile.values[rows, positions] = -np.inf
    low, high = _limits(scores, tile.slack[rows] * tile.shares[positions])
    better, equal, of, at = _counts(tile.values, rows, low, high, tile.slack, tile.shares)
    if len(of):
        exact = tile.refine(rows[of], at)
        better += np.bincount(of[exact > scores[of]], minlength=len(rows))
        equal += np.bincount(of[exact == scores[of]], minlength=len(rows))
    negatives = _candidates(tile.values)
    bounds = np.searchsorted(rows, np.arange(len(tile.values) + 1))
    out = np.full((len(tile.values), len(RANK_METRICS)), np.nan)
    entries = _Placed(scores, better, equal)
    _summarise(bounds, entries, negatives, np.diff(truth.indptr), out)
    return out


def _limits(scores: Single, slack: npt.NDArray[np.float64]) -> tuple[Single, Single]:
    """Between which values approximate scores of the same pairs lie, rounded outwards."""
    low, high = (scores - slack).astype(np.float32), (scores + slack).astype(np.float32)
    moved = slack > 0
    low[moved], high[moved] = np.nextafter(low[moved], -np.inf), np.nextafter(high[moved], np.inf)
    return low, high


@kernel
def _candidates(values):  # type: ignore[no-untyped-def]
    """How many of each row have a score."""
    counts = np.empty(len(values), np.int64)
    for user in range(len(values)):
        found = np.int32(0)  # a short sum, so that vectors are long
        for item in range(values.shape[1]):
            found = np.int32(found + np.int32(values[user, item] > -np.inf))
        counts[user] = found
    return counts


@kernel
def _counts(values, rows, low, high, slack, shares):  # type: ignore[no-untyped-def]
    """For each entry of `rows` how many of its row are surely above `high`, and how many equal it.

    Equal ones are counted where scores are exact; where they are not, the entries and positions of
    those that may be from `low` to `high` are returned. The row is rounded to short whole numbers
    first, of which processors compare several at once; only what is near to a limit is looked at
    again.
    """
    above, equal = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    of, positions, filled = np.empty(len(rows), np.int64), np.empty(len(rows), np.int32), 0
    short = np.empty(-(-values.shape[1] // _CHUNK) * _CHUNK, dtype=np.int16)
    short[values.shape[1] :] = -1
    near = np.empty(len(short), dtype=np.int64)
    last, bottom, step, margin = -1, np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for at in range(len(rows)):
        if rows[at] != last:
            last, end = rows[at], at
            while end < len(rows) and rows[end] == last:
                end += 1
            bottom, step, margin = _scale(low[at:end], high[at:end], slack[last])
            _shorten(values[last], bottom, step, short)
        under, over = _limits_in_steps(low[at], high[at], bottom, step, margin)
        if slack[last] == 0.0:
            above[at], equal[at] = _count_exact(values[last], short, under, over, low[at])
            continue
        above[at], found = _count_above(short, under, over, near)
        for hit in range(found):
            item = near[hit]
            where = _compare(values[last, item], shares[item], slack[last], low[at], high[at])
            above[at] += where == _ABOVE
            if where == _UNSURE:
                if filled == len(of):
                    of, positions = _longer(of), _longer(positions)
                of[filled], positions[filled] = at, item
                filled += 1
    return above, equal, of[:filled], positions[:filled]


@jit
def _count_exact(scores, short, under, over, score):  # type: ignore[no-untyped-def]
    """How many scores are above one, and how many equal it, which may be most of them."""
    above, equal = 0, 0
    for first in range(0, len(scores), _CHUNK):
        surely, upto = _count_short(short[first : first + _CHUNK], under, over)
        if upto > surely:
            surely, upto = _count(scores[first : first + _CHUNK], score)
            equal += upto - surely
        above += surely
    return above, equal


@jit
def _count(scores, score):  # type: ignore[no-untyped-def]
    over, upto = np.int32(0), np.int32(0)  # short sums, so that vectors are long
    for item in range(len(scores)):
        over = np.int32(over + np.int32(scores[item] > score))
        upto = np.int32(upto + np.int32(scores[item] >= score))
    return np.int64(over), np.int64(upto)


@jit
def _count_above(short, under, over, near):  # type: ignore[no-untyped-def]
    """How many are above `over`, and how many from `under` to it, whose positions are noted."""
    above, found = 0, 0
    for first in range(0, len(short), _CHUNK):
        chunk = short[first : first + _CHUNK]
        surely, upto = _count_short(chunk, under, over)
        above += surely
        if upto > surely:
            found = _find(chunk, under, over, first, near, found)
    return above, found


@jit
def _find(chunk, under, over, first, near, found):  # type: ignore[no-untyped-def]
    """Note the positions of those from `under` to `over`; groups without any are skipped."""
    for group in range(0, len(chunk), _GROUP):
        inside = np.int16(0)
        for item in range(group, group + _GROUP):
            inside = np.int16(
                inside + np.int16(chunk[item] >= under) - np.int16(chunk[item] > over)
            )
        if inside:
            for item in range(group, group + _GROUP):
                if under <= chunk[item] <= over:
                    near[found] = first + item
                    found += 1
    return found


@jit
def _limits_in_steps(low, high, bottom, step, margin):  # type: ignore[no-untyped-def]
    """Scores that are not from `low` to `high` are, in steps, not from the one to the other."""
    return np.int16((low - bottom) * step - margin), np.int16((high - bottom) * step + margin)


@jit
def _longer(array):  # type: ignore[no-untyped-def]
    grown = np.empty(2 * len(array), array.dtype)
    grown[: len(array)] = array
    return grown


@jit
def _scale(low, high, slack):  # type: ignore[no-untyped-def]
    """How a row is rounded: from which score on, by how many steps a unit, how far limits move.

    All limits, moved by the slack, lie within the steps, and room is left at both ends for what is
    beyond. Rounding keeps the order; single precision moves a score or limit by a hundredth step.
    """
    bottom, top, wide = low.min(), high.max(), np.float32(slack * 1.000001)
    span = max(top - bottom + np.float32(2.0) * wide, abs(top) * np.float32(1e-3))
    step = np.float32(_STEPS) / max(span, np.float32(1e-30))
    return bottom - wide - np.float32(_ROOM) / step, step, wide * step + np.float32(0.05)


@jit
def _shorten(row, bottom, step, short):  # type: ignore[no-untyped-def]
    """The row in steps from `bottom`, those outside of the limits at the ends."""
    least, most = np.float32(0.0), np.float32(_STEPS + 2 * _ROOM)
    for item in range(len(row)):
        short[item] = np.int16(min(max((row[item] - bottom) * step, least), most))


@jit
def _count_short(short, under, over):  # type: ignore[no-untyped-def]
    surely, upto = np.int16(0), np.int16(0)  # short sums, so that vectors are long
    for item in range(len(short)):
        surely = np.int16(surely + np.int16(short[item] > over))
        upto = np.int16(upto + np.int16(short[item] >= under))
    return np.int64(surely), np.int64(upto)


@jit
def _compare(score, share, slack, low, high):  # type: ignore[no-untyped-def]
    """Whether the exact score, of an approximate one, is below `low`, above `high`, or unsure."""
    own = np.float32(slack * 1.000001) * share + np.float32(2.0**-23) * abs(score)
    if score - own > high:
        return _ABOVE
    if score + own < low:
        return _BELOW
    return _UNSURE


@kernel
def _summarise(bounds, placed, negatives, relevant, out):  # type: ignore[no-untyped-def]
    for user in range(len(out)):
        first, last = bounds[user], bounds[user + 1]
        if negatives[user] > 0 and relevant[user] > 0:
            of_user(
                placed.scores[first:last],
                placed.better[first:last],
                placed.equal[first:last],
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
