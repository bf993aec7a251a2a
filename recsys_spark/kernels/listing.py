"""From ranked candidates to lists that keep rules, completed by what is popular."""

from typing import NamedTuple

import numpy as np

from recsys_spark.kernels.jit import jit, kernel
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn import Items, Positions, Single, top_n

_POOL = 4  # candidates a place where a rule may pass over some


class Rules(NamedTuple):
    """What a list keeps. groups: of each item of the catalogue, such as its genres.

    most: items of one group in a list, at most. least: the lowest score of the model that is
    listed.
    """

    groups: Ragged
    most: int
    least: float


class Ranked(NamedTuple):
    """positions, scores: (users, n), best first; positions -1 where fewer are left.

    computed: scores. below: places of the n best that were left free for a low score. passed:
    items passed over because a list had enough of a group.
    """

    positions: Positions
    scores: Single
    computed: int
    below: int
    passed: int


def no_rules(items: int) -> Rules:
    """Rules that leave everything as it is."""
    return Rules(Ragged(np.zeros(items + 1, np.int64), np.zeros(0, np.int32)), 1, -np.inf)


def rank(users: Single, items: Items, seen: Ragged, n: int, rules: Rules) -> Ranked:
    """Each user's best candidates that keep the rules, taken from the best downwards.

    users: (users, rank). seen: positions left out. Exact: where too many are passed over, more
    candidates are ranked for those users.
    """
    positions = np.full((len(users), n), -1, dtype=np.int32)
    scores = np.zeros((len(users), n), dtype=np.float32)
    counts = np.zeros(2, dtype=np.int64)
    grouped = len(rules.groups.positions) > 0
    size, open_, computed = _POOL * n if grouped else n, np.ones(len(users), dtype=bool), 0
    while open_.any():
        found = top_n(users[open_], items, *seen.where(open_), size)
        own, own_scores = positions[open_], scores[open_]
        final = size >= len(items.position)
        ended = _take(found.positions, found.scores, rules, n, final, own, own_scores, counts)
        positions[open_], scores[open_] = own, own_scores
        computed += found.computed
        open_[open_] = ~ended
        size *= _POOL
    return Ranked(positions, scores, computed, int(counts[0]), int(counts[1]))


def fill_popular(
    positions: Positions, by_popularity: Positions, seen: Ragged, rules: Rules
) -> None:
    """Replace the -1 of each list by the most popular items neither seen nor listed, in place.

    Groups that a list has enough of are passed over here too.
    """
    _fill(positions, by_popularity, seen, rules)


@kernel
def _take(pool, pool_scores, rules, n, final, positions, scores, counts):  # type: ignore[no-untyped-def]
    """Fill lists from their pools; which are certain: full, or nothing more could come."""
    ended = np.zeros(len(pool), dtype=np.bool_)
    held = _counters(rules.groups)
    for user in range(len(pool)):
        filled, passed, below = 0, 0, False
        for at in range(pool.shape[1]):
            item = pool[user, at]
            if item < 0 or filled == n:
                ended[user] = True
                break
            if pool_scores[user, at] < rules.least:
                ended[user], below = True, True
                break
            if _has_room(rules, held, item):
                _count(rules.groups, held, item, 1)
                positions[user, filled], scores[user, filled] = item, pool_scores[user, at]
                filled += 1
            else:
                passed += 1
        ended[user] = ended[user] or final or filled == n
        if ended[user]:
            counts[0] += n - filled if below else 0
            counts[1] += passed
        for at in range(filled):
            _count(rules.groups, held, positions[user, at], -1)
    return ended


@kernel
def _fill(positions, by_popularity, seen, rules):  # type: ignore[no-untyped-def]
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
        for item in by_popularity:
            if filled == n:
                break
            if marks[item] != mark and _has_room(rules, held, item):
                positions[user, filled] = item
                _count(rules.groups, held, item, 1)
                filled += 1
        for at in range(filled):
            _count(rules.groups, held, positions[user, at], -1)


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
