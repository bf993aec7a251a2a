"""Distributed exact top-N: users in partitions, the catalogue broadcast, no cross join."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Accumulator, Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, StringType, StructField, StructType

from recsys_spark.arrow import arrow_schema, list_array, list_matrix, list_parts, make_batch
from recsys_spark.kernels.listing import Ranked, Rules, fill_popular, no_rules, rank
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.kernels.topn import arrange
from recsys_spark.lookup import Lookup
from recsys_spark.schema import recommendation_list
from recsys_spark.wals.packed import Batches

MODEL, POPULAR, FOLD_IN = "model", "popular", "fold_in"


@dataclass(frozen=True)
class Catalogue:
    """What may be recommended, in the order that breaks ties.

    index: (items,) internal ids. labels: (items,) ids as written to lists, of item_type.
    factors: (items, rank), zero rows for items without. scored: (items,) items with factors.
    popularity: (items,) share of the users who have the item; only used to fill lists.
    """

    index: npt.NDArray[np.int64]
    labels: pa.Array
    item_type: DataType
    factors: npt.NDArray[np.float32]
    scored: npt.NDArray[np.bool_]
    popularity: npt.NDArray[np.float64]

    @cached_property
    def lookup(self) -> Lookup:
        """Where internal ids stand."""
        return Lookup(self.index)

    def inside(self, lists: pa.ListArray) -> Ragged:
        """Lists of internal ids as positions, without those outside the catalogue."""
        indptr, ids = list_parts(lists, np.int64)
        return Ragged(indptr, self.lookup.positions(ids)).without(-1)


@dataclass(frozen=True)
class Tally:
    """What the search added up over all tasks, once its lists have been written.

    users: with factors. computed: scores. below: places that the model left free for a low score.
    passed: items passed over for a rule on groups.
    """

    users: "Accumulator[int]"
    computed: "Accumulator[int]"
    below: "Accumulator[int]"
    passed: "Accumulator[int]"

    @classmethod
    def of(cls, spark: SparkSession) -> "Tally":
        """All of them 0."""
        return cls(*(spark.sparkContext.accumulator(0) for _ in range(4)))

    def add(self, found: Ranked) -> None:
        """Add those of a batch."""
        self.users.add(len(found.positions))
        self.computed.add(found.computed)
        self.below.add(found.below)
        self.passed.add(found.passed)


def recommend_top_n(
    users: DataFrame,
    key: str,
    catalogue: Catalogue,
    n: int,
    fill: bool,
    rules: Rules | None = None,
    tally: Tally | None = None,
) -> DataFrame:
    """Lists of n for each row of `users`: columns `key`, recommendations, source.

    users: column `key`, factors array<float> (null: not known to the model), seen array<long>
    (internal ids left out; null: none), and perhaps source, what the list of these factors is
    called; by default, model. fill: complete short lists with the most popular items. Scores of
    filled items are shares of users; the model's are its predictions. rules: what each list keeps.
    Rows keep their order and partitions.
    """
    schema = StructType(
        [
            StructField(key, users.schema[key].dataType),
            StructField("recommendations", recommendation_list(catalogue.item_type)),
            StructField("source", StringType()),
        ]
    )
    kept = rules or no_rules(len(catalogue.index))
    broadcast = users.sparkSession.sparkContext.broadcast((catalogue, kept))
    source = F.col("source") if "source" in users.columns else F.lit(MODEL)
    rows = users.select(key, "factors", "seen", source.alias("source"))
    return rows.mapInArrow(_recommend(key, broadcast, n, fill, tally, schema), schema)


def _recommend(
    key: str,
    broadcast: "Broadcast[tuple[Catalogue, Rules]]",
    n: int,
    fill: bool,
    tally: Tally | None,
    schema: StructType,
) -> Callable[[Batches], Batches]:
    target = arrow_schema(schema)

    def recommend(batches: Batches) -> Batches:
        with single_threaded():
            tile = _Tile(*broadcast.value, n, fill, tally)
            for batch in batches:
                if batch.num_rows:
                    lists, source = tile.lists(batch)
                    columns = {key: batch.column(key), "recommendations": lists, "source": source}
                    yield make_batch(target, columns)

    return recommend


def _sources(
    names: pa.Array, scored: npt.NDArray[np.int64], listed: npt.NDArray[np.int64]
) -> pa.Array:
    """By whom each list is: the model's, completed by popular items or not, or those alone."""
    alone = pc.fill_null(names, MODEL)
    completed = pc.binary_join_element_wise(alone, POPULAR, "+")
    own = pc.if_else(pa.array(listed > scored), completed, alone)
    return pc.if_else(pa.array(scored == 0), POPULAR, own)


class _Tile:
    """The catalogue prepared once a task: padded factors, lookups, items by popularity."""

    def __init__(
        self, catalogue: Catalogue, rules: Rules, n: int, fill: bool, tally: Tally | None
    ) -> None:
        self.catalogue, self.rules, self.n, self.fill = catalogue, rules, n, fill
        self.tally = tally
        self.items = arrange(catalogue.factors, catalogue.scored)
        by_popularity = np.argsort(-catalogue.popularity, kind="stable")
        self.popular = by_popularity[catalogue.popularity[by_popularity] > 0].astype(np.int32)

    def lists(self, batch: pa.RecordBatch) -> tuple[pa.Array, pa.Array]:
        """Recommendation lists and sources of a batch of users."""
        seen = self.catalogue.inside(batch.column("seen"))
        chosen, scores = self._ranked(batch.column("factors"), seen)
        scored = (chosen >= 0).sum(axis=1)
        if self.fill:
            fill_popular(chosen, self.popular, seen, self.rules)
        listed = (chosen >= 0).sum(axis=1)
        from_model = np.arange(self.n)[None, :] < scored[:, None]
        mixed = np.where(from_model, scores, self.catalogue.popularity[chosen])
        source = _sources(batch.column("source"), scored, listed)
        return self._as_lists(chosen, mixed, listed), source

    def _ranked(
        self, factors: pa.ListArray, seen: Ragged
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Positions and scores of those who have factors; -1 for the others."""
        known = factors.is_valid().to_numpy(zero_copy_only=False)
        vectors = list_matrix(factors, self.catalogue.factors.shape[1])[known]
        found = rank(vectors, self.items, seen.where(known), self.n, self.rules)
        if self.tally:
            self.tally.add(found)
        chosen = np.full((len(factors), self.n), -1, dtype=np.int32)
        scores = np.zeros(chosen.shape, dtype=np.float32)
        chosen[known], scores[known] = found.positions, found.scores
        return chosen, scores

    def _as_lists(
        self,
        chosen: npt.NDArray[np.int32],
        scores: npt.NDArray[np.float64],
        listed: npt.NDArray[np.int64],
    ) -> pa.Array:
        mask = chosen >= 0
        ranks = np.broadcast_to(np.arange(1, self.n + 1, dtype=np.int32), chosen.shape)
        entries = pa.StructArray.from_arrays(
            [
                self.catalogue.labels.take(pa.array(chosen[mask])),
                pa.array(scores[mask].astype(np.float32)),
                pa.array(ranks[mask]),
            ],
            names=["item_id", "score", "rank"],
        )
        return list_array(np.concatenate([[0], np.cumsum(listed)]), entries)
