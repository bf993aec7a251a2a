"""The scorer that adds up the scores, or the ranks, of others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.topn.inner_product import Positions, Single
from recsys_spark.kernels.topn.sparse_scores import add_scaled, fuse, row_spread
from recsys_spark.kernels.topn.tile import (
    Mask,
    Refine,
    Tile,
    best_of,
    empty_tile,
    exact_scores,
    exact_tile,
    leave_out,
)
from recsys_spark.topn.explanations import Parts, added_up
from recsys_spark.topn.scorers import Block, Scorer, keep_listed, nothing

_EPSILON = 2.0**-22
_LEAST_SHARE = 1 / 16  # of the slack of a sum, which the rounding of the sum has at every item


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
        """Those of the sum; a fusion of ranks has none."""
        if self.method == "rank_fusion":
            return nothing(listed)
        alone, found = block.rows(slice(user, user + 1)), []
        for scorer, weight in self.members:
            scale = self._part(alone, scorer, weight).scale[0]
            interacted, added = scorer.parts(block, user, listed)
            found.append((interacted, added * float(scale)))
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
        """A part adds nothing to items that it does not score; items without any part get none."""
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
