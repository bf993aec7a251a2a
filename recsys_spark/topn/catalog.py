"""What lists are made of: the catalog, what segments have of their own, and the rules."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import Accumulator
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import DataType

from recsys_spark.arrow import list_matrix, list_parts
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.group_scores import Opinion
from recsys_spark.kernels.topn.rerank import ListRules, Popular, no_rules
from recsys_spark.lookup import Lookup
from recsys_spark.topn.explanations import Explainer
from recsys_spark.topn.scorers import Scorer

MODEL, FOLD_IN, POPULAR, POPULAR_IN_SEGMENT = "model", "fold_in", "popular", "popular_in_segment"
NOTHING = Popular(np.zeros(0, np.int32), np.zeros(0, np.float32))
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Catalog:
    """What may be recommended, in the order that breaks ties.

    index: (items,) internal ids. labels: (items,) ids as written to lists, of item_type.
    factors: (items, rank), zero rows for items without. scored: (items,) items with factors.
    popularity: (items,) share of the users who have the item; only used to fill lists.
    """

    index: npt.NDArray[np.int64]
    labels: pa.Array
    item_type: DataType
    factors: npt.NDArray[np.float32]
    scored: Mask
    popularity: npt.NDArray[np.float64]

    @cached_property
    def lookup(self) -> Lookup:
        """Where internal ids stand."""
        return Lookup(self.index)

    @cached_property
    def popular(self) -> Popular:
        """The items that users have."""
        order = np.argsort(-self.popularity, kind="stable")
        order = order[self.popularity[order] > 0]
        return Popular(order.astype(np.int32), self.popularity[order].astype(np.float32))

    def inside(self, lists: pa.ListArray) -> Ragged:
        """Lists of internal ids as positions, without those outside the catalog."""
        indptr, ids = list_parts(lists, np.int64)
        return Ragged(indptr, self.lookup.positions(ids)).without(-1)

    def mask(self, ids: npt.NDArray[np.int64]) -> Mask:
        """Which items have these internal ids, (items,)."""
        at = self.lookup.positions(ids)
        mask = np.zeros(len(self.index), dtype=bool)
        mask[at[at >= 0]] = True
        return mask


def with_factors(catalog: Catalog, item_factors: DataFrame) -> Catalog:
    """The catalog scored by these factors, columns id and factors; what it lacks is left out.

    They come to the driver, to be broadcast: bounded by what training could broadcast.
    """
    table = item_factors.toDF("id", "factors").toArrow().combine_chunks()
    vectors = table["factors"].combine_chunks()
    at = catalog.lookup.positions(table["id"].to_numpy().astype(np.int64))
    own = list_matrix(vectors, len(vectors[0]) if len(vectors) else 1)
    factors = np.zeros((len(catalog.index), own.shape[1]), dtype=np.float32)
    scored = np.zeros(len(catalog.index), dtype=bool)
    factors[at[at >= 0]], scored[at[at >= 0]] = own[at >= 0], True
    return replace(catalog, factors=factors, scored=scored)


def without_factors(catalog: Catalog) -> Catalog:
    """The catalog for scorers, which bring what they rank by; every item may be listed."""
    size = len(catalog.index)
    nothing = np.zeros((size, 1), dtype=np.float32)
    return replace(catalog, factors=nothing, scored=np.ones(size, dtype=bool))


@dataclass(frozen=True)
class Segment:
    """What lists of a segment's users have of their own.

    popular: what its users have; None: nothing. allowed: (items,) the only items that may be
    listed; None: all.
    """

    popular: Popular | None = None
    allowed: Mask | None = None


@dataclass(frozen=True)
class Reserved:
    """Slots of every list that some items have, such as new ones.

    items: (items,) which; they have factors, but need not be scored.
    """

    items: Mask
    slots: int


@dataclass(frozen=True)
class Listing:
    """How lists are made.

    n: their length. fill: complete short ones by what is popular, in the user's segment first.
    rules: what each keeps. segments: by name. reserved: those that come later are kept first.
    explainer: what the user's items add to scores by factors. reasons: items that are named for an
    entry, because of which it is listed. opinion: lists are
    of groups, whose factors are those of their members, one behind the other. scorers: rank the
    catalog in place of its factors, by name; each serves the users that none before it knows.
    """

    catalog: Catalog
    n: int
    fill: bool = False
    rules: ListRules | None = None
    segments: Mapping[str, Segment] = field(default_factory=dict)
    reserved: tuple[Reserved, ...] = ()
    explainer: Explainer | None = None
    reasons: int = 0
    opinion: Opinion | None = None
    scorers: tuple[tuple[str, Scorer], ...] = ()

    @property
    def ranks(self) -> dict[str, int]:
        """Of the user factors that the scorers take, by model."""
        return {name: rank for _, own in self.scorers for name, rank in own.needs.items()}

    @property
    def kept_rules(self) -> ListRules:
        """The rules, or some that leave everything as it is."""
        return self.rules or no_rules(len(self.catalog.index))


@dataclass(frozen=True)
class Tally:
    """What the search added up over all tasks, once its lists have been written.

    possible: scores of users with factors. computed: of these. below: slots that the model left
    free for a low score. skipped: items skipped for a rule on groups. reserved: items that were
    listed for a place of theirs alone.
    """

    possible: "Accumulator[int]"
    computed: "Accumulator[int]"
    below: "Accumulator[int]"
    skipped: "Accumulator[int]"
    reserved: "Accumulator[int]"

    @classmethod
    def of(cls, spark: SparkSession, before: Iterable[Sequence[int]] = ()) -> "Tally":
        """All of them 0, or what was counted before, each in the order of the fields."""
        tally = cls(*(spark.sparkContext.accumulator(0) for _ in range(5)))
        for counts in before:
            tally.add(*counts)
        return tally

    def add(self, *counts: int) -> None:
        """Add those of a batch, in the order of the fields."""
        for field_, count in zip(fields(self), counts, strict=True):
            getattr(self, field_.name).add(count)

    def counts(self) -> tuple[int, ...]:
        """Those so far, in the order of the fields; on the driver."""
        return tuple(getattr(self, field_.name).value for field_ in fields(self))

    def since(self, before: tuple[int, ...]) -> tuple[int, ...]:
        """What was added to earlier `counts`."""
        return tuple(now - then for now, then in zip(self.counts(), before, strict=True))
