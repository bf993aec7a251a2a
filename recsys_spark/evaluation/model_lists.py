"""The lists of several models for the same users, and their full ranking.

Every tile of scores is computed once: the list is taken from it, then the ranks of the relevant
items are counted in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys_spark.arrow import list_array, list_bounds, list_parts
from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS, full_ranking
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.inner_product import Positions, Single, top_n
from recsys_spark.kernels.topn.random_order import shuffled_lists, shuffled_ranking
from recsys_spark.kernels.topn.static_order import static_lists, static_ranking
from recsys_spark.kernels.topn.tile import Tile, best_of, leave_out, user_blocks
from recsys_spark.lookup import Lookup
from recsys_spark.topn.blocks import factor_column, read_block
from recsys_spark.topn.scorers import Block, FactorScorer, NeighbourScorer, Scorer
from recsys_spark.topn.static_scorers import RandomScorer, SegmentScorer, StaticScorer

LISTS, FULL_RANKING = "lists", "full_ranking"
Draw = Callable[[npt.NDArray[np.int64]], Single]


@dataclass(frozen=True)
class Ranking:
    """How users' lists are made.

    index: (items,) internal ids of the catalog, in the order that breaks ties. models: the scorers
    by the names of the models. n: length of the lists. full_ranking: whether the relevant items'
    ranks are counted. drawn: user factors that a function of the users' indices gives, (users,
    rank), by model.
    """

    index: npt.NDArray[np.int64]
    models: Mapping[str, Scorer]
    n: int
    full_ranking: bool = False
    drawn: Mapping[str, Draw] = field(default_factory=dict)

    @cached_property
    def lookup(self) -> Lookup:
        """Where internal ids stand."""
        return Lookup(self.index)

    @property
    def ranks(self) -> dict[str, int]:
        """Of the user factors that the scorers take, by model."""
        own = (scorer.needs for scorer in self.models.values())
        return {name: rank for needs in own for name, rank in needs.items()}


def rank_batch(batch: pa.RecordBatch, ranking: Ranking) -> dict[str, pa.Array]:
    """The lists of all models, and the metrics of the full ranking, of a batch of users.

    Parameters
    ----------
    batch
        From `user_rows.unpacked`; for each model that a scorer needs, the user factors,
        `topn.blocks.factor_column`, unless they are drawn.
    ranking
        The models.

    Returns
    -------
    dict
        Columns lists, list<list<int32>>: for each model, in their order, internal ids of items,
        best first, those of history and known left out; and full_ranking, list<double>: for each
        model the metrics of `kernels.metrics.full_ranking.RANK_METRICS`, null where there are none.
    """
    block = read_block(_with_drawn(batch, ranking), ranking.lookup, ranking.ranks)
    indptr, ids = list_parts(batch.column("truth"), np.int64)
    truth = Ragged(indptr, ranking.lookup.positions(ids))
    items = np.full((block.size, len(ranking.models), ranking.n), -1, dtype=np.int32)
    rank_metrics = np.full((block.size, len(ranking.models), len(RANK_METRICS)), np.nan)
    for at, scorer in enumerate(ranking.models.values()):
        found = items[:, at]
        _by_scorer(
            scorer, block, truth, found, rank_metrics[:, at] if ranking.full_ranking else None
        )
        found[found >= 0] = ranking.index[found[found >= 0]]
    return {LISTS: _nested(items), FULL_RANKING: _flat(rank_metrics)}


def first_items(lists: pa.ListArray, n: int) -> pa.ListArray:
    """The first n items of every list of every user."""
    bounds, ids = list_parts(lists.flatten(), np.int32)
    lengths = np.minimum(np.diff(bounds), n)
    kept = np.arange(len(ids)) - np.repeat(bounds[:-1], np.diff(bounds)) < n
    inner = list_array(np.concatenate([[0], np.cumsum(lengths)]), pa.array(ids[kept]))
    return list_array(list_bounds(lists), inner)


def _with_drawn(batch: pa.RecordBatch, ranking: Ranking) -> pa.RecordBatch:
    for name, draw in ranking.drawn.items():
        vectors = draw(batch.column("user").to_numpy().astype(np.int64))
        bounds = np.arange(len(vectors) + 1) * vectors.shape[1]
        column = list_array(bounds, pa.array(vectors.astype(np.float32).ravel()))
        batch = batch.append_column(factor_column(name), column)
    return batch


def _by_scorer(
    scorer: Scorer,
    block: Block,
    truth: Ragged,
    positions: Positions,
    rank_metrics: npt.NDArray[np.float64] | None,
) -> None:
    """Fill positions, (users, n), and rank_metrics, (users, metrics), tile by tile."""
    if isinstance(scorer, StaticScorer | SegmentScorer):
        for static, of in scorer.orders(block):
            seen = block.seen.where(of)
            positions[of] = static_lists(static.ordered, seen, positions.shape[1])
            if rank_metrics is not None:
                rank_metrics[of] = static_ranking(static.ordered, seen, truth.where(of))
        return
    if isinstance(scorer, RandomScorer):
        by = scorer.shuffled, block.factors[scorer.model]
        positions[:] = shuffled_lists(*by, block.seen, positions.shape[1])
        if rank_metrics is not None:
            rank_metrics[:] = shuffled_ranking(*by, block.seen, truth)
        return
    if isinstance(scorer, FactorScorer) and rank_metrics is None:
        known = scorer.knows(block)
        users, seen = scorer.users(block)[known], block.seen.where(known)
        positions[known] = top_n(users, scorer.arranged, *seen, positions.shape[1]).positions
        return
    every = np.ones(scorer.items, dtype=bool)
    for rows in user_blocks(block.size, scorer.items):
        own = block.rows(rows)
        tile = scorer.score(own)
        leave_out(tile.values, every, own.seen)
        positions[rows] = _list_of(scorer, own, tile, positions.shape[1])
        if rank_metrics is not None:
            rank_metrics[rows] = full_ranking(tile, truth.rows(rows))


def _list_of(scorer: Scorer, block: Block, tile: Tile, n: int) -> Positions:
    """The best of the users that the scorer knows; the tile stays as it is."""
    found = best_of(tile, n)
    found.positions[~scorer.knows(block)] = -1
    if isinstance(scorer, NeighbourScorer) and scorer.positive:
        found.positions[found.scores <= 0.0] = -1
    return found.positions


def _nested(items: Positions) -> pa.ListArray:
    """Lists of lists, from (users, models, n), -1 behind the last item."""
    users, models, _ = items.shape
    listed = items >= 0
    bounds = np.concatenate([[0], np.cumsum(listed.sum(axis=2).ravel())])
    return list_array(np.arange(users + 1) * models, list_array(bounds, pa.array(items[listed])))


def _flat(values: npt.NDArray[np.float64]) -> pa.ListArray:
    users = len(values)
    bounds = np.arange(users + 1) * (values.size // max(1, users))
    return list_array(bounds, pa.array(values.ravel(), from_pandas=True))
