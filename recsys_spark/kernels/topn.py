"""Exact top-N of a tile of users: score, mask, select.

Ties go to the smaller position, so callers order the catalogue by item id. A fast matrix product
short-lists more than n items; it rounds by a row's place in the tile, so the final scores are
computed one by one in double precision and rounded once. Where an item outside the short list
could still belong on the list, the whole row is computed that way: the lists do not depend on
batch sizes or partitioning.
"""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel

_ITEMS = 64
CELLS = 4_000_000
_SPARE = 8
_EPSILON = 2.0**-23


def pad_items(factors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The item matrix padded with zeros for `top_n`: (items, rank) to (padded, rank)."""
    padded = -(-max(len(factors), 1) // _ITEMS) * _ITEMS
    out = np.zeros((padded, factors.shape[1]), dtype=np.float32)
    out[: len(factors)] = factors
    return out


def top_n(
    users: npt.NDArray[np.float32],
    items: npt.NDArray[np.float32],
    candidates: npt.NDArray[np.bool_],
    seen_indptr: npt.NDArray[np.int64],
    seen: npt.NDArray[np.int32],
    n: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Positions and scores of each user's n best candidates, best first.

    users: (users, rank). items: from `pad_items`. candidates: (items,) which may be listed.
    seen: positions left out, user u's at seen_indptr[u] to seen_indptr[u + 1].
    Returns two (users, n) arrays; where fewer than n are left, positions are -1.
    """
    positions = np.full((len(users), n), -1, dtype=np.int32)
    scores = np.zeros((len(users), n), dtype=np.float32)
    height = max(1, CELLS // len(items))
    users = np.ascontiguousarray(users, dtype=np.float32)
    slack = rounding_bound(users, items)
    for start in range(0, len(users), height):
        stop = min(start + height, len(users))
        _select(
            users[start:stop] @ items.T,
            users[start:stop],
            items,
            slack[start:stop],
            candidates,
            seen_indptr[start : stop + 1],
            seen,
            positions[start:stop],
            scores[start:stop],
        )
    return positions, scores


def fill_popular(
    positions: npt.NDArray[np.int32],
    by_popularity: npt.NDArray[np.int32],
    seen_indptr: npt.NDArray[np.int64],
    seen: npt.NDArray[np.int32],
    items: int,
) -> None:
    """Replace the -1 of each list by the most popular items neither seen nor listed, in place."""
    _fill(positions, by_popularity, seen_indptr, seen, np.zeros(items, dtype=np.int64))


def rounding_bound(
    users: npt.NDArray[np.float32], items: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """How far a single-precision score of each user may be from the exact one, at most."""
    longest = np.sqrt(np.einsum("ik,ik->i", items, items, dtype=np.float64).max())
    norms = np.sqrt(np.einsum("ik,ik->i", users, users, dtype=np.float64))
    bound: npt.NDArray[np.float64] = (users.shape[1] + 1) * _EPSILON * longest * norms
    return bound


@kernel
def _select(tile, users, items, slack, candidates, seen_indptr, seen, positions, scores):  # type: ignore[no-untyped-def]
    n = positions.shape[1]
    near = np.empty(n + _SPARE, dtype=np.int32)
    near_scores = np.empty(n + _SPARE, dtype=np.float32)
    for user in range(len(positions)):
        row = tile[user]
        for entry in range(seen_indptr[user], seen_indptr[user + 1]):
            row[seen[entry]] = -np.inf
        filled = _best(row, candidates, near, near_scores)
        full = filled == len(near)
        outside = near_scores[0] + slack[user]  # no item outside the short list is above this
        _score_again(users[user], items, near, near_scores, filled)
        if full and not near_scores[n - 1] > outside:
            for item in range(len(candidates)):
                if candidates[item] and row[item] != -np.inf:
                    row[item] = score(users[user], items[item])
            filled = _best(row, candidates, near, near_scores)
            _sort_heap(near, near_scores, filled)
        for place in range(min(filled, n)):
            positions[user, place] = near[place]
            scores[user, place] = near_scores[place]


@jit
def _best(row, candidates, positions, scores):  # type: ignore[no-untyped-def]
    """Heap the best of the candidates not masked, the worst of them on top; how many there are."""
    size = len(positions)
    filled = 0
    for item in range(len(candidates)):
        score = row[item]
        if not candidates[item] or score == -np.inf:
            continue
        if filled < size:
            _sift_up(positions, scores, filled, item, score)
            filled += 1
        elif score > scores[0]:  # an equal score at a later position never enters
            _sift_down(positions, scores, size, item, score)
    return filled


@jit
def score(user, item):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(len(user)):
        total += np.float64(user[k]) * np.float64(item[k])
    return np.float32(total)


@jit
def _score_again(user, items, positions, scores, filled):  # type: ignore[no-untyped-def]
    """Replace the heap's scores by exact ones and sort it, best first."""
    for i in range(filled):
        item = positions[i]
        _sift_up(positions, scores, i, item, score(user, items[item]))
    _sort_heap(positions, scores, filled)


@jit
def _worse(score, item, other_score, other_item):  # type: ignore[no-untyped-def]
    return score < other_score or (score == other_score and item > other_item)


@jit
def _sift_up(positions, scores, hole, item, score):  # type: ignore[no-untyped-def]
    while hole > 0:
        parent = (hole - 1) // 2
        if not _worse(score, item, scores[parent], positions[parent]):
            break
        positions[hole], scores[hole] = positions[parent], scores[parent]
        hole = parent
    positions[hole], scores[hole] = item, score


@jit
def _sift_down(positions, scores, size, item, score):  # type: ignore[no-untyped-def]
    hole = 0
    while 2 * hole + 1 < size:
        child = 2 * hole + 1
        if child + 1 < size and _worse(
            scores[child + 1], positions[child + 1], scores[child], positions[child]
        ):
            child += 1
        if not _worse(scores[child], positions[child], score, item):
            break
        positions[hole], scores[hole] = positions[child], scores[child]
        hole = child
    positions[hole], scores[hole] = item, score


@jit
def _sort_heap(positions, scores, size):  # type: ignore[no-untyped-def]
    """Turn the heap, its worst pair on top, into a list with the best pair first."""
    for last in range(size - 1, 0, -1):
        item, score = positions[last], scores[last]
        positions[last], scores[last] = positions[0], scores[0]
        _sift_down(positions, scores, last, item, score)


@kernel
def _fill(positions, by_popularity, seen_indptr, seen, marks):  # type: ignore[no-untyped-def]
    n = positions.shape[1]
    for user in range(len(positions)):
        mark = user + 1
        for entry in range(seen_indptr[user], seen_indptr[user + 1]):
            marks[seen[entry]] = mark
        filled = 0
        while filled < n and positions[user, filled] >= 0:
            marks[positions[user, filled]] = mark
            filled += 1
        for item in by_popularity:
            if filled == n:
                break
            if marks[item] != mark:
                positions[user, filled] = item
                filled += 1
