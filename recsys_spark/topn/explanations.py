"""Why items are listed: the items of the user that add most to their scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.kernels.als.weights import counted_pairs, row_regularization
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.contributions import contributions, largest

Single = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Weighted:
    """What users have. items: positions in the catalog. a, b: the weights of these pairs."""

    items: Ragged
    a: Single
    b: Single

    def where(self, rows: npt.NDArray[np.bool_]) -> "Weighted":
        """Some of the users, by a mask."""
        kept = np.repeat(rows, np.diff(self.items.indptr))
        return Weighted(self.items.where(rows), self.a[kept], self.b[kept])


@dataclass(frozen=True)
class Reasons:
    """For each entry of the lists: items[indptr[i]:indptr[i + 1]] and what they add, descending."""

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    parts: Single


# Items of a user, (history,), and what each adds to each listed score, (history, listed).
Parts = tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]
# Of a user, by number, and listed positions.
PartsOf = Callable[[int, npt.NDArray[np.int32]], Parts]


def reasons(parts: PartsOf, lists: Ragged, most: int) -> Reasons:
    """Those of every entry of every list, `most` at most; only what adds to a score is named."""
    found, values, counts = [], [], []
    for user in range(len(lists.indptr) - 1):
        listed = lists.positions[lists.indptr[user] : lists.indptr[user + 1]]
        items, added = _best_parts(*parts(user, listed), most)
        found.append(items[added > 0])
        values.append(added[added > 0])
        counts.append((added > 0).sum(axis=1))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([[], *counts]))]).astype(np.int64)
    flat = np.concatenate([np.zeros(0, np.int32), *found]).astype(np.int32)
    return Reasons(indptr, flat, np.concatenate([[], *values]).astype(np.float32))


def _best_parts(
    interacted: npt.NDArray[np.int32], added: npt.NDArray[np.float64], most: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The items that add most to each of the listed, and how much, (listed, most or fewer)."""
    if not added.size:
        return np.zeros((added.shape[1], 0), np.int32), np.zeros((added.shape[1], 0))
    best = largest(added, most)
    return interacted[best.T], np.take_along_axis(added, best, axis=0).T


def added_up(parts: Sequence[Parts], listed: int) -> Parts:
    """The parts of a sum of scores: what each item adds to all of them together."""
    interacted = np.unique(np.concatenate([np.zeros(0, np.int32), *(items for items, _ in parts)]))
    total = np.zeros((len(interacted), listed))
    for items, added in parts:
        total[np.searchsorted(interacted, items)] += added
    return interacted.astype(np.int32), total


@dataclass(frozen=True)
class Explainer:
    """factors: (items, rank) of the catalog, as trained.

    gram: (rank, rank) of all items that were trained, of which there are `items`, weighted.
    """

    factors: Single
    gram: npt.NDArray[np.float64]
    spec: WalsSpec
    items: int

    def of_user(self, users: Weighted, user: int, listed: npt.NDArray[np.int32]) -> Parts:
        """The parts of a user's scores."""
        own = slice(users.items.indptr[user], users.items.indptr[user + 1])
        interacted = users.items.positions[own]
        if not len(interacted) or not len(listed):
            return interacted[:0], np.zeros((0, len(listed)))
        return interacted, self.parts(interacted, users.a[own], users.b[own], listed)

    def parts(
        self, interacted: npt.NDArray[np.int32], a: Single, b: Single, listed: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float64]:
        """What each item that a user has adds to each of the listed, (history, listed)."""
        count = counted_pairs(a, b, self.spec).sum(dtype=np.float64, keepdims=True)
        penalty = float(row_regularization(count, self.items, self.spec, "user")[0])
        history, wanted = (self.factors[at].astype(np.float64) for at in (interacted, listed))
        weights = a.astype(np.float64), b.astype(np.float64)
        return contributions(history, *weights, wanted, self.gram, penalty)
