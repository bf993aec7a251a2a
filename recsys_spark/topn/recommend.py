"""Top-N lists of users: the model's best unseen items, completed by popular ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.topn.blocks import HISTORY, WEIGHTS, factor_column, nearest_column
from recsys_spark.topn.business_rules import Policy, make_listing, with_blocked
from recsys_spark.topn.catalog import Catalogue, Listing, Tally, with_factors
from recsys_spark.topn.distributed import recommend_top_n
from recsys_spark.topn.explanations import Explainer
from recsys_spark.topn.scorers import Scorer
from recsys_spark.topn.tiled import recommend_in_tiles


@dataclass(frozen=True)
class Notes:
    """What entries of lists say beside the item.

    had: columns user, item, timestamp; each entry has when the user had it last. known: from
    `weighted_history`. explain: what explains lists of a catalogue
    with its factors. reasons: items named for an entry, at most.
    """

    had: DataFrame | None = None
    known: DataFrame | None = None
    explain: Callable[[Catalogue], Explainer] | None = None
    reasons: int = 0


@dataclass(frozen=True)
class RankedBy:
    """What scorers rank by: see `topn.scorers`.

    scorers: by name, in the order in which they serve. factors: user factors of a model, columns id
    and factors, by its name. history: columns user, item and perhaps value, which weighs it.
    nearest: by the name of a model, from a frame with a column user to their `nearest_column`s,
    columns user and nearest.
    """

    scorers: tuple[tuple[str, Scorer], ...]
    factors: Mapping[str, DataFrame]
    history: DataFrame
    nearest: Mapping[str, Callable[[DataFrame], DataFrame]] = field(default_factory=dict)

    def beside(self, users: DataFrame) -> DataFrame:
        """users, with a column user, and what `blocks.read_block` takes."""
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

    def arrange(self, rows: DataFrame) -> DataFrame:
        """Rows, columns user_id and part, where their lists are to be, in order of their ids."""
        if self.buckets:
            return self.into_buckets(rows).sortWithinPartitions("user_id")
        return rows.repartitionById(self.parts, F.col("part")).sortWithinPartitions("user_id")

    def into_buckets(self, rows: DataFrame) -> DataFrame:
        """Rows, column user_id, in the partition of their bucket."""
        bucket = F.pmod(F.crc32(F.col("user_id").cast("string")), F.lit(self.buckets))
        return rows.repartitionById(self.buckets, bucket.cast("int"))


def recommend(
    users: DataFrame,
    seen: DataFrame | None,
    catalogue: Catalogue,
    model: tuple[DataFrame, DataFrame] | None,
    n: int,
    fill: bool,
    policy: Policy | None = None,
    tally: Tally | None = None,
    notes: Notes | None = None,
    tiles: int = 1,
    layout: Layout | None = None,
) -> DataFrame:
    """Columns user_id, recommendations, source; one row for each row of `users`, by user_id.

    users: columns user_id and user (index; null where unknown). seen: columns user, item, left out
    exactly. catalogue: what may be listed, from `read_catalogue`. model: user factors, perhaps with
    a column source, what lists of theirs are called, and item factors; None recommends what is
    popular. Ties: by item id. policy: what lists keep beside that. tally: added to when the lists
    are computed. notes: what entries have beside item_id, score and rank. tiles: into
    how many parts the items are divided where their factors do not fit; more than 1 needs a model,
    and a policy for which `needs_all_factors` is false. layout: by default one slice, of
    spark.sql.shuffle.partitions files.
    """
    parts = int(str(users.sparkSession.conf.get("spark.sql.shuffle.partitions")))
    layout, kept = layout or Layout(parts), policy or Policy()
    rows = gather(users, seen, model[0] if model else None, layout, kept, notes)
    if model and tiles == 1:
        catalogue = with_factors(catalogue, model[1])
    listing = make_listing(catalogue, kept, n, fill)
    if notes and notes.explain:
        listing = replace(listing, explainer=notes.explain(catalogue), reasons=notes.reasons)
    return rank_rows(rows, listing, layout, (model[1], tiles) if model else None, tally)


def gather(
    users: DataFrame,
    seen: DataFrame | None,
    user_factors: DataFrame | None,
    layout: Layout,
    policy: Policy,
    notes: Notes | None = None,
    ranked: RankedBy | None = None,
) -> DataFrame:
    """users with all that their lists are made of, and with a column part, the range of their ids.

    The ranges are found for the ids alone: to find them, Spark computes what it divides twice.
    """
    ranged = users.repartitionByRange(layout.parts * layout.slices, "user_id")
    rows = with_seen(ranged.withColumn("part", F.spark_partition_id()), seen)
    rows = ranked.beside(rows) if ranked else _with_factors(rows, user_factors)
    if policy.blocked is not None:
        rows = with_blocked(rows, policy.blocked)
    if policy.segments is not None:
        rows = rows.join(policy.segments, "user_id", "left")
    return _with_notes(rows, notes)


def rank_rows(
    rows: DataFrame,
    listing: Listing,
    layout: Layout,
    tiled: tuple[DataFrame, int] | None = None,
    tally: Tally | None = None,
) -> DataFrame:
    """The lists of rows from `gather`, in the layout: lists are much larger than these rows.

    tiled: item factors, and into how many tiles they go.
    """
    if tiled and tiled[1] > 1:
        return recommend_in_tiles(rows, "user_id", listing, *tiled, layout.arrange, tally)
    return recommend_top_n(layout.arrange(rows), "user_id", listing, tally)


def _with_notes(users: DataFrame, notes: Notes | None) -> DataFrame:
    """users with columns had and had_at, and those of `known`, as far as there are such notes."""
    if notes and notes.had is not None:
        pairs = F.collect_list(F.struct(F.col("item").cast("bigint").alias("item"), "timestamp"))
        lists = notes.had.groupBy("user").agg(pairs.alias("pairs"))
        columns = F.col("pairs.item").alias("had"), F.col("pairs.timestamp").alias("had_at")
        users = users.join(lists.select("user", *columns), "user", "left")
    if notes and notes.known is not None:
        users = users.join(notes.known, "user", "left")
    return users


def recommend_from(
    users: DataFrame,
    catalogue: Catalogue,
    model: tuple[DataFrame, DataFrame] | None,
    n: int,
    fill: bool,
) -> DataFrame:
    """The same with what is left out in users' column seen, and a catalogue from elsewhere."""
    rows = _with_factors(users, model[0] if model else None)
    if model:
        catalogue = with_factors(catalogue, model[1])
    return recommend_top_n(rows, "user_id", Listing(catalogue, n, fill))


def _with_factors(users: DataFrame, factors: DataFrame | None) -> DataFrame:
    if factors is None:
        return users.withColumn("factors", F.lit(None).cast("array<float>"))
    return users.join(factors.toDF("user", "factors", *factors.columns[2:]), "user", "left")


def with_seen(users: DataFrame, seen: DataFrame | None) -> DataFrame:
    """users with a column seen: the items of their rows of `seen`, columns user and item."""
    if seen is None:
        return users.withColumn("seen", F.lit(None).cast("array<bigint>"))
    lists = seen.groupBy("user").agg(F.collect_list(F.col("item").cast("bigint")).alias("seen"))
    return users.join(lists, "user", "left")


def read_catalogue(
    history: DataFrame,
    item_ids: DataFrame,
    label: str = "id",
    new: DataFrame | None = None,
    users: int | None = None,
) -> Catalogue:
    """The items of history on the driver, without factors; their users are the popularity.

    history: distinct pairs, columns user, item. item_ids: columns id, index. label: what lists
    name items by, their external `id` or their `index`. new: column item; further items, which
    nobody need have. users: how many history has; None: they are counted.
    """
    counts = history.groupBy("item").agg(F.count("*").alias("users"))
    if new is not None:
        counts = counts.join(new.select("item").distinct(), "item", "full").fillna(0, ["users"])
    named = counts.join(item_ids.withColumnRenamed("index", "item"), "item")
    table = named.toArrow().sort_by("id").combine_chunks()
    if users is None:
        users = history.select("user").distinct().count()
    return Catalogue(
        index=table["item"].to_numpy().astype(np.int64),
        labels=table["item" if label == "index" else "id"].combine_chunks(),
        item_type=item_ids.schema[label].dataType,
        factors=np.zeros((len(table), 1), dtype=np.float32),
        scored=np.zeros(len(table), dtype=bool),
        popularity=table["users"].to_numpy() / max(users, 1),
    )
