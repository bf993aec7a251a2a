"""Why items are listed: the items of the user that add most to their scores."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.explaining import contributions, largest
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.spec import WalsSpec
from recsys_spark.kernels.weights import counted_pairs, row_regularization

Single = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Weighted:
    """What users have. items: positions in the catalogue. a, b: the weights of these pairs."""

    items: Ragged
    a: Single
    b: Single


@dataclass(frozen=True)
class Reasons:
    """For each entry of the lists: items[indptr[i]:indptr[i + 1]] and what they add, descending."""

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    parts: Single


@dataclass(frozen=True)
class Explainer:
    """most: items named for an entry. factors: (items, rank) of the catalogue, as trained.

    gram: (rank, rank) of all items that were trained, of which there are `items`, weighted.
    """

    most: int
    factors: Single
    gram: npt.NDArray[np.float64]
    spec: WalsSpec
    items: int

    def reasons(self, users: Weighted, lists: Ragged) -> Reasons:
        """Those of every entry of every list; only what adds to a score is named."""
        found, parts, counts = [], [], []
        for user in range(len(lists.indptr) - 1):
            listed = lists.positions[lists.indptr[user] : lists.indptr[user + 1]]
            own = slice(users.items.indptr[user], users.items.indptr[user + 1])
            items, values = self._of_user(users, own, listed)
            found.append(items[values > 0])
            parts.append(values[values > 0])
            counts.append((values > 0).sum(axis=1))
        indptr = np.concatenate([[0], np.cumsum(np.concatenate([[], *counts]))]).astype(np.int64)
        flat = np.concatenate([np.zeros(0, np.int32), *found]).astype(np.int32)
        return Reasons(indptr, flat, np.concatenate([[], *parts]).astype(np.float32))

    def _of_user(
        self, users: Weighted, own: slice, listed: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """The items that add most to each of the listed, and how much, (listed, most or fewer)."""
        had = users.items.positions[own]
        if not len(had) or not len(listed):
            return np.zeros((len(listed), 0), np.int32), np.zeros((len(listed), 0))
        added = self.parts(had, users.a[own], users.b[own], listed)
        best = largest(added, self.most)
        return had[best.T], np.take_along_axis(added, best, axis=0).T

    def parts(
        self, had: npt.NDArray[np.int32], a: Single, b: Single, listed: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float64]:
        """What each item that a user has adds to each of the listed, (had, listed)."""
        count = counted_pairs(a, b, self.spec).sum(dtype=np.float64, keepdims=True)
        penalty = float(row_regularization(count, self.items, self.spec, "user")[0])
        history, wanted = (self.factors[at].astype(np.float64) for at in (had, listed))
        weights = a.astype(np.float64), b.astype(np.float64)
        return contributions(history, *weights, wanted, self.gram, penalty)
