"""From ranked candidates to lists that keep rules, completed by what is popular."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.inner_product import Items, Positions, Single, TopN, score, top_n
from recsys_spark.kernels.topn.tile import Mask, Tile, best_of

_POOL = 4  # candidates a slot where the best are not simply taken
_BELOW, _SKIPPED = 0, 1  # where they stand among the counters of `Ranked`


class ListRules(NamedTuple):
    """What a list keeps. groups: of each item of the catalog, such as its genres.

    most: items of one group in a list, at most. least: the lowest score of the model that is
    listed. diversity: 0 to 1, how much unlikeness to what is listed counts beside the score.
    """

    groups: Ragged
    most: int
    least: float
    diversity: float = 0.0


class _Listed(NamedTuple):
    """positions, scores: (users, n) or more, best first; positions -1 behind the last."""

    positions: Positions
    scores: Single


class _Own(NamedTuple):
    """Lists of users, (users, n) each, or of one, (n,). kept: what does not give way."""

    positions: Positions
    scores: Single
    kept: npt.NDArray[np.bool_]


class Popular(NamedTuple):
    """Items by descending popularity. positions: in the catalog. shares: of users who have it."""

    positions: Positions
    shares: Single


class Ranked(NamedTuple):
    """positions, scores: (users, n), best first; positions -1 where fewer are left.

    computed: scores. below: slots of the n best that were left free for a low score. skipped:
    items skipped because a list had enough of a group.
    """

    positions: Positions
    scores: Single
    computed: int
    below: int
    skipped: int


def no_rules(items: int) -> ListRules:
    """Rules that leave everything as it is."""
    return ListRules(Ragged(np.zeros(items + 1, np.int64), np.zeros(0, np.int32)), 1, -np.inf)


def rank(users: Single, items: Items, seen: Ragged, n: int, rules: ListRules) -> Ranked:
    """Each user's best candidates that keep the rules, taken from the best downwards.

    users: (users, rank). seen: positions left out. Exact: where too many are skipped, more
    candidates are ranked for those users. With diversity, each next item is the one of the best 4 n
    (or more) with the largest (1 - diversity) relevance - diversity * likeness, where relevance is
    the score between the least and the best of them, as 0 to 1, and likeness the largest cosine
    to an item listed before (Carbonell and Goldstein 1998).
    """

    def best(rows: Mask, size: int) -> TopN:
        return top_n(users[rows], items, *seen.where(rows), size)

    return _rank(best, len(users), len(items.position), n, rules, items)


def rank_tile(tile: Tile, n: int, rules: ListRules) -> Ranked:
    """The same by the scores of a tile, of what it does not leave out. Without diversity."""

    def best(rows: Mask, size: int) -> TopN:
        found = best_of(tile if rows.all() else tile.where(rows), size)
        return TopN(*found, 0)

    users, items = tile.values.shape
    return _rank(best, users, items, n, rules)._replace(computed=tile.values.size)


def _rank(
    best: Callable[[Mask, int], TopN],
    users: int,
    candidates: int,
    n: int,
    rules: ListRules,
    items: Items | None = None,
) -> Ranked:
    """best: of some users, so many candidates. items: whose factors diversity compares."""
    positions = np.full((users, n), -1, dtype=np.int32)
    scores = np.zeros((users, n), dtype=np.float32)
    counts = np.zeros(2, dtype=np.int64)
    taking = len(rules.groups.positions) == 0 and rules.diversity == 0
    size, open_, computed = n if taking else _POOL * n, np.ones(users, dtype=bool), 0
    while open_.any():
        found = best(open_, size)
        own, pool = _Listed(positions[open_], scores[open_]), _Listed(found.positions, found.scores)
        final = size >= candidates
        if rules.diversity > 0 and items is not None:
            ended = _vary(pool, rules, items, final, own, counts)
        else:
            ended = _take(pool, rules, final, own, counts)
        positions[open_], scores[open_] = own.positions, own.scores
        computed += found.computed
        open_[open_] = ~ended
        size *= _POOL
    return Ranked(positions, scores, computed, int(counts[_BELOW]), int(counts[_SKIPPED]))


def rank_scores(
    scores: Single, candidates: npt.NDArray[np.bool_], n: int, rules: ListRules
) -> Ranked:
    """The same of one list, by the scores of all items, (items,), which are not counted."""
    pool = np.argsort(-scores, kind="stable").astype(np.int32)
    pool = pool[candidates[pool]][None, :]
    return rank_pools(pool, scores[pool], n, rules)


def rank_pools(pool: Positions, scores: Single, n: int, rules: ListRules) -> Ranked:
    """The same of candidates that are ranked already, (users, size); -1 behind the last."""
    shape, counts = (len(pool), n), np.zeros(2, dtype=np.int64)
    found = _Listed(np.full(shape, -1, dtype=np.int32), np.zeros(shape, dtype=np.float32))
    _take(_Listed(pool, scores), rules, True, found, counts)
    return Ranked(*found, 0, int(counts[_BELOW]), int(counts[_SKIPPED]))


def fill_popular(
    positions: Positions, scores: Single, popular: Popular, seen: Ragged, rules: ListRules
) -> None:
    """Replace the -1 of each list by the most popular items neither seen nor listed, in place.

    Their scores are their shares. Groups that a list has enough of are skipped here too.
    """
    _fill(positions, scores, popular, seen, rules)


def reserve(
    positions: Positions,
    scores: Single,
    kept: npt.NDArray[np.bool_],
    candidates: Ranked,
    slots: int,
    rules: ListRules,
) -> int:
    """Give candidates at least so many slots in each list, in place; how many they gained.

    candidates: the best of some items, such as new ones, by user. Where a list has too few of
    them, its last items that are not `kept`, (users, n), give way, and the candidates stand at its
    end and are kept.
    """
    best = _Listed(candidates.positions, candidates.scores)
    gained: int = _reserve(_Own(positions, scores, kept), best, slots, rules)
    return gained


@kernel
def _take(pool, rules, final, found, counts):  # type: ignore[no-untyped-def]
    """Fill lists from their pools; which are certain: full, or nothing more could come."""
    positions, n, size = found.positions, found.positions.shape[1], pool.positions.shape[1]
    ended = np.zeros(len(positions), dtype=np.bool_)
    held = _counters(rules.groups)
    for user in range(len(positions)):
        filled, skipped, below = 0, 0, False
        for at in range(size):
            item = pool.positions[user, at]
            if item < 0 or filled == n:
                ended[user] = True
                break
            if pool.scores[user, at] < rules.least:
                ended[user], below = True, True
                break
            if _has_room(rules, held, item):
                _count(rules.groups, held, item, 1)
                positions[user, filled], found.scores[user, filled] = item, pool.scores[user, at]
                filled += 1
            else:
                skipped += 1
        ended[user] = ended[user] or final or filled == n
        if ended[user]:
            counts[_BELOW] += n - filled if below else 0
            counts[_SKIPPED] += skipped
        for at in range(filled):
            _count(rules.groups, held, positions[user, at], -1)
    return ended


@kernel
def _fill(positions, scores, popular, seen, rules):  # type: ignore[no-untyped-def]
    n = positions.shape[1]
    marks, held = np.zeros(len(rules.groups.indptr), np.int64), _counters(rules.groups)
    for user in range(len(positions)):
        mark = user + 1
        for entry in range(seen.indptr[user], seen.indptr[user + 1]):
            marks[seen.positions[entry]] = mark
        filled = 0
        while filled < n and positions[user, filled] >= 0:
            marks[positions[user, filled]] = mark
            _count(rules.groups, held, positions[user, filled], 1)
            filled += 1
        for at in range(len(popular.positions)):
            if filled == n:
                break
            item = popular.positions[at]
            if marks[item] != mark and _has_room(rules, held, item):
                positions[user, filled], scores[user, filled] = item, popular.shares[at]
                _count(rules.groups, held, item, 1)
                filled += 1
        for at in range(filled):
            _count(rules.groups, held, positions[user, at], -1)


@kernel
def _vary(pool, rules, items, final, found, counts):  # type: ignore[no-untyped-def]
    """As `_take`, each next item chosen for its score and for being unlike those before."""
    positions, n, size = found.positions, found.positions.shape[1], pool.positions.shape[1]
    ended = np.zeros(len(positions), dtype=np.bool_)
    held = _counters(rules.groups)
    relevance, likeness = np.empty(size), np.empty(size)
    taken = np.empty(size, dtype=np.bool_)
    for user in range(len(positions)):
        own, scores = pool.positions[user], pool.scores[user]
        left, filled = _relevant(own, scores, rules.least, relevance), 0
        likeness[:], taken[:] = 0.0, False
        while filled < n:
            values = (1.0 - rules.diversity) * relevance - rules.diversity * likeness
            at = _most_valuable(values[:left], own, taken, rules, held)
            if at < 0:
                break
            item, taken[at] = own[at], True
            positions[user, filled], found.scores[user, filled] = item, scores[at]
            _count(rules.groups, held, item, 1)
            _compare(likeness[:left], own, items, items.place[item], filled == 0)
            filled += 1
        below = left < size and own[left] >= 0
        ended[user] = filled == n or left < size or final
        if ended[user]:
            counts[_BELOW] += n - filled if below else 0
            counts[_SKIPPED] += _without_room(own[:left], taken, rules, held)
        for at in range(filled):
            _count(rules.groups, held, positions[user, at], -1)
    return ended


@jit
def _relevant(pool, scores, least, relevance):  # type: ignore[no-untyped-def]
    """How many candidates have scores that are listed; theirs, as 0 to 1 between the extremes."""
    left = 0
    while left < len(pool) and pool[left] >= 0 and scores[left] >= least:
        left += 1
    span = np.float64(scores[0]) - scores[left - 1] if left > 0 else 0.0
    for at in range(left):
        relevance[at] = 1.0 - (np.float64(scores[0]) - scores[at]) / span if span > 0 else 1.0
    return left


@jit
def _most_valuable(values, pool, taken, rules, held):  # type: ignore[no-untyped-def]
    """The best candidate that the list has room for; the first of equal ones; -1: none."""
    chosen = -1
    for at in range(len(values)):
        if taken[at] or (chosen >= 0 and values[at] <= values[chosen]):
            continue
        if _has_room(rules, held, pool[at]):
            chosen = at
    return chosen


@jit
def _without_room(pool, taken, rules, held):  # type: ignore[no-untyped-def]
    """Candidates before the last that was taken for which the list has no room."""
    skipped, since = 0, 0
    for at in range(len(pool)):
        if taken[at]:
            skipped, since = skipped + since, 0
        elif not _has_room(rules, held, pool[at]):
            since += 1
    return skipped


@jit
def _compare(likeness, pool, items, place, first):  # type: ignore[no-untyped-def]
    """Each candidate's largest cosine to what is listed, once the item at `place` is."""
    for at in range(len(likeness)):
        other = items.place[pool[at]]
        norms, cosine = items.norms[place] * items.norms[other], 0.0
        if norms > 0:
            cosine = score(items.factors[place], items.factors[other]) / norms
        likeness[at] = cosine if first else max(likeness[at], cosine)


@kernel
def _reserve(lists, candidates, slots, rules):  # type: ignore[no-untyped-def]
    n, gained, held = lists.positions.shape[1], 0, _counters(rules.groups)
    for user in range(len(lists.positions)):
        own = _Own(lists.positions[user], lists.scores[user], lists.kept[user])
        positions, best, scores = own.positions, candidates.positions[user], candidates.scores[user]
        filled, missing = 0, slots
        while filled < n and positions[filled] >= 0:
            if _stands_in(best, positions[filled]):
                own.kept[filled], missing = True, missing - 1
            _count(rules.groups, held, positions[filled], 1)
            filled += 1
        while missing > 0:
            at = _candidate(best, own, filled, rules, held)
            if at < 0:
                break
            filled = min(filled, n - 1)
            positions[filled], own.scores[filled], own.kept[filled] = best[at], scores[at], True
            _count(rules.groups, held, positions[filled], 1)
            filled, missing, gained = filled + 1, missing - 1, gained + 1
        for at in range(filled):
            _count(rules.groups, held, positions[at], -1)
    return gained


@jit
def _candidate(candidates, own, filled, rules, held):  # type: ignore[no-untyped-def]
    """The candidate for one more slot, which a full list has now free at its end; -1: none."""
    positions = own.positions
    if filled < len(positions):
        return _first_with_room(candidates, positions[:filled], rules, held)
    last = _last_free(own.kept)
    if last < 0:
        return -1
    _count(rules.groups, held, positions[last], -1)
    at = _first_with_room(candidates, positions, rules, held)
    if at < 0:
        _count(rules.groups, held, positions[last], 1)
    else:
        positions[last:-1] = positions[last + 1 :].copy()
        own.scores[last:-1] = own.scores[last + 1 :].copy()
        own.kept[last:-1] = own.kept[last + 1 :].copy()
    return at


@jit
def _last_free(kept):  # type: ignore[no-untyped-def]
    """Where the last item stands that is not kept; -1 if all are."""
    last = len(kept) - 1
    while last >= 0 and kept[last]:
        last -= 1
    return last


@jit
def _first_with_room(candidates, listed, rules, held):  # type: ignore[no-untyped-def]
    """The first candidate that is not listed and that there is room for; -1: none."""
    for at in range(len(candidates)):
        item = candidates[at]
        if item >= 0 and not _stands_in(listed, item) and _has_room(rules, held, item):
            return at
    return -1


@jit
def _stands_in(positions, item):  # type: ignore[no-untyped-def]
    for other in positions:
        if other == item:
            return True
    return False


@jit
def _counters(groups):  # type: ignore[no-untyped-def]
    """A zero for each group."""
    most = 0
    for group in groups.positions:
        most = max(most, group + 1)
    return np.zeros(most, dtype=np.int64)


@jit
def _has_room(rules, held, item):  # type: ignore[no-untyped-def]
    for entry in range(rules.groups.indptr[item], rules.groups.indptr[item + 1]):
        if held[rules.groups.positions[entry]] >= rules.most:
            return False
    return True


@jit
def _count(groups, held, item, step):  # type: ignore[no-untyped-def]
    for entry in range(groups.indptr[item], groups.indptr[item + 1]):
        held[groups.positions[entry]] += step
