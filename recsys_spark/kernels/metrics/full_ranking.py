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

PLACES = ("auc", "partial_auc", "percentile_rank")
FALSE_POSITIVES = 0.1
_CHUNK = 256  # items
_STEPS, _ROOM = 32_000, 32  # of short numbers: between the limits of a row, and at either end


class _Placed(NamedTuple):
    """Relevant items that have a score, (entries,): how many negatives are above, and equal."""

    scores: Single
    better: npt.NDArray[np.int64]
    equal: npt.NDArray[np.int64]


class _Chunk(NamedTuple):
    """Approximate scores of some items, (items,), and their shares of the slack of the row."""

    scores: Single
    shares: Single
    slack: float


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
    out = np.full((len(tile.values), len(PLACES)), np.nan)
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
    """For each entry of `rows` how many of its row are surely above `high`, and from `low` on.

    The latter are counted where scores are exact, and are equal to it; where they are not, their
    entries and positions are returned. The row is rounded to short whole numbers first, of which
    processors compare several at once; only chunks that are near to a limit are looked at again.
    """
    above, equal = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    of, positions, filled = np.empty(len(rows), np.int64), np.empty(len(rows), np.int32), 0
    short = np.empty(values.shape[1], dtype=np.int16)
    hits = np.empty(len(short) // _CHUNK + 1, dtype=np.int64)
    last, bottom, step, margin = -1, np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for at in range(len(rows)):
        if rows[at] != last:
            last, end = rows[at], at
            while end < len(rows) and rows[end] == last:
                end += 1
            bottom, step, margin = _scale(low[at:end], high[at:end], slack[last])
            _shorten(values[last], bottom, step, short)
        under = np.int16((low[at] - bottom) * step - margin)
        over = np.int16((high[at] - bottom) * step + margin)
        above[at], near = _count_chunks(short, under, over, hits)
        for first in hits[:near]:
            part = slice(first, first + _CHUNK)
            chunk = _Chunk(values[last, part], shares[part], slack[last])
            surely, upto = _count(chunk, low[at], high[at])
            above[at] += surely
            if slack[last] == 0.0:
                equal[at] += upto - surely
            elif upto > surely:
                if filled + upto - surely > len(of):
                    of, positions = _longer(of, upto), _longer(positions, upto)
                _near(chunk, low[at], high[at], first, positions[filled:])
                of[filled : filled + upto - surely] = at
                filled += upto - surely
    return above, equal, of[:filled], positions[:filled]


@jit
def _count_chunks(short, under, over, hits):  # type: ignore[no-untyped-def]
    """How many are above `over`, but in chunks with some from `under` on; where those begin."""
    above, near = 0, 0
    for first in range(0, len(short), _CHUNK):
        surely, upto = _count_short(short[first : first + _CHUNK], under, over)
        if upto > surely:
            hits[near] = first
            near += 1
        else:
            above += surely
    return above, near


@jit
def _longer(array, more):  # type: ignore[no-untyped-def]
    grown = np.empty(2 * len(array) + more, array.dtype)
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
def _near(chunk, low, high, first, found):  # type: ignore[no-untyped-def]
    """The positions, counted from `first`, of those that may be from `low` to `high`."""
    filled = 0
    for item in range(len(chunk.scores)):
        least, most = _bounds(chunk.scores[item], chunk.shares[item], chunk.slack)
        if most >= low and least <= high:
            found[filled] = first + item
            filled += 1


@jit
def _bounds(score, share, slack):  # type: ignore[no-untyped-def]
    """Between which numbers an exact score lies, rounded outwards."""
    rounding = np.float32(2.0**-23 if slack > 0.0 else 0.0)
    own = np.float32(slack * 1.000001) * share + rounding * abs(score)
    return score - own, score + own


@jit
def _count(chunk, low, high):  # type: ignore[no-untyped-def]
    """How many are surely above `high`, and how many may be from `low` on."""
    over, upto = np.int32(0), np.int32(0)
    for item in range(len(chunk.scores)):
        least, most = _bounds(chunk.scores[item], chunk.shares[item], chunk.slack)
        over = np.int32(over + np.int32(least > high))
        upto = np.int32(upto + np.int32(most >= low))
    return np.int64(over), np.int64(upto)


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
