"""Scorers: what a recommender hands over to be ranked, without Spark.

A scorer gives a block of users a tile of scores, a column an item of the catalog. Everything after
that is the same for every kind of recommender: leaving out, ranking, rules, metrics.

kind         score of user u and item i
factors      x_u . y_i, with `cosine` of vectors of length 1
neighbours   sum over items j of the history of h_uj W_ji (item-kNN, RP3beta, EASE, content), or
             over the K nearest users v of s_uv r_vi (user-kNN)

In `static_scorers`, without the user's history:

static       one score an item, the same for every user (popularity)
segments     one score an item and segment of users (popularity within a country)
random       a random order of the items for each user

In `blend_scorer`:

blend        weighted sum of the scores of others, each optionally divided by its standard deviation
             over the user's items; or reciprocal rank fusion, sum of w / (constant + rank)
             (Cormack, Clarke, Buettcher 2009)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.inner_product import Items, Positions, Single, arrange
from recsys_spark.kernels.topn.sparse_scores import SparseRows, row_spread, scatter, spread
from recsys_spark.kernels.topn.tile import (
    ItemFactors,
    Mask,
    Tile,
    empty_tile,
    exact_tile,
    factor_tile,
    padded_items,
)
from recsys_spark.topn.explanations import Explainer, Parts, Weighted

Double = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]


class NearestUsers(NamedTuple):
    """users: the indices of each user's nearest, ascending. similarities: of these, (entries,)."""

    users: Ragged
    similarities: Single

    def where(self, rows: Mask) -> "NearestUsers":
        """Those of some of the users, by a mask."""
        kept = np.repeat(rows, np.diff(self.users.indptr))
        return NearestUsers(self.users.where(rows), self.similarities[kept])


class Block(NamedTuple):
    """What scorers know of a block of users.

    factors: (users, rank) by the name of the model; rows of NaN for users without. history: the
    positions of the items that users interacted with, ascending. weights: of these, (entries,).
    seen: positions left out of lists. known: what the factors were solved for, to explain them.
    nearest: the nearest users, by the name of the model. segments: the names of the users'
    segments, (users,), None for users of none, by the name of the model.
    """

    size: int
    factors: Mapping[str, Single]
    history: Ragged
    weights: Single
    seen: Ragged
    known: Weighted | None = None
    nearest: Mapping[str, NearestUsers] = MappingProxyType({})
    segments: Mapping[str, Names] = MappingProxyType({})

    def where(self, rows: Mask) -> "Block":
        """Some of the users, by a mask."""
        history = self.history.where(rows)
        weights = self.weights[np.repeat(rows, np.diff(self.history.indptr))]
        factors = {name: own[rows] for name, own in self.factors.items()}
        known = self.known.where(rows) if self.known else None
        nearest = {name: own.where(rows) for name, own in self.nearest.items()}
        segments = {name: own[rows] for name, own in self.segments.items()}
        seen, size = self.seen.where(rows), int(rows.sum())
        return Block(size, factors, history, weights, seen, known, nearest, segments)

    def rows(self, rows: slice) -> "Block":
        """Consecutive users."""
        bounds = self.history.indptr[[rows.start, rows.stop]]
        factors = {name: own[rows] for name, own in self.factors.items()}
        history, weights = self.history.rows(rows), self.weights[slice(*bounds)]
        size, seen = rows.stop - rows.start, self.seen.rows(rows)
        mask = np.zeros(self.size, dtype=bool)
        mask[rows] = True
        known = self.known and self.known.where(mask)
        nearest = {name: own.where(mask) for name, own in self.nearest.items()}
        segments = {name: own[rows] for name, own in self.segments.items()}
        return Block(size, factors, history, weights, seen, known, nearest, segments)


class Scorer(Protocol):
    """items: length of the catalog. needs: ranks of the models whose user factors it takes."""

    @property
    def items(self) -> int: ...

    @property
    def needs(self) -> Mapping[str, int]: ...

    def knows(self, block: Block) -> Mask:
        """The users that it has something to score by, (users,)."""
        ...

    def score(self, block: Block) -> Tile:
        """The scores of all users and items; -inf for items that it never lists."""
        ...

    def spread(self, block: Block, tile: Tile) -> Single:
        """Standard deviation of each user's scores over the items that it lists, (users,)."""
        ...

    def parts(self, block: Block, user: int, listed: Positions) -> Parts:
        """What the items of a user add to the scores of listed ones."""
        ...


@dataclass(frozen=True)
class FactorScorer:
    """model: whose user factors are taken. factors: (items, rank). scored: (items,) which count."""

    model: str
    factors: Single
    scored: Mask
    cosine: bool = False
    explainer: Explainer | None = None

    @property
    def items(self) -> int:
        return len(self.scored)

    @property
    def needs(self) -> Mapping[str, int]:
        return {self.model: self.factors.shape[1]}

    @cached_property
    def arranged(self) -> Items:
        """The items for `top_n`."""
        return arrange(_unit(self.factors) if self.cosine else self.factors, self.scored)

    @cached_property
    def _padded(self) -> ItemFactors:
        return padded_items(_unit(self.factors) if self.cosine else self.factors)

    @cached_property
    def _covariance(self) -> Double:
        own = self._padded.factors[: self.items][self.scored].astype(np.float64)
        centred = own - own.mean(axis=0) if len(own) else own
        return np.asarray(centred.T @ centred / max(len(own), 1))

    def knows(self, block: Block) -> Mask:
        return np.asarray(np.isfinite(block.factors[self.model]).all(axis=1))

    def users(self, block: Block) -> Single:
        """The factors of the users, (users, rank); zeros of those who have none."""
        own = block.factors[self.model]
        users = np.where(self.knows(block)[:, None], own, np.float32(0.0)).astype(np.float32)
        return _unit(users) if self.cosine else users

    def score(self, block: Block) -> Tile:
        tile = factor_tile(self.users(block), self._padded)
        tile.values[:, : self.items][:, ~self.scored] = -np.inf
        return tile

    def spread(self, block: Block, tile: Tile) -> Single:
        return spread(self.users(block), self._covariance)

    def parts(self, block: Block, user: int, listed: Positions) -> Parts:
        if self.explainer is None or block.known is None:
            return nothing(listed)
        interacted, added = self.explainer.of_user(block.known, user, listed)
        if self.cosine:
            lengths = np.linalg.norm(self.factors[listed], axis=1)
            own = np.linalg.norm(block.factors[self.model][user])
            added = added / np.where(lengths > 0, lengths, 1.0) / (own or 1.0)
        return interacted, added


@dataclass(frozen=True)
class NeighbourScorer:
    """matrix: (items, items), by rows of the history, whose columns ascend. positive: only scores
    above 0 are listed.
    weighted: whether items of the history count by their weights, or 1.

    Where scores are sums of similarities, 0 says that nothing is known of user and item.
    """

    matrix: SparseRows
    positive: bool = True
    weighted: bool = False

    @property
    def items(self) -> int:
        return len(self.matrix.indptr) - 1

    @property
    def needs(self) -> Mapping[str, int]:
        return {}

    def _summed(self, block: Block) -> tuple[Ragged, Single]:
        """The rows of the matrix that are added up for each user, and their weights."""
        return block.history, self._counted(block)

    def _counted(self, block: Block) -> Single:
        """What the items of the history count, (entries,)."""
        return block.weights if self.weighted else np.ones_like(block.weights)

    def knows(self, block: Block) -> Mask:
        return np.diff(self._summed(block)[0].indptr) > 0

    def score(self, block: Block) -> Tile:
        values = empty_tile(block.size, self.items)
        scatter(*self._summed(block), self.matrix, self.items, values)
        return exact_tile(values)

    def spread(self, block: Block, tile: Tile) -> Single:
        return row_spread(tile.values, self.items)

    def parts(self, block: Block, user: int, listed: Positions) -> Parts:
        own = slice(block.history.indptr[user], block.history.indptr[user + 1])
        interacted, weights = block.history.positions[own], self._counted(block)[own]
        added = np.zeros((len(interacted), len(listed)))
        for at, (item, weight) in enumerate(zip(interacted, weights, strict=True)):
            added[at] = weight * _row_values(self.matrix, item, listed)
        return interacted, added


@dataclass(frozen=True, kw_only=True)
class UserNeighbourScorer(NeighbourScorer):
    """matrix: (users, items) of the interactions, by the user's index, each 1 or its value.

    model: whose nearest users are added up. width: items of the catalog.
    """

    model: str
    width: int

    @property
    def items(self) -> int:
        return self.width

    def _summed(self, block: Block) -> tuple[Ragged, Single]:
        return block.nearest[self.model]

    def parts(self, block: Block, user: int, listed: Positions) -> Parts:
        """Of a similarity, each common item has its share of the sum of products that it is."""
        own = slice(block.history.indptr[user], block.history.indptr[user + 1])
        interacted, weights = block.history.positions[own], self._counted(block)[own]
        added = np.zeros((len(interacted), len(listed)))
        rows, similarities = block.nearest[self.model]
        for at in range(rows.indptr[user], rows.indptr[user + 1]):
            products = weights * _row_values(self.matrix, rows.positions[at], interacted)
            shares = products / (products.sum() or 1.0) * similarities[at]
            added += np.outer(shares, _row_values(self.matrix, rows.positions[at], listed))
        return interacted, added


def _row_values(matrix: SparseRows, row: int, wanted: Positions) -> Double:
    """The entries of a row in these columns, 0 where it has none."""
    entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
    columns = np.append(matrix.columns[entries], -1)
    weights = np.append(matrix.weights[entries], 0.0).astype(np.float64)
    at = np.searchsorted(columns[:-1], wanted)
    return np.asarray(np.where(columns[at] == wanted, weights[at], 0.0))


def nothing(listed: Positions) -> Parts:
    """No parts of any score."""
    return np.zeros(0, dtype=np.int32), np.zeros((0, len(listed)))


def keep_listed(scorer: Scorer, values: Single) -> None:
    """Mark in place what the scorer would not list by itself."""
    if isinstance(scorer, NeighbourScorer) and scorer.positive:
        values[values <= 0.0] = -np.inf


def _unit(vectors: Single) -> Single:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
