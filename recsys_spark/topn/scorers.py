"""Scorers: what a recommender hands over to be ranked, without Spark.

A scorer gives a block of users a tile of scores, a column an item of the catalog. Everything after
that is the same for every kind of recommender: leaving out, ranking, rules, metrics.

kind         score of user u and item i
factors      x_u . y_i, with `cosine` of vectors of length 1
neighbours   sum over items j of the history of h_uj W_ji (item-kNN, RP3beta, EASE, content), or
             over the K nearest users v of s_uv r_vi (user-kNN)
static       one score an item, the same for every user (popularity)
segments     one score an item and segment of users (popularity within a country)
random       a random order of the items for each user
blend        weighted sum of the scores of others, each optionally divided by its standard deviation
             over the user's items; or reciprocal rank fusion, sum of w / (constant + rank)
             (Cormack, Clarke, Buettcher 2009)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.scatter import SparseRows, add_scaled, fuse, row_spread, scatter, spread
from recsys_spark.kernels.shuffled import Shuffled, shuffled_scores
from recsys_spark.kernels.static import StaticOrder, static_order
from recsys_spark.kernels.tile import (
    ItemFactors,
    Mask,
    Refine,
    Tile,
    best_of,
    empty_tile,
    exact_scores,
    exact_tile,
    factor_tile,
    leave_out,
    padded_items,
)
from recsys_spark.kernels.topn import Positions, Single
from recsys_spark.topn.explanations import Explainer, Parts, Weighted, added_up

Double = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]
_EPSILON = 2.0**-22
_LEAST_SHARE = 1 / 16  # of the slack of a sum, which the rounding of the sum has at every item


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
        """The users of whom it has something to score by, (users,)."""
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
    def _padded(self) -> ItemFactors:
        return padded_items(_unit(self.factors) if self.cosine else self.factors)

    @cached_property
    def _covariance(self) -> Double:
        own = self._padded.factors[: self.items][self.scored].astype(np.float64)
        centred = own - own.mean(axis=0) if len(own) else own
        return np.asarray(centred.T @ centred / max(len(own), 1))

    def knows(self, block: Block) -> Mask:
        return np.asarray(np.isfinite(block.factors[self.model]).all(axis=1))

    def _users(self, block: Block) -> Single:
        own = block.factors[self.model]
        users = np.where(self.knows(block)[:, None], own, np.float32(0.0)).astype(np.float32)
        return _unit(users) if self.cosine else users

    def score(self, block: Block) -> Tile:
        tile = factor_tile(self._users(block), self._padded)
        tile.values[:, : self.items][:, ~self.scored] = -np.inf
        return tile

    def spread(self, block: Block, tile: Tile) -> Single:
        return spread(self._users(block), self._covariance)

    def parts(self, block: Block, user: int, listed: Positions) -> Parts:
        if self.explainer is None or block.known is None:
            return nothing(listed)
        had, added = self.explainer.of_user(block.known, user, listed)
        if self.cosine:
            lengths = np.linalg.norm(self.factors[listed], axis=1)
            own = np.linalg.norm(block.factors[self.model][user])
            added = added / np.where(lengths > 0, lengths, 1.0) / (own or 1.0)
        return had, added


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
        had, weights = block.history.positions[own], self._counted(block)[own]
        added = np.zeros((len(had), len(listed)))
        for at, (item, weight) in enumerate(zip(had, weights, strict=True)):
            added[at] = weight * _row_values(self.matrix, item, listed)
        return had, added


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
        had, weights = block.history.positions[own], self._counted(block)[own]
        added = np.zeros((len(had), len(listed)))
        rows, similarities = block.nearest[self.model]
        for at in range(rows.indptr[user], rows.indptr[user + 1]):
            products = weights * _row_values(self.matrix, rows.positions[at], had)
            shares = products / (products.sum() or 1.0) * similarities[at]
            added += np.outer(shares, _row_values(self.matrix, rows.positions[at], listed))
        return had, added


@dataclass(frozen=True)
class StaticScorer:
    """scores: (items,); scored: (items,) which count."""

    scores: Single
    scored: Mask

    @property
    def items(self) -> int:
        return len(self.scores)

    @property
    def needs(self) -> Mapping[str, int]:
        return {}

    @cached_property
    def ordered(self) -> StaticOrder:
        """The items in the order of everyone's lists."""
        return static_order(self.scores, self.scored)

    def knows(self, block: Block) -> Mask:
        return np.ones(block.size, dtype=bool)

    def score(self, block: Block) -> Tile:
        values = empty_tile(block.size, self.items)
        values[:, : self.items] = np.where(self.scored, self.scores, -np.inf)
        return exact_tile(values)

    def spread(self, block: Block, tile: Tile) -> Single:
        own = self.scores[self.scored].astype(np.float64)
        return np.full(block.size, own.std() if len(own) else 0.0, dtype=np.float32)

    def parts(self, block: Block, user: int, listed: Positions) -> Parts:
        return nothing(listed)

    def orders(self, block: Block) -> "Iterator[tuple[StaticScorer, Mask]]":
        """Itself, for all users."""
        yield self, self.knows(block)


@dataclass(frozen=True)
class RandomScorer:
    """model: whose factors of users are the beginnings of their orders, `kernels.shuffled.begin`.
    shuffled: the orders.
    """

    model: str
    shuffled: Shuffled

    @property
    def items(self) -> int:
        return len(self.shuffled.orders[0])

    @property
    def needs(self) -> Mapping[str, int]:
        return {self.model: 2}

    def knows(self, block: Block) -> Mask:
        return np.ones(block.size, dtype=bool)

    def score(self, block: Block) -> Tile:
        values = empty_tile(block.size, self.items)
        values[:, : self.items] = shuffled_scores(self.shuffled, block.factors[self.model])
        return exact_tile(values)

    def spread(self, block: Block, tile: Tile) -> Single:
        own = np.arange(self.items, dtype=np.float64)
        return np.full(block.size, own.std() if len(own) else 0.0, dtype=np.float32)

    def parts(self, block: Block, user: int, listed: Positions) -> Parts:
        return nothing(listed)


@dataclass(frozen=True)
class SegmentScorer:
    """model: whose segments of users are taken. own: the scorer of each segment, by its name.
    overall: that of users of no segment, or of one without a scorer.
    """

    model: str
    overall: StaticScorer
    own: Mapping[str, StaticScorer]

    @property
    def items(self) -> int:
        return self.overall.items

    @property
    def needs(self) -> Mapping[str, int]:
        return {}

    def orders(self, block: Block) -> Iterator[tuple[StaticScorer, Mask]]:
        """The scorers that serve, and which users each serves."""
        names = block.segments[self.model]
        others = np.ones(block.size, dtype=bool)
        for name in self.own.keys() & set(names):
            rows = names == name
            others &= ~rows
            yield self.own[name], rows
        if others.any():
            yield self.overall, others

    def knows(self, block: Block) -> Mask:
        return self.overall.knows(block)

    def score(self, block: Block) -> Tile:
        values = empty_tile(block.size, self.items)
        for scorer, rows in self.orders(block):
            values[rows] = scorer.score(block.where(rows)).values
        return exact_tile(values)

    def spread(self, block: Block, tile: Tile) -> Single:
        found = np.zeros(block.size, dtype=np.float32)
        for scorer, rows in self.orders(block):
            found[rows] = scorer.spread(block.where(rows), tile)
        return found

    def parts(self, block: Block, user: int, listed: Positions) -> Parts:
        return nothing(listed)


@dataclass(frozen=True)
class BlendScorer:
    """members: scorers and their weights. method: sum of scores; standardised: of scores divided by
    their spread; rank_fusion: of 1 / (constant + rank), over each part's first `depth` items.
    """

    members: tuple[tuple[Scorer, float], ...]
    method: Literal["sum", "standardised", "rank_fusion"] = "sum"
    constant: float = 60.0
    depth: int = 1000

    @property
    def items(self) -> int:
        return self.members[0][0].items

    @property
    def needs(self) -> Mapping[str, int]:
        return {name: rank for part, _ in self.members for name, rank in part.needs.items()}

    def knows(self, block: Block) -> Mask:
        known = np.zeros(block.size, dtype=bool)
        for scorer, _ in self.members:
            known |= scorer.knows(block)
        return known

    def score(self, block: Block) -> Tile:
        return self._fused(block) if self.method == "rank_fusion" else self._summed(block)

    def spread(self, block: Block, tile: Tile) -> Single:
        return row_spread(np.where(np.isfinite(tile.values), tile.values, 0), self.items)

    def parts(self, block: Block, user: int, listed: Positions) -> Parts:
        """Those of the sum; ranks are nobody's sum."""
        if self.method == "rank_fusion":
            return nothing(listed)
        alone, found = block.rows(slice(user, user + 1)), []
        for scorer, weight in self.members:
            scale = self._part(alone, scorer, weight).scale[0]
            had, added = scorer.parts(block, user, listed)
            found.append((had, added * float(scale)))
        return added_up(found, len(listed))

    def _fused(self, block: Block) -> Tile:
        values = empty_tile(block.size, self.items)
        values[:, : self.items] = 0.0
        every = np.ones(self.items, dtype=bool)
        for scorer, weight in self.members:
            tile = scorer.score(block)
            leave_out(tile.values, every, block.seen)
            keep_listed(scorer, tile.values)
            best = best_of(tile, min(self.depth, self.items)).positions
            best[~scorer.knows(block)] = -1
            fuse(best, weight, self.constant, values)
        values[values == 0.0] = -np.inf
        return exact_tile(values)

    def _summed(self, block: Block) -> Tile:
        """Items that a part does not score get nothing from it; none scored by nobody."""
        parts = [self._part(block, scorer, weight) for scorer, weight in self.members]
        values = np.full_like(parts[0].tile.values, -np.inf)
        slack, size = np.zeros(block.size), np.zeros(block.size)
        for tile, scale in parts:
            size += add_scaled(values, tile.values, scale)
            slack += np.abs(scale) * tile.slack
        rounding = len(parts) * _EPSILON * size
        slack = np.maximum(slack + rounding, rounding / _LEAST_SHARE)
        return Tile(values, slack, _refine(parts), _shares([tile for tile, _ in parts]))

    def _part(self, block: Block, scorer: Scorer, weight: float) -> "_Part":
        tile = scorer.score(block)
        scale = np.full(block.size, weight)
        if self.method == "standardised":
            width = scorer.spread(block, tile).astype(np.float64)
            scale = np.where(width > 0, weight / np.where(width > 0, width, 1.0), 0.0)
        return _Part(tile, np.where(scorer.knows(block), scale, 0.0).astype(np.float32))


class _Part(NamedTuple):
    """scale: (users,) by which the scores are multiplied."""

    tile: Tile
    scale: Single


def _refine(parts: list[_Part]) -> Refine:
    """Exact scores of a sum: of the parts' exact scores, in their order, rounded once."""

    def refine(rows: npt.NDArray[np.int64], positions: Positions) -> Single:
        total = np.zeros(len(rows))
        for tile, scale in parts:
            own = exact_scores(tile, rows, positions).astype(np.float64)
            total += np.where(np.isfinite(own), own, 0.0) * scale[rows].astype(np.float64)
        return total.astype(np.float32)

    return refine


def _shares(tiles: list[Tile]) -> Single:
    """The largest share of the parts' slack, by item."""
    inexact = [tile.shares for tile in tiles if tile.slack.any()]
    least = np.full(tiles[0].values.shape[1], _LEAST_SHARE, dtype=np.float32)
    return np.asarray(np.maximum.reduce([least, *inexact]))


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
