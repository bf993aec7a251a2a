"""Wiring of the policy: the files of the configuration to what lists keep, and what it removed."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrow import local_frame
from recsys_spark.config import Blocked, ItemList, Recommend, SegmentItems, Segments, Windows
from recsys_spark.errors import ConfigError
from recsys_spark.io.side_tables import read_rows, read_windows
from recsys_spark.pipeline.genres import required
from recsys_spark.pipeline.run import Summary
from recsys_spark.pipeline.side_tables import ITEM, SEGMENT, USER, SideTables
from recsys_spark.topn.business_rules import (
    Policy,
    popular_in_segments,
    removed_items,
    seldom_used,
)
from recsys_spark.topn.catalog import Tally

_KEY = "recommend.policy"
_DAY = 86_400  # seconds
_POPULAR = 1000  # items of a segment, at least, that its users' lists are filled with


def with_new_items(
    config: Recommend, ids: DataFrame, items: DataFrame | None, tables: SideTables
) -> DataFrame:
    """Columns id, index: the items of the interactions, and behind them new ones of tables.

    ids: columns id, index, those of the interactions. items: the item table.
    """
    if config.policy.new_items.path is not None:
        named = _named_items(config.policy.new_items, "new_items", tables)
    elif config.cold_start_items:
        named = _item_table(items)
    else:
        return ids
    unknown = named.select(F.col("item_id").alias("id")).join(ids, "id", "left_anti").distinct()
    last = ids.agg(F.max("index").alias("index")).collect()[0]["index"]
    names = sorted(row["id"] for row in unknown.collect())
    rows = [{"id": name, "index": last + 1 + at} for at, name in enumerate(names)]
    return ids.unionByName(local_frame(tables.spark, rows, ids.schema))


def cold_start_items(
    config: Recommend, ids: DataFrame, items: DataFrame | None
) -> DataFrame | None:
    """Column item: the items of the item table, if those that nobody has are to be listed.

    ids: from `with_new_items`.
    """
    if not config.cold_start_items:
        return None
    return _item_table(items).join(ids.toDF("item_id", "item"), "item_id").select("item")


def _item_table(items: DataFrame | None) -> DataFrame:
    if items is None:
        raise ConfigError("recommend.cold_start_items lists items of a table: set items.path.")
    return items.dropna(subset=["item_id"])


def read_policy(
    config: Recommend, tables: SideTables, history: DataFrame, genres: DataFrame | None
) -> Policy:
    """The policy of recommend.policy and recommend.segments, ids in the type of the source.

    tables: they know user_id, and item_id from `with_new_items`. history: the interactions.
    genres: from `item_genres`. Raises ConfigError for a file that does not exist, and for genres
    or times that are not there, ContractError for a file without its columns.
    """
    section, ids = config.policy, tables.known["item_id"]
    segments, capped = _segments(config.segments, tables), section.max_per_genre is not None
    return Policy(
        removed=_removed(config, history, ids, tables),
        blocked=_blocked(section.blocked, ids, tables),
        genres=required(genres, f"{_KEY}.max_per_genre") if capped else None,
        max_per_genre=section.max_per_genre or 1,
        min_score=-np.inf if section.min_score is None else section.min_score,
        variety=section.variety,
        popularity_discount=section.popularity_discount,
        segments=segments,
        popular_in=_popular_in(config, history, segments),
        allowed_in=_allowed_in(section.allow_in_segment, ids, segments, tables),
        new_items=_new_items(config, history, ids, tables) if section.new_items.places else None,
        new_places=section.new_items.places,
        tail_share=section.tail_items.share,
        tail_places=section.tail_items.places,
    )


def _removed(
    config: Recommend, history: DataFrame, ids: DataFrame, tables: SideTables
) -> DataFrame | None:
    section = config.policy
    least = section.min_users
    seldom = None if least is None else seldom_used(history, ids, least)
    allow = _item_list(section.allow, "allow", tables)
    deny = _item_list(section.deny, "deny", tables)
    at = (section.available.at or datetime.now(UTC)).replace(tzinfo=UTC)
    return removed_items(ids, allow, deny, _windows(section.available, tables), at, seldom)


def _windows(section: Windows, tables: SideTables) -> DataFrame | None:
    if section.path is None:
        return None
    key = f"{_KEY}.available"
    return tables.match(key, read_windows(tables.spark, key, section))


def _segments(section: Segments, tables: SideTables) -> DataFrame | None:
    if section.path is None:
        return None
    columns = {"user": USER, "segment": SEGMENT}
    rows = read_rows(tables.spark, "recommend.segments", section, columns).dropna()
    typed = tables.match("recommend.segments", rows)
    return typed.groupBy("user_id").agg(F.min("segment").alias("segment"))  # of several, the first


def _popular_in(
    config: Recommend, history: DataFrame, segments: DataFrame | None
) -> DataFrame | None:
    """What fills lists in a segment; what is popular everywhere follows it."""
    if segments is None or not config.backfill:
        return None
    return popular_in_segments(history, segments, max(_POPULAR, 2 * config.n))


def _allowed_in(
    section: SegmentItems, ids: DataFrame, segments: DataFrame | None, tables: SideTables
) -> DataFrame | None:
    if section.path is None or segments is None:
        return None
    own = replace(tables, known={"item_id": ids, "segment": segments.select("segment")})
    columns = {"item": ITEM, "segment": SEGMENT}
    listed = own.read(f"{_KEY}.allow_in_segment", section, columns)
    named = listed.join(ids.toDF("item_id", "item"), "item_id", "left")
    return named.select("segment", F.coalesce("item", F.lit(-1)).alias("item")).dropna()


def _new_items(
    config: Recommend, history: DataFrame, ids: DataFrame, tables: SideTables
) -> DataFrame:
    """Column item: what came of late, and what a file names."""
    section, found = config.policy.new_items, []
    if section.days is not None:
        first = history.groupBy("item").agg(F.min("timestamp").alias("timestamp"))
        found.append(since(history, first, section.days, f"{_KEY}.new_items.days"))
    if section.path is not None:
        named = _named_items(section, "new_items", tables)
        found.append(named.join(ids.toDF("item_id", "item"), "item_id"))
    return reduce(DataFrame.unionByName, (frame.select("item") for frame in found)).distinct()


def _item_list(section: ItemList, name: str, tables: SideTables) -> DataFrame | None:
    """The ids of an item list, if there is one."""
    return None if section.path is None else _named_items(section, name, tables).distinct()


def _named_items(section: ItemList, name: str, tables: SideTables) -> DataFrame:
    """Column item_id: what the file of an item list names; new items need not be known."""
    new = name == "new_items"
    return tables.read(f"{_KEY}.{name}", section, {"column": ITEM}, new=new)


def _blocked(section: Blocked, ids: DataFrame, tables: SideTables) -> DataFrame | None:
    if section.path is None:
        return None
    pairs = tables.read(f"{_KEY}.blocked", section, {"user": USER, "item": ITEM})
    named = pairs.join(ids.toDF("item_id", "item"), "item_id")
    return named.select("user_id", "item").distinct()


def seen_rows(history: DataFrame, days: float | None) -> DataFrame:
    """The rows that count as seen: all, or those of the last days before the newest event.

    Rows without a time always count. Raises ConfigError for days where no row has a time.
    """
    if days is None:
        return history
    recent = since(history, history, days, "recommend.seen_days")
    return recent.unionByName(history.where("timestamp is null"))


def since(history: DataFrame, rows: DataFrame, days: float, key: str) -> DataFrame:
    """The rows whose timestamp is in the last days before the newest event of history.

    key: the setting that asks. Raises ConfigError where no event has a time.
    """
    row = history.agg(F.max("timestamp").alias("newest")).first()
    if row is None or row["newest"] is None:
        raise ConfigError(f"{key} needs events with a time; remove it.")
    span = F.make_dt_interval(secs=F.lit(days * _DAY))
    return rows.where(F.col("timestamp") >= F.lit(row["newest"]) - span)


def effect(policy: Policy, tally: Tally) -> Summary:
    """What each rule removed, once the lists are written; it is kept with the run."""
    removed = {}
    if policy.removed is not None:
        counts = policy.removed.groupBy("rule").count().collect()
        removed = {row["rule"]: row["count"] for row in sorted(counts)}
    return {
        "removed_items": removed,
        "blocked_pairs": 0 if policy.blocked is None else policy.blocked.count(),
        "places_below_min_score": tally.below.value,
        "passed_over_for_genre": tally.passed.value,
        "reserved_places_filled": tally.reserved.value,
        "scores_computed": tally.computed.value,
        "scores_ruled_out": _ruled_out(tally),
    }


def described(found: Summary) -> str | None:
    """What `effect` found, in words for the log; None: nothing was removed."""
    counts = [
        (count, f"items {rule.replace('_', ' ')}") for rule, count in found["removed_items"].items()
    ]
    counts += [
        (found["blocked_pairs"], "pairs blocked"),
        (found["places_below_min_score"], "places below min_score"),
        (found["passed_over_for_genre"], "items passed over for their genre"),
        (found["reserved_places_filled"], "places given to new items or the tail"),
    ]
    removed = [f"{count:,} {what}" for count, what in counts if count]
    return f"policy: {', '.join(removed)}" if removed else None


def _ruled_out(tally: Tally) -> float | None:
    """The share of all scores that bounds made unnecessary."""
    every = tally.possible.value
    return max(0.0, round(1 - tally.computed.value / every, 4)) if every else None
