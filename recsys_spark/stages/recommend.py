"""Top-N lists of users: the model's best unseen items, completed by popular ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.wals.catalogue import Catalogue, Listing, Tally, with_factors
from recsys_spark.wals.explainer import Explainer
from recsys_spark.wals.policy import Policy, make_listing, with_blocked
from recsys_spark.wals.tiles import recommend_in_tiles
from recsys_spark.wals.topn import recommend_top_n


@dataclass(frozen=True)
class Notes:
    """What entries of lists say beside the item.

    had: columns user, item, timestamp; each entry has when the user had it last. known: from
    `weighted_history`. explain: what explains lists of a catalogue with its factors.
    """

    had: DataFrame | None = None
    known: DataFrame | None = None
    explain: Callable[[Catalogue], Explainer] | None = None


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
) -> DataFrame:
    """Columns user_id, recommendations, source; one row for each row of `users`, by user_id.

    users: columns user_id and user (index; null where unknown). seen: columns user, item, left out
    exactly. catalogue: what may be listed, from `read_catalogue`. model: user factors, perhaps with
    a column source, what lists of theirs are called, and item factors; None recommends what is
    popular. Ties: by item id. policy: what lists keep beside that. tally: added to when the lists
    are computed. notes: what entries have beside item_id, score and rank. tiles: into
    how many parts the items are divided where their factors do not fit; more than 1 needs a model,
    and a policy for which `needs_all_factors` is false.

    Users are put in the order of their ids, in spark.sql.shuffle.partitions ranges of them, before
    they are ranked: lists are much larger than what they are made of.
    """
    parts = int(str(users.sparkSession.conf.get("spark.sql.shuffle.partitions")))
    rows = with_seen(_ranged(users, parts), seen)
    rows, catalogue = _with_factors(rows, catalogue, model, scored=tiles == 1)
    kept = policy or Policy()
    if kept.blocked is not None:
        rows = with_blocked(rows, kept.blocked)
    if kept.segments is not None:
        rows = rows.join(kept.segments, "user_id", "left")
    rows = _with_notes(rows, notes)
    listing = make_listing(catalogue, kept, n, fill)
    if notes and notes.explain:
        listing = replace(listing, explainer=notes.explain(catalogue))

    def order(frame: DataFrame) -> DataFrame:
        return frame.repartitionById(parts, F.col("part")).sortWithinPartitions("user_id")

    if tiles > 1 and model is not None:
        return recommend_in_tiles(rows, "user_id", listing, model[1], tiles, order, tally)
    return recommend_top_n(order(rows), "user_id", listing, tally)


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


def _ranged(users: DataFrame, parts: int) -> DataFrame:
    """users with a column part, the range of ids that they are written in.

    The ranges are found for the ids alone: to find them, Spark computes what it divides twice.
    """
    return users.repartitionByRange(parts, "user_id").withColumn("part", F.spark_partition_id())


def recommend_from(
    users: DataFrame,
    catalogue: Catalogue,
    model: tuple[DataFrame, DataFrame] | None,
    n: int,
    fill: bool,
) -> DataFrame:
    """The same with what is left out in users' column seen, and a catalogue from elsewhere."""
    rows, catalogue = _with_factors(users, catalogue, model)
    return recommend_top_n(rows, "user_id", Listing(catalogue, n, fill))


def _with_factors(
    users: DataFrame,
    catalogue: Catalogue,
    model: tuple[DataFrame, DataFrame] | None,
    scored: bool = True,
) -> tuple[DataFrame, Catalogue]:
    """users with their factors, and the catalogue, if it is to be scored, with those of items."""
    if model is None:
        return users.withColumn("factors", F.lit(None).cast("array<float>")), catalogue
    factors = model[0].toDF("user", "factors", *model[0].columns[2:])
    known = with_factors(catalogue, model[1]) if scored else catalogue
    return users.join(factors, "user", "left"), known


def with_seen(users: DataFrame, seen: DataFrame | None) -> DataFrame:
    """users with a column seen: the items of their rows of `seen`, columns user and item."""
    if seen is None:
        return users.withColumn("seen", F.lit(None).cast("array<bigint>"))
    lists = seen.groupBy("user").agg(F.collect_list(F.col("item").cast("bigint")).alias("seen"))
    return users.join(lists, "user", "left")


def read_catalogue(history: DataFrame, item_ids: DataFrame, label: str = "id") -> Catalogue:
    """The items of history on the driver, without factors; their users are the popularity.

    history: distinct pairs, columns user, item. item_ids: columns id, index. label: what lists
    name items by, their external `id` or their `index`.
    """
    counts = history.groupBy("item").agg(F.count("*").alias("users"))
    named = counts.join(item_ids.withColumnRenamed("index", "item"), "item")
    table = named.toArrow().sort_by("id").combine_chunks()
    users = history.select("user").distinct().count()
    return Catalogue(
        index=table["item"].to_numpy().astype(np.int64),
        labels=table["item" if label == "index" else "id"].combine_chunks(),
        item_type=item_ids.schema[label].dataType,
        factors=np.zeros((len(table), 1), dtype=np.float32),
        scored=np.zeros(len(table), dtype=bool),
        popularity=table["users"].to_numpy() / max(users, 1),
    )
