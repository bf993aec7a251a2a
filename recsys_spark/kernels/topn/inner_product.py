"""Exact top-N of many users: bound, score, select, score again.

Items stand by their norms, the longest first, in blocks. A block is scored, by one product in
single precision, for the users that it may still concern: by the Cauchy-Schwarz inequality no
score in it, nor in any later block, is above the product of the two norms (LEMP: Teflioudi,
Gemulla, Mykytiuk 2015). Scores above the least of a user's short list are noted, without sorting
or allocating; when there is no room, the best of them are kept.

Such products round by a row's place in the matrix. So the scores of the short list, which is
longer than n, are computed one by one in double precision and rounded once; and where an item
outside of it could still belong on the list, all of the user's scores are. The lists therefore do
not depend on batch sizes or partitioning. Ties go to the smaller position: callers order the
catalog by item id.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel
from recsys_spark.kernels.ragged import Ragged

_USERS, _ITEMS = 512, 1024  # of a tile: its scores, 4 MB, stay in the cache
_GROUP = 16  # scores that are compared at once
_SPARE = 8
_UNIT = 2.0**-24  # largest relative error of one rounding to single precision
LOW = 0xFFFFFFFF  # the lower half of a key

Single = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]


class Items(NamedTuple):
    """What may be listed, from `arrange`.

    factors: (padded, rank), rows of zeros behind the candidates. norms: (candidates,), descending.
    position: (candidates,) where each stands in the catalog. place: (items,) where each of the
    catalog stands here, -1 for what is no candidate.
    """

    factors: Single
    norms: npt.NDArray[np.float64]
    position: Positions
    place: Positions


class TopN(NamedTuple):
    """positions, scores: (users, n), best first; -1 where fewer are left. computed: scores."""

    positions: Positions
    scores: Single
    computed: int


class _Found(NamedTuple):
    """`TopN` that are filled in place."""

    positions: Positions
    scores: Single


class _Notes(NamedTuple):
    """Short lists of a tile of users, without order.

    keys: (users, 2 size + _GROUP), see `key_of`. counts: (users,) how many keys. least: (users,)
    the score that a further one has to exceed. size: how many of the best are kept.
    """

    keys: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    least: Single
    size: int


def arrange(factors: Single, candidates: npt.NDArray[np.bool_]) -> Items:
    """Items for `top_n`. factors: (items, rank). candidates: (items,) which may be listed."""
    norms = row_norms(factors)
    order = np.argsort(-norms, kind="stable")
    position = order[candidates[order]].astype(np.int32)
    place = np.full(len(factors), -1, dtype=np.int32)
    place[position] = np.arange(len(position), dtype=np.int32)
    padded = np.zeros((-(-len(position) // _GROUP) * _GROUP, factors.shape[1]), dtype=np.float32)
    padded[: len(position)] = factors[position]
    return Items(padded, norms[position], position, place)


def top_n(
    users: Single, items: Items, seen_indptr: npt.NDArray[np.int64], seen: Positions, n: int
) -> TopN:
    """Each user's n best candidates.

    users: (users, rank). seen: positions left out, user u's at seen_indptr[u] to
    seen_indptr[u + 1].
    """
    users = np.ascontiguousarray(users, dtype=np.float32)
    positions = np.full((len(users), n), -1, dtype=np.int32)
    scores = np.zeros((len(users), n), dtype=np.float32)
    computed = 0
    if len(items.position):
        for start in range(0, len(users), _USERS):
            rows = slice(start, start + _USERS)
            own = Ragged(seen_indptr[start : start + _USERS + 1], seen)
            computed += _tile(users[rows], items, own, _Found(positions[rows], scores[rows]))
    return TopN(positions, scores, computed)


def _tile(users: Single, items: Items, seen: Ragged, found: _Found) -> int:
    """Fill the lists of a tile of users; how many scores that took."""
    notes = _no_notes(len(users), min(found.positions.shape[1] + _SPARE, len(items.position)))
    norms, slack = row_norms(users), rounding_bound(users, items.norms[0])
    computed = 0
    for first in range(0, len(items.factors), _ITEMS):
        rows = np.flatnonzero(norms * items.norms[first] + slack > notes.least)
        if not len(rows):
            break
        chosen = users if len(rows) == len(users) else users[rows]
        tile = chosen @ items.factors[first : first + _ITEMS].T
        _note(tile, rows, first, items, seen, notes)
        computed += tile.size
    _list(users, items, seen, notes, slack, found)
    return computed


def _no_notes(users: int, size: int) -> _Notes:
    keys = np.empty((users, 2 * size + _GROUP), dtype=np.int64)
    least = np.full(users, -np.inf, np.float32)
    return _Notes(keys, np.zeros(users, np.int64), least, size)


def row_norms(factors: Single) -> npt.NDArray[np.float64]:
    """Euclidean norms of the rows, a hair too large rather than too small."""
    squares = np.einsum("ik,ik->i", factors, factors, dtype=np.float64)
    norms: npt.NDArray[np.float64] = np.sqrt(squares) * (1.0 + 1e-12)
    return norms


def rounding_bound(users: Single, longest: float) -> npt.NDArray[np.float64]:
    """How far a single-precision score of each user may be from the exact one, at most.

    longest: the largest norm of an item. A product of k numbers in any order is within
    k u / (1 - k u) of the sum of its absolute terms (Higham 2002, section 3.1), which is not above
    the product of the norms; the exact score has one rounding of its own.
    """
    rank = users.shape[1]
    relative = (rank + 2) * (1.0 + rank * _UNIT) * _UNIT
    bound: npt.NDArray[np.float64] = relative * longest * row_norms(users)
    return bound


@kernel
def _note(tile, rows, first, items, seen, notes):  # type: ignore[no-untyped-def]
    """Note the scores of a block above the least of each user's short list, as keys."""
    noted, least, size, width = notes.keys, notes.least, notes.size, tile.shape[1]
    bits, least_bits = tile.view(np.int32), least.view(np.int32)
    tile[:, max(0, len(items.position) - first) :] = -np.inf
    for at in range(len(rows)):
        user, row = rows[at], tile[at]
        own = seen.positions[seen.indptr[user] : seen.indptr[user + 1]]
        _mask(row, items.place, first, own)
        bound, filled = least[user], notes.counts[user]
        for group in range(0, width, _GROUP):
            above = 0
            for item in range(_GROUP):
                above += row[group + item] > bound
            if above == 0:
                continue
            for item in range(group, group + _GROUP):
                if row[item] > bound:
                    noted[user, filled] = key_of(bits[at, item], first + item)
                    filled += 1
            if filled > noted.shape[1] - _GROUP:
                filled = _raise(noted[user, :filled], size, least_bits[user : user + 1])
                bound = least[user]
        if filled > size:  # the next block is then ruled out for more users
            filled = _raise(noted[user, :filled], size, least_bits[user : user + 1])
        notes.counts[user] = filled


@jit
def _mask(row, place_of, first, seen):  # type: ignore[no-untyped-def]
    for item in seen:
        place = place_of[item] - first
        if 0 <= place < len(row):
            row[place] = -np.inf


@jit
def _raise(keys, size, least_bits):  # type: ignore[no-untyped-def]
    """Keep the best, and raise the least score that is noted to theirs."""
    kept = keep(keys, size)
    least_bits[0] = bits_of(keys[kept - 1])
    return kept


@kernel
def _list(users, items, seen, notes, slack, found):  # type: ignore[no-untyped-def]
    """The best of each short list by exact scores, or of all items where those leave a doubt."""
    positions, scores, size, n = found.positions, found.scores, notes.size, found.positions.shape[1]
    value = np.empty(1, dtype=np.float32)
    bits, out_bits = value.view(np.int32), scores.view(np.int32)
    marks = np.zeros(len(items.place), dtype=np.int64)
    for user in range(len(users)):
        keys, filled = notes.keys[user], notes.counts[user]
        some_left_out = notes.least[user] > -np.inf or filled > size
        filled = keep(keys[:filled], size)
        bits[0] = bits_of(keys[filled - 1]) if filled > 0 else 0
        outside = value[0] + slack[user]  # no item outside the short list is above this
        for at in range(filled):
            place = keys[at] & LOW
            value[0] = score(users[user], items.factors[place])
            keys[at] = key_of(bits[0], LOW - items.position[place])
        filled = keep(keys[:filled], n)
        bits[0] = bits_of(keys[filled - 1]) if filled > 0 else 0
        if some_left_out and not (filled == n and value[0] > outside):
            for entry in range(seen.indptr[user], seen.indptr[user + 1]):
                marks[seen.positions[entry]] = user + 1
            filled = _best_of_all(users[user], items, marks, user + 1, keys, n)
        best = np.sort(keys[:filled])
        for at in range(filled):
            key = best[filled - 1 - at]
            positions[user, at] = LOW - (key & LOW)
            out_bits[user, at] = bits_of(key)


@jit
def _best_of_all(user, items, marks, mark, keys, n):  # type: ignore[no-untyped-def]
    value = np.empty(1, dtype=np.float32)
    bits, filled = value.view(np.int32), 0
    for place in range(len(items.position)):
        position = items.position[place]
        if marks[position] != mark:
            value[0] = score(user, items.factors[place])
            keys[filled] = key_of(bits[0], LOW - position)
            filled += 1
            if filled == len(keys):
                filled = keep(keys, n)
    return keep(keys[:filled], n)


@jit
def key_of(bits, low):  # type: ignore[no-untyped-def]
    """A number that orders as the score with these bits, then as `low`."""
    ordered = np.int64(bits)
    if ordered < 0:
        ordered = -(ordered & 0x7FFFFFFF)
    return (ordered << 32) | np.int64(low)


@jit
def bits_of(key):  # type: ignore[no-untyped-def]
    """The bits of the score of a key."""
    ordered = key >> 32
    return np.int32(ordered) if ordered >= 0 else np.int32(-0x80000000 - ordered)


@jit
def keep(keys, size):  # type: ignore[no-untyped-def]
    """Bring the largest to the front, the least of them last (Hoare 1961); how many are kept."""
    size = min(size, len(keys))
    first, last, middle = 0, len(keys) - 1, size - 1
    while first < last:
        pivot, low, high = keys[(first + last) // 2], first, last
        while low <= high:
            while keys[low] > pivot:
                low += 1
            while keys[high] < pivot:
                high -= 1
            if low <= high:
                keys[low], keys[high] = keys[high], keys[low]
                low, high = low + 1, high - 1
        if middle <= high:
            last = high
        elif middle >= low:
            first = low
        else:
            break
    return size


@jit
def score(user, item):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(len(user)):
        total += np.float64(user[k]) * np.float64(item[k])
    return np.float32(total)
