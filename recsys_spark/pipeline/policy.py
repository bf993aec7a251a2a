"""Wiring of the policy: the files of the configuration to what lists keep, and what it removed."""

from datetime import UTC, datetime
from functools import reduce

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import ItemList
from recsys_spark.errors import ConfigError
from recsys_spark.io.fields import Role
from recsys_spark.io.side_tables import read_rows, read_windows
from recsys_spark.pipeline.genres import required_genres
from recsys_spark.pipeline.run import Run, Summary
from recsys_spark.pipeline.side_tables import match
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


def listed_ids(run: Run) -> DataFrame:
    """Columns id, index: the items of the interactions, and behind them new ones of tables."""
    ids, config = run.read("item_ids"), run.config.recommend
    if config.policy.new_items.path is not None:
        named = _named_items(run, ids, "new_items")
    elif config.cold_start_items:
        named = _item_table(run)
    else:
        return ids
    unknown = named.select(F.col("item_id").alias("id")).join(ids, "id", "left_anti").distinct()
    last = ids.agg(F.max("index").alias("index")).collect()[0]["index"]
    names = sorted(row["id"] for row in unknown.collect())
    rows = [(name, last + 1 + at) for at, name in enumerate(names)]
    return ids.unionByName(run.spark.createDataFrame(rows, ids.schema))


def cold_start_items(run: Run, ids: DataFrame) -> DataFrame | None:
    """Column item: the items of the item table, if those that nobody has are to be listed.

    ids: from `listed_ids`.
    """
    if not run.config.recommend.cold_start_items:
        return None
    return _item_table(run).join(ids.toDF("item_id", "item"), "item_id").select("item")


def _item_table(run: Run) -> DataFrame:
    if not run.has("items"):
        raise ConfigError("recommend.cold_start_items lists items of a table: set items.path.")
    return run.read("items").dropna(subset=["item_id"])


def read_policy(run: Run, history: DataFrame, ids: DataFrame) -> Policy:
    """The policy of recommend.policy and recommend.segments, ids in the type of the source.

    history: the interactions. ids: from `listed_ids`. Raises ConfigError for a file that does not
    exist, and for genres or times that are not there, ContractError for a file without its columns.
    """
    config = run.config.recommend.policy
    segments, capped = _segments(run), config.max_per_genre is not None
    return Policy(
        removed=_removed(run, history, ids),
        blocked=_blocked(run, ids),
        genres=required_genres(run, ids, f"{_KEY}.max_per_genre") if capped else None,
        max_per_genre=config.max_per_genre or 1,
        min_score=-np.inf if config.min_score is None else config.min_score,
        variety=config.variety,
        popularity_discount=config.popularity_discount,
        segments=segments,
        popular_in=_popular_in(run, history, segments),
        allowed_in=_allowed_in(run, ids, segments),
        new_items=_new_items(run, history, ids) if config.new_items.places else None,
        new_places=config.new_items.places,
        tail_share=config.tail_items.share,
        tail_places=config.tail_items.places,
    )


def _removed(run: Run, history: DataFrame, ids: DataFrame) -> DataFrame | None:
    least = run.config.recommend.policy.min_users
    seldom = None if least is None else seldom_used(history, ids, least)
    section = run.config.recommend.policy.available
    allow, deny = (_item_list(run, ids, name) for name in ("allow", "deny"))
    windows = None
    if section.path is not None:
        key = f"{_KEY}.available"
        windows = match(run, key, read_windows(run.spark, key, section), {"item_id": ids})
    at = (section.at or datetime.now(UTC)).replace(tzinfo=UTC)
    return removed_items(ids, allow, deny, windows, at, seldom)


def _segments(run: Run) -> DataFrame | None:
    section = run.config.recommend.segments
    if section.path is None:
        return None
    columns: dict[str, tuple[str, Role]] = {
        "user": ("user_id", "id"),
        "segment": ("segment", "text"),
    }
    rows = read_rows(run.spark, "recommend.segments", section, columns).dropna()
    typed = match(run, "recommend.segments", rows, {"user_id": run.read("user_ids")})
    return typed.groupBy("user_id").agg(F.min("segment").alias("segment"))  # of several, the first


def _popular_in(run: Run, history: DataFrame, segments: DataFrame | None) -> DataFrame | None:
    """What fills lists in a segment; what is popular everywhere follows it."""
    config = run.config.recommend
    if segments is None or not config.backfill:
        return None
    return popular_in_segments(history, segments, max(_POPULAR, 2 * config.n))


def _allowed_in(run: Run, ids: DataFrame, segments: DataFrame | None) -> DataFrame | None:
    section = run.config.recommend.policy.allow_in_segment
    if section.path is None or segments is None:
        return None
    key = f"{_KEY}.allow_in_segment"
    columns: dict[str, tuple[str, Role]] = {
        "segment": ("segment", "text"),
        "item": ("item_id", "id"),
    }
    rows = read_rows(run.spark, key, section, columns)
    known = {"item_id": ids, "segment": segments.select("segment")}
    listed = match(run, key, rows, known)
    named = listed.join(ids.toDF("item_id", "item"), "item_id", "left")
    return named.select("segment", F.coalesce("item", F.lit(-1)).alias("item")).dropna()


def _new_items(run: Run, history: DataFrame, ids: DataFrame) -> DataFrame:
    """Column item: what came of late, and what a file names."""
    section, found = run.config.recommend.policy.new_items, []
    if section.days is not None:
        first = history.groupBy("item").agg(F.min("timestamp").alias("timestamp"))
        found.append(since(history, first, section.days, f"{_KEY}.new_items.days"))
    if section.path is not None:
        named = _named_items(run, ids, "new_items")
        found.append(named.join(ids.toDF("item_id", "item"), "item_id"))
    return reduce(DataFrame.unionByName, (frame.select("item") for frame in found)).distinct()


def _item_list(run: Run, ids: DataFrame, name: str) -> DataFrame | None:
    """The ids of an item list, if there is one."""
    section: ItemList = getattr(run.config.recommend.policy, name)
    return None if section.path is None else _named_items(run, ids, name).distinct()


def _named_items(run: Run, ids: DataFrame, name: str) -> DataFrame:
    """Column item_id: what the file of an item list names; new items need not be known."""
    section: ItemList = getattr(run.config.recommend.policy, name)
    rows = read_rows(run.spark, f"{_KEY}.{name}", section, {"column": ("item_id", "id")})
    return match(run, f"{_KEY}.{name}", rows, {"item_id": ids}, new=name == "new_items")


def _blocked(run: Run, ids: DataFrame) -> DataFrame | None:
    section = run.config.recommend.policy.blocked
    if section.path is None:
        return None
    key = f"{_KEY}.blocked"
    columns: dict[str, tuple[str, Role]] = {"user": ("user_id", "id"), "item": ("item_id", "id")}
    rows = read_rows(run.spark, key, section, columns)
    pairs = match(run, key, rows, {"user_id": run.read("user_ids"), "item_id": ids})
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


def effect(run: Run, policy: Policy, tally: Tally) -> Summary:
    """What each rule removed, said in the log and kept with the run, once the lists are written."""
    removed = {}
    if policy.removed is not None:
        counts = policy.removed.groupBy("rule").count().collect()
        removed = {row["rule"]: row["count"] for row in sorted(counts)}
    blocked = 0 if policy.blocked is None else policy.blocked.count()
    found = {
        "removed_items": removed,
        "blocked_pairs": blocked,
        "places_below_min_score": tally.below.value,
        "passed_over_for_genre": tally.passed.value,
        "reserved_places_filled": tally.reserved.value,
        "scores_computed": tally.computed.value,
        "scores_ruled_out": _ruled_out(tally),
    }
    lines = [(count, f"items {rule.replace('_', ' ')}") for rule, count in removed.items()]
    lines += [
        (blocked, "pairs blocked"),
        (tally.below.value, "places below min_score"),
        (tally.passed.value, "items passed over for their genre"),
        (tally.reserved.value, "places given to new items or the tail"),
    ]
    if any(count for count, _ in lines):
        told = (f"{count:,} {what}" for count, what in lines if count)
        run.log.info(f"policy: {', '.join(told)}")
    return found


def _ruled_out(tally: Tally) -> float | None:
    """The share of all scores that bounds made unnecessary."""
    every = tally.possible.value
    return max(0.0, round(1 - tally.computed.value / every, 4)) if every else None
