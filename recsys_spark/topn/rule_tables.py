"""Tables of business rules, such as items off sale and blocked pairs: source ids to indices."""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.errors import ConfigError, setting
from recsys_spark.topn.business_rules import Policy

DENIED, NOT_ALLOWED, UNAVAILABLE = "denied", "not_allowed", "unavailable"
TOO_FEW_USERS = "with_too_few_users"
_DAY = 86_400  # seconds


@dataclass(frozen=True)
class RuleTables:
    """What lists are to keep, by the ids of the source; None: there is no such table.

    allow, deny: column item_id; only these, and none of those. windows: columns item_id, since,
    until; at: the moment, UTC. min_users: items that fewer users interacted with are removed.
    blocked: columns user_id, item_id. segments: columns user_id, segment, once a user. popular:
    items of a segment, at least, that its users' lists are filled with; 0: none of its own.
    allowed_in: columns segment, item_id. new_items: column item_id. new_days: an item is new so
    many days from its first event on; None: only those of the table are.
    """

    at: datetime
    allow: DataFrame | None = None
    deny: DataFrame | None = None
    windows: DataFrame | None = None
    min_users: int | None = None
    blocked: DataFrame | None = None
    segments: DataFrame | None = None
    popular: int = 0
    allowed_in: DataFrame | None = None
    new_items: DataFrame | None = None
    new_days: float | None = None


def with_tables(
    policy: Policy, given: RuleTables, history: DataFrame, item_ids: DataFrame
) -> Policy:
    """The policy with what the tables remove, block, allow and reserve slots for.

    history: columns user_id, user, item, timestamp; distinct pairs. item_ids: columns id, index, of
    all items. Raises ConfigError where new items are those of days and no event has a time.
    """
    least = given.min_users
    seldom = None if least is None else seldom_used(history, item_ids, least)
    return replace(
        policy,
        removed=removed_items(item_ids, given.allow, given.deny, given.windows, given.at, seldom),
        blocked=None if given.blocked is None else _blocked(given.blocked, item_ids),
        segments=given.segments,
        popular_in=_popular_in(given, history),
        allowed_in=None if given.allowed_in is None else _allowed_in(given.allowed_in, item_ids),
        new_items=_new_items(given, history, item_ids) if policy.new_slots else None,
    )


def removed_items(
    item_ids: DataFrame,
    allow: DataFrame | None,
    deny: DataFrame | None,
    windows: DataFrame | None,
    at: datetime,
    seldom: DataFrame | None = None,
) -> DataFrame | None:
    """Columns item (the index) and rule, a row an item and rule that removes it; None: no rules.

    item_ids: columns id, index. allow, deny: column item_id; only these, and none of those.
    windows: columns item_id, since, until; null: open. An item with several is available in any,
    one without always. at: the moment, UTC. seldom: column item, from `seldom_used`.
    """
    items = item_ids.toDF("item_id", "item")
    found = []
    if deny is not None:
        found.append((items.join(deny, "item_id", "left_semi"), DENIED))
    if allow is not None:
        found.append((items.join(allow, "item_id", "left_anti"), NOT_ALLOWED))
    if windows is not None:
        moment = F.timestamp_micros(F.lit(round(at.timestamp() * 1e6)))
        begun = F.col("since").isNull() | (F.col("since") <= moment)
        open_ = begun & (F.col("until").isNull() | (moment < F.col("until")))
        closed = windows.groupBy("item_id").agg(F.bool_or(open_).alias("open")).where("not open")
        found.append((items.join(closed, "item_id", "left_semi"), UNAVAILABLE))
    if seldom is not None:
        found.append((seldom, TOO_FEW_USERS))
    named = [frame.select("item", F.lit(rule).alias("rule")) for frame, rule in found]
    return reduce(DataFrame.unionByName, named) if named else None


def seldom_used(history: DataFrame, item_ids: DataFrame, least: int) -> DataFrame:
    """Column item: the items that fewer users than `least` interacted with.

    history: distinct pairs, columns user, item. item_ids: columns id, index, of all items.
    """
    counts = history.groupBy("item").agg(F.count("*").alias("users"))
    items = item_ids.select(F.col("index").alias("item")).join(counts, "item", "left")
    return items.where(F.coalesce("users", F.lit(0)) < least).select("item")


def popular_in_segments(history: DataFrame, segments: DataFrame, most: int) -> DataFrame:
    """Columns segment, item, share: what most users of a segment have, up to `most` and equals.

    history: distinct pairs, columns user_id, item. segments: columns user_id, segment, once a user.
    """
    rows = history.join(segments, "user_id")
    users = rows.groupBy("segment").agg(F.count_distinct("user_id").alias("users"))
    counts = rows.groupBy("segment", "item").agg(F.count("*").alias("count"))
    rank = F.rank().over(Window.partitionBy("segment").orderBy(F.desc("count")))
    best = counts.withColumn("rank", rank).where(F.col("rank") <= most)
    share = (F.col("count") / F.col("users")).alias("share")
    return best.join(users, "segment").select("segment", "item", share)


def _popular_in(given: RuleTables, history: DataFrame) -> DataFrame | None:
    """What fills lists in a segment; what is popular everywhere follows it."""
    if given.segments is None or not given.popular:
        return None
    return popular_in_segments(history, given.segments, given.popular)


def _blocked(pairs: DataFrame, item_ids: DataFrame) -> DataFrame:
    """Columns user_id, item."""
    named = pairs.join(item_ids.toDF("item_id", "item"), "item_id")
    return named.select("user_id", "item").distinct()


def _allowed_in(rows: DataFrame, item_ids: DataFrame) -> DataFrame:
    """Columns segment, item; -1, which is no item, keeps a segment of unknown items limited."""
    named = rows.join(item_ids.toDF("item_id", "item"), "item_id", "left")
    return named.select("segment", F.coalesce("item", F.lit(-1)).alias("item")).dropna()


def _new_items(given: RuleTables, history: DataFrame, item_ids: DataFrame) -> DataFrame:
    """Column item: what came recently, and what a table names."""
    found = []
    if given.new_days is not None:
        first = history.groupBy("item").agg(F.min("timestamp").alias("timestamp"))
        found.append(since(history, first, given.new_days, "new_days"))
    if given.new_items is not None:
        found.append(given.new_items.join(item_ids.toDF("item_id", "item"), "item_id"))
    return reduce(DataFrame.unionByName, (frame.select("item") for frame in found)).distinct()


def seen_rows(history: DataFrame, seen_days: float | None) -> DataFrame:
    """The rows that count as seen: all, or those of the last days before the newest event.

    Rows without a time always count. Raises ConfigError for seen_days where no row has a time.
    """
    if seen_days is None:
        return history
    recent = since(history, history, seen_days, "seen_days")
    return recent.unionByName(history.where("timestamp is null"))


def since(history: DataFrame, rows: DataFrame, days: float, field: str) -> DataFrame:
    """The rows whose timestamp is in the last days before the newest event of history.

    field: the setting that asks. Raises ConfigError where no event has a time.
    """
    row = history.agg(F.max("timestamp").alias("newest")).first()
    if row is None or row["newest"] is None:
        raise ConfigError(f"{setting(field)} needs events with a time; remove it.")
    span = F.make_dt_interval(secs=F.lit(days * _DAY))
    return rows.where(F.col("timestamp") >= F.lit(row["newest"]) - span)
