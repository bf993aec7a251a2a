"""Wiring of the policy: the files of the configuration to what lists keep, and what it removed."""

from datetime import UTC, datetime

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import ItemList
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.run import Run, Summary
from recsys_spark.runtime.source import read_blocked, read_item_list, read_windows
from recsys_spark.wals.catalogue import Tally
from recsys_spark.wals.policy import Policy, removed_items

_KEY = "recommend.policy"
_DAY = 86_400  # seconds


def read_policy(run: Run) -> Policy:
    """The policy of recommend.policy, ids in the type of the source.

    Raises ConfigError for a file that does not exist or genres that are not there, ContractError
    for a file without its columns.
    """
    config, ids = run.config.recommend.policy, run.read("item_ids")
    allow, deny = (_item_list(run, ids, name) for name in ("allow", "deny"))
    windows = None
    if config.available.path is not None:
        windows = _typed(read_windows(run.spark, f"{_KEY}.available", config.available), ids)
    at = (config.available.at or datetime.now(UTC)).replace(tzinfo=UTC)
    genres = None
    if config.max_per_genre is not None:
        if not run.has("items"):
            raise ConfigError(f"{_KEY}.max_per_genre needs the items' genres: set items.path.")
        genres = run.read("items").join(ids.toDF("item_id", "item"), "item_id")
    return Policy(
        removed_items(ids, allow, deny, windows, at),
        _blocked(run, ids),
        None if genres is None else genres.select("item", "genres"),
        config.max_per_genre or 1,
        -np.inf if config.min_score is None else config.min_score,
    )


def _item_list(run: Run, ids: DataFrame, name: str) -> DataFrame | None:
    """The ids of an item list; a warning where not one of them is an item."""
    section: ItemList = getattr(run.config.recommend.policy, name)
    if section.path is None:
        return None
    listed = _typed(read_item_list(run.spark, f"{_KEY}.{name}", section), ids).distinct()
    known = listed.join(ids.select(F.col("id").alias("item_id")), "item_id", "left_semi")
    if known.isEmpty():
        run.log.warning(f"{_KEY}.{name}: no id of {section.path} is an item of the interactions")
    return listed


def _typed(frame: DataFrame, ids: DataFrame) -> DataFrame:
    """item_id in the type of the dictionary; what cannot be one is left out."""
    kind = ids.schema["id"].dataType
    return frame.withColumn("item_id", F.col("item_id").try_cast(kind)).dropna(subset=["item_id"])


def _blocked(run: Run, ids: DataFrame) -> DataFrame | None:
    section = run.config.recommend.policy.blocked
    if section.path is None:
        return None
    pairs = _typed(read_blocked(run.spark, f"{_KEY}.blocked", section), ids)
    kind = run.read("user_ids").schema["id"].dataType
    named = pairs.join(ids.toDF("item_id", "item"), "item_id")
    return named.select(F.col("user_id").try_cast(kind).alias("user_id"), "item").distinct()


def seen_rows(history: DataFrame, days: float | None) -> DataFrame:
    """The rows that count as seen: all, or those of the last days before the newest event.

    Rows without a time always count. Raises ConfigError for days where no row has a time.
    """
    if days is None:
        return history
    row = history.agg(F.max("timestamp").alias("newest")).first()
    if row is None or row["newest"] is None:
        raise ConfigError("recommend.seen_days needs events with a time; remove it.")
    span = F.make_dt_interval(secs=F.lit(days * _DAY))
    recent = F.col("timestamp") >= F.lit(row["newest"]) - span
    return history.where(recent | F.col("timestamp").isNull())


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
        "scores_computed": tally.computed.value,
        "scores_ruled_out": _ruled_out(run, tally),
    }
    lines = [(count, f"items {rule.replace('_', ' ')}") for rule, count in removed.items()]
    lines += [
        (blocked, "pairs blocked"),
        (tally.below.value, "places below min_score"),
        (tally.passed.value, "items passed over for their genre"),
    ]
    if any(count for count, _ in lines):
        told = (f"{count:,} {what}" for count, what in lines if count)
        run.log.info(f"policy: {', '.join(told)}")
    return found


def _ruled_out(run: Run, tally: Tally) -> float | None:
    """The share of all scores that bounds made unnecessary."""
    items = run.read("item_factors").count()
    every = tally.users.value * items
    return max(0.0, round(1 - tally.computed.value / every, 4)) if every else None
