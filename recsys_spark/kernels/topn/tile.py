"""Tiles: the scores of a block of users, and each user's best by them.

A tile holds approximate scores in single precision, each within `slack` of the exact one, and a
function that gives the exact ones of chosen pairs. What is decided from a tile is what exact
scores decide: those that the slack leaves in doubt are computed again. The results therefore do
not depend on how users were put into blocks. Ties go to the smaller position.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.inner_product import (
    LOW,
    Positions,
    Single,
    bits_of,
    keep,
    key_of,
    rounding_bound,
    row_norms,
    score,
)

WIDTH = 16  # the rows of tiles are padded to a multiple of it
CELLS = 4_000_000  # scores of a tile: 16 MB
_SPARE = 8

Double = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]
Refine = Callable[[Whole, Positions], Single]


class Tile(NamedTuple):
    """Scores of a block of users.

    values: (users, padded items), -inf for what is no candidate. slack: (users,) how far a value
    may be from the exact score; 0: it is exact. refine: exact scores of pairs, given their rows
    and their positions, (pairs,) each. share: (padded items,) by what share of the slack the values
    of an item may be off, at most 1; None: by all of it.
    """

    values: Single
    slack: Double
    refine: Refine
    share: Single | None = None

    def where(self, rows: Mask) -> "Tile":
        """Some of the users, by a mask."""
        at = np.flatnonzero(rows)
        return Tile(
            self.values[rows],
            self.slack[rows],
            lambda of, items: self.refine(at[of], items),
            self.share,
        )

    @property
    def shares(self) -> Single:
        """(padded items,) share, where there is none of ones."""
        if self.share is None:
            return np.ones(self.values.shape[1], dtype=np.float32)
        return self.share


class TileTopN(NamedTuple):
    """positions, scores: (users, n), best first; positions are -1 where fewer are left."""

    positions: Positions
    scores: Single


def user_blocks(users: int, items: int) -> Iterator[slice]:
    """Users in blocks whose tiles stay small."""
    height = max(1, CELLS // max(1, items))
    return (slice(start, min(start + height, users)) for start in range(0, users, height))


def empty_tile(users: int, items: int) -> Single:
    """Room for the scores of a block, without candidates yet; its rows are padded."""
    return np.full((users, -(-items // WIDTH) * WIDTH), -np.inf, dtype=np.float32)


def exact_tile(values: Single) -> Tile:
    """A tile whose values are the scores."""
    return Tile(values, np.zeros(len(values)), lambda rows, positions: values[rows, positions])


class ItemFactors(NamedTuple):
    """factors: (padded items, rank), zeros behind the last item. longest: their largest norm.

    share: (padded items,) their norms, divided by it and rounded upwards.
    """

    factors: Single
    longest: float
    share: Single


def padded_items(factors: Single) -> ItemFactors:
    """Item factors for `factor_tile`, from (items, rank)."""
    padded = np.zeros((-(-len(factors) // WIDTH) * WIDTH, factors.shape[1]), dtype=np.float32)
    padded[: len(factors)] = factors
    norms = row_norms(padded)
    longest = float(norms.max(initial=0.0))
    share = np.minimum(
        np.nextafter((norms / (longest or 1.0)).astype(np.float32), np.float32(2)), 1
    )
    return ItemFactors(padded, longest, share)


def factor_tile(users: Single, items: ItemFactors) -> Tile:
    """Dot products of user factors, (users, rank), and item factors.

    An exact score is the product in double precision, rounded once.
    """
    users = np.ascontiguousarray(users, dtype=np.float32)

    def refine(rows: Whole, positions: Positions) -> Single:
        scores = np.empty(len(rows), dtype=np.float32)
        _dot_pairs(users, items.factors, rows, positions, scores)
        return scores

    slack = rounding_bound(users, items.longest)
    return Tile(users @ items.factors.T, slack, refine, items.share)


@kernel
def _dot_pairs(users, items, rows, positions, scores):  # type: ignore[no-untyped-def]
    for at in range(len(rows)):
        scores[at] = score(users[rows[at]], items[positions[at]])


def leave_out(values: Single, candidates: Mask, seen: Ragged) -> None:
    """Mark what may not be listed, in place: items that are no candidates, and those seen."""
    values[:, : len(candidates)][:, ~candidates] = -np.inf
    values[:, len(candidates) :] = -np.inf
    rows = np.repeat(np.arange(len(values)), np.diff(seen.indptr))
    values[rows, seen.positions] = -np.inf


def best_of(tile: Tile, n: int) -> TileTopN:
    """Each user's n best candidates by exact score, then by position."""
    users, width = tile.values.shape
    in_doubt = tile.slack > 0
    size = max(1, min(n + (_SPARE if in_doubt.any() else 0), width))
    keys, counts, cut = _shortlist(tile.values, size)
    inside = np.arange(size) < counts[:, None]
    rows, positions = np.nonzero(inside)[0], (LOW - (keys[inside] & LOW)).astype(np.int32)
    exact = exact_scores(tile, rows, positions)
    found = TileTopN(np.full((users, n), -1, np.int32), np.zeros((users, n), np.float32))
    bounds = np.concatenate([[0], np.cumsum(counts)])
    least = cut + tile.slack  # no exact score outside the short list is above this
    doubtful = _settle(bounds, positions, exact, least, in_doubt, found)
    for user in np.flatnonzero(doubtful):
        _settle_by_all(tile, int(user), found)
    return found


def exact_scores(tile: Tile, rows: Whole, positions: Positions) -> Single:
    """The scores of pairs, (pairs,); -inf of those that are no candidates."""
    scores = tile.values[rows, positions]
    in_doubt = (tile.slack[rows] > 0) & (scores > -np.inf)
    if in_doubt.any():
        scores[in_doubt] = tile.refine(rows[in_doubt], positions[in_doubt])
    return scores


def _settle_by_all(tile: Tile, user: int, found: TileTopN) -> None:
    """The list of a user whose short list may lack an item."""
    positions = np.flatnonzero(tile.values[user] > -np.inf).astype(np.int32)
    scores = tile.refine(np.full(len(positions), user), positions)
    order = np.lexsort((positions, -scores))[: found.positions.shape[1]]
    found.positions[user, : len(order)] = positions[order]
    found.scores[user, : len(order)] = scores[order]


@kernel
def _shortlist(values, size):  # type: ignore[no-untyped-def]
    """The keys of the `size` best of each row, how many there are, and the least of them.

    The least is -inf where nothing was left out. Items are looked at in groups whose members are a
    stride apart, so that the groups' maxima are found by whole vectors; `size` groups hold as many
    items, so that only groups matter whose maximum is among the `size` largest.
    """
    users, width = values.shape
    stride = max(1, width // WIDTH)
    out = np.empty((users, size), dtype=np.int64)
    counts, cut = np.zeros(users, np.int64), np.full(users, -np.inf, np.float32)
    cut_bits, bits = cut.view(np.int32), values.view(np.int32)
    keys = np.empty(2 * size + WIDTH, dtype=np.int64)
    largest = np.empty(stride, dtype=np.float32)
    for user in range(users if width else 0):
        row, filled, least = values[user], 0, np.int64(-(2**63))
        _maxima(row, largest)
        bound = _nth_largest(largest, size, keys)
        left_out = bound > -np.inf
        for group in range(stride):
            if largest[group] < bound or largest[group] == -np.inf:
                continue
            for item in range(group, width, stride):
                if row[item] >= bound and row[item] > -np.inf:
                    key = key_of(bits[user, item], LOW - item)
                    if key > least:
                        keys[filled] = key
                        filled += 1
            if filled > len(keys) - WIDTH:
                filled = keep(keys[:filled], size)
                least, left_out = keys[filled - 1], True
                bound = row[LOW - (least & LOW)]
        left_out |= filled > size
        filled = keep(keys[:filled], size)
        if left_out:
            cut_bits[user] = bits_of(keys[filled - 1])
        out[user, :filled] = keys[:filled]
        counts[user] = filled
    return out, counts, cut


@jit
def _maxima(row, largest):  # type: ignore[no-untyped-def]
    """Of the items group, group + stride, ... the largest value, (stride,)."""
    stride = len(largest)
    largest[:] = row[:stride]
    for first in range(stride, len(row), stride):
        for group in range(stride):
            value = row[first + group]
            largest[group] = value if value > largest[group] else largest[group]


@jit
def _nth_largest(values, n, keys):  # type: ignore[no-untyped-def]
    """The n-th largest of them, or one that is not larger; -inf where there are fewer."""
    if len(values) < n:
        return np.float32(-np.inf)
    filled, bound, bits = 0, np.float32(-np.inf), values.view(np.int32)
    for at in range(len(values)):
        if values[at] > bound:
            keys[filled] = key_of(bits[at], LOW - at)
            filled += 1
            if filled == len(keys):
                filled = keep(keys, n)
                bound = values[LOW - (keys[filled - 1] & LOW)]
    if filled < n:
        return np.float32(-np.inf)
    keep(keys[:filled], n)
    return values[LOW - (keys[n - 1] & LOW)]


@kernel
def _settle(bounds, entries, exact, least, in_doubt, found):  # type: ignore[no-untyped-def]
    """Order each short list by exact score; whether an item outside of it may belong there."""
    positions, scores = found.positions, found.scores
    users, n = positions.shape
    doubtful = np.zeros(users, dtype=np.bool_)
    bits, out_bits = exact.view(np.int32), scores.view(np.int32)
    for user in range(users):
        first, size = bounds[user], bounds[user + 1] - bounds[user]
        keys = np.empty(size, dtype=np.int64)
        for at in range(size):
            keys[at] = key_of(bits[first + at], LOW - entries[first + at])
        keys = np.sort(keys)
        filled = min(n, size)
        for at in range(filled):
            key = keys[size - 1 - at]
            positions[user, at] = LOW - (key & LOW)
            out_bits[user, at] = bits_of(key)
        if in_doubt[user] and least[user] > -np.inf:
            doubtful[user] = not (filled == n and scores[user, n - 1] > least[user])
    return doubtful
