"""Scorers whose orders of the items do not depend on what a user interacted with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys_spark.kernels.topn.inner_product import Positions, Single
from recsys_spark.kernels.topn.random_order import Shuffled, shuffled_scores
from recsys_spark.kernels.topn.static_order import StaticOrder, static_order
from recsys_spark.kernels.topn.tile import Mask, Tile, empty_tile, exact_tile
from recsys_spark.topn.explanations import Parts
from recsys_spark.topn.scorers import Block, nothing


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
        """The items in the order of all users' lists."""
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
    """model: whose factors of users are the beginnings of their orders,
    `kernels.topn.random_order.begin`.
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
