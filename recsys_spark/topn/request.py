"""What top-N lists are made of, and what they have to be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.topn.blocks import (
    HISTORY,
    WEIGHTS,
    factor_column,
    nearest_column,
    segment_column,
)
from recsys_spark.topn.business_rules import Policy
from recsys_spark.topn.catalog import Catalog
from recsys_spark.topn.explanations import Explainer
from recsys_spark.topn.scorers import Scorer

# From a column user to columns user and nearest, structs of user and weight.
Nearest = Callable[[DataFrame], DataFrame]


@dataclass(frozen=True)
class Notes:
    """What entries of lists say beside the item.

    history: columns user, item, timestamp; entries get the time of the last interaction. known:
    from `weighted_history`. explainer: of scores by the factors of the catalog. reasons: items
    named for an entry, at most.
    """

    history: DataFrame | None = None
    known: DataFrame | None = None
    explainer: Explainer | None = None
    reasons: int = 0

    def join_to(self, users: DataFrame) -> DataFrame:
        """users with columns interacted, interacted_at, and those of `known`, if there are such."""
        if self.history is not None:
            pair = F.struct(F.col("item").cast("bigint").alias("item"), "timestamp")
            lists = self.history.groupBy("user").agg(F.collect_list(pair).alias("pairs"))
            columns = (
                F.col("pairs.item").alias("interacted"),
                F.col("pairs.timestamp").alias("interacted_at"),
            )
            users = users.join(lists.select("user", *columns), "user", "left")
        return users if self.known is None else users.join(self.known, "user", "left")


@dataclass(frozen=True)
class ByFactors:
    """Scores are products of user factors and the catalog's factors.

    users: columns id and factors, optionally source: what a list of theirs is called (by default,
    model). items, tiles: item factors, columns id and factors, that do not fit go to the workers in
    so many tiles, one after the other; the catalog then needs no factors, and the policy must
    not need them all (`Policy.needs_all_factors`).
    """

    users: DataFrame
    items: DataFrame | None = None
    tiles: int = 1

    def join_to(self, users: DataFrame) -> DataFrame:
        """users, with a column user, and their factors; null for those without."""
        own = self.users.toDF("user", "factors", *self.users.columns[2:])
        return users.join(own, "user", "left")


@dataclass(frozen=True)
class ByScorers:
    """What scorers rank by: see `topn.scorers`. Every item of the catalog may be listed.

    scorers: by name, in the order in which they serve. factors: user factors of a model, columns id
    and factors, by its name. history: columns user, item and optionally value, which weighs it.
    nearest: by the name of a model, from a frame with a column user to their `nearest_column`s,
    columns user and nearest. segments: columns user_id and segment, each user once, by the name of
    the model that counts within them.
    """

    scorers: tuple[tuple[str, Scorer], ...]
    factors: Mapping[str, DataFrame]
    history: DataFrame
    nearest: Mapping[str, Nearest] = field(default_factory=dict)
    segments: Mapping[str, DataFrame] = field(default_factory=dict)

    def join_to(self, users: DataFrame) -> DataFrame:
        """users, with columns user_id and user, and what `blocks.read_block` takes."""
        for name, segments in self.segments.items():
            own = segments.toDF("user_id", segment_column(name))
            users = users.join(own, "user_id", "left")
        for name, nearest in self.nearest.items():
            found = nearest(users.select("user")).toDF("user", nearest_column(name))
            users = users.join(found, "user", "left")
        for name, factors in self.factors.items():
            column = F.col("factors").alias(factor_column(name))
            users = users.join(factors.select(F.col("id").alias("user"), column), "user", "left")
        return users.join(histories(self.history), "user", "left")


def histories(history: DataFrame) -> DataFrame:
    """Columns user, history and, where pairs have a value, history_weights: a row a user."""
    pair = [F.col("item").cast("bigint").alias("item")]
    if "value" in history.columns:
        pair.append(F.col("value").cast("float").alias("value"))
    lists = history.groupBy("user").agg(F.collect_list(F.struct(*pair)).alias("pairs"))
    columns = [F.col("pairs.item").alias(HISTORY)]
    columns += [F.col("pairs.value").alias(WEIGHTS)] if len(pair) > 1 else []
    return lists.select("user", *columns)


@dataclass(frozen=True)
class Layout:
    """In what files lists are written.

    parts: files of a slice, each with a range of user ids. slices: ranges of users whose lists are
    made one after the other. buckets: in place of ranges, so many files a slice; a user's is in
    the one whose number is the CRC-32 of the id's text, modulo buckets. 0: ranges.
    """

    parts: int
    slices: int = 1
    buckets: int = 0

    def marked(self, users: DataFrame) -> DataFrame:
        """users, column user_id, with a column part, the range of their ids.

        The ranges are found before anything is joined: to find them, Spark computes what it
        divides twice.
        """
        ranged = users.repartitionByRange(self.parts * self.slices, "user_id")
        return ranged.withColumn("part", F.spark_partition_id())

    def arrange(self, rows: DataFrame) -> DataFrame:
        """Rows, columns user_id and part, where their lists are to be, in order of their ids."""
        if self.buckets:
            return self.into_buckets(rows).sortWithinPartitions("user_id")
        return rows.repartitionById(self.parts, F.col("part")).sortWithinPartitions("user_id")

    def into_buckets(self, rows: DataFrame) -> DataFrame:
        """Rows, column user_id, in the partition of their bucket."""
        bucket = F.pmod(F.crc32(F.col("user_id").cast("string")), F.lit(self.buckets))
        return rows.repartitionById(self.buckets, bucket.cast("int"))


@dataclass(frozen=True)
class Request:
    """Lists that are wanted: see `topn.recommend.make_lists`.

    users: columns user_id, the key of the lists, and user (index; null where unknown). Where
    they have columns seen (array<bigint>, internal ids) and factors (array<float>) already, these
    are taken as they are. catalog: what may be listed, from `read_catalog`; with factors, from
    `with_factors`, where all are ranked at once. n: length of a list. fill: complete short lists
    by what is popular. ranked_by: None lists what is popular, or is in the users' factors. seen:
    columns user, item, left out exactly. policy: what lists keep beside that. notes: what entries
    have beside item_id, score and rank. layout: None: lists keep the order and the partitions of
    the users.
    """

    users: DataFrame
    catalog: Catalog
    n: int
    fill: bool = False
    ranked_by: ByFactors | ByScorers | None = None
    seen: DataFrame | None = None
    policy: Policy = field(default_factory=Policy)
    notes: Notes = field(default_factory=Notes)
    layout: Layout | None = None
