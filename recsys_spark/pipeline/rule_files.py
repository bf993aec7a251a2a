"""Wiring of business rules: the files of recommend.policy and recommend.segments to a `Policy`."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrow import local_frame
from recsys_spark.config import Blocked, ItemList, Recommend, SegmentItems, Segments, Windows
from recsys_spark.errors import ConfigError
from recsys_spark.io.side_tables import read_rows, read_windows
from recsys_spark.pipeline.genres import require_genres
from recsys_spark.pipeline.side_tables import ITEM, SEGMENT, USER, SideTables
from recsys_spark.topn.business_rules import Policy
from recsys_spark.topn.rule_tables import RuleTables, with_tables

_KEY = "recommend.policy"
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
    """Column item: the items of the item table, if those without interactions are to be listed.

    ids: from `with_new_items`.
    """
    if not config.cold_start_items:
        return None
    return _item_table(items).join(ids.toDF("item_id", "item"), "item_id").select("item")


def _item_table(items: DataFrame | None) -> DataFrame:
    if items is None:
        raise ConfigError("recommend.cold_start_items lists items of a table: set items.path.")
    return items.dropna(subset=["item_id"])


def read_business_rules(
    config: Recommend, tables: SideTables, history: DataFrame, genres: DataFrame | None
) -> Policy:
    """The policy of recommend.policy and recommend.segments, ids in the type of the source.

    tables: they know user_id, and item_id from `with_new_items`. history: the interactions.
    genres: from `item_genres`. Raises ConfigError for a file that does not exist, and for genres
    or times that are not there, ContractError for a file without its columns.
    """
    section, capped = config.policy, config.policy.max_per_genre is not None
    policy = Policy(
        genres=require_genres(genres, f"{_KEY}.max_per_genre") if capped else None,
        max_per_genre=section.max_per_genre or 1,
        min_score=-np.inf if section.min_score is None else section.min_score,
        diversity=section.diversity,
        popularity_discount=section.popularity_discount,
        new_slots=section.new_items.slots,
        tail_share=section.tail_items.share,
        tail_slots=section.tail_items.slots,
    )
    return with_tables(policy, _tables(config, tables), history, tables.known["item_id"])


def _tables(config: Recommend, tables: SideTables) -> RuleTables:
    """Every file of the policy."""
    section, segments = config.policy, _segments(config.segments, tables)
    return RuleTables(
        at=(section.available.at or datetime.now(UTC)).replace(tzinfo=UTC),
        allow=_item_list(section.allow, "allow", tables),
        deny=_item_list(section.deny, "deny", tables),
        windows=_windows(section.available, tables),
        min_users=section.min_users,
        blocked=_blocked(section.blocked, tables),
        segments=segments,
        popular=max(_POPULAR, 2 * config.n) if config.backfill else 0,
        allowed_in=_allowed_in(section.allow_in_segment, segments, tables),
        new_items=_new_items(section.new_items, tables),
        new_days=section.new_items.days,
    )


def _windows(section: Windows, tables: SideTables) -> DataFrame | None:
    if section.path is None:
        return None
    key = f"{_KEY}.available"
    return tables.match(key, read_windows(tables.spark, key, section))


def _blocked(section: Blocked, tables: SideTables) -> DataFrame | None:
    if section.path is None:
        return None
    return tables.read(f"{_KEY}.blocked", section, {"user": USER, "item": ITEM})


def _segments(section: Segments, tables: SideTables) -> DataFrame | None:
    if section.path is None:
        return None
    columns = {"user": USER, "segment": SEGMENT}
    rows = read_rows(tables.spark, "recommend.segments", section, columns).dropna()
    typed = tables.match("recommend.segments", rows)
    return typed.groupBy("user_id").agg(F.min("segment").alias("segment"))  # of several, the first


def _allowed_in(
    section: SegmentItems, segments: DataFrame | None, tables: SideTables
) -> DataFrame | None:
    if section.path is None or segments is None:
        return None
    known = {"item_id": tables.known["item_id"], "segment": segments.select("segment")}
    columns = {"item": ITEM, "segment": SEGMENT}
    return replace(tables, known=known).read(f"{_KEY}.allow_in_segment", section, columns)


def _item_list(section: ItemList, name: str, tables: SideTables) -> DataFrame | None:
    """The ids of an item list, if there is one."""
    return None if section.path is None else _named_items(section, name, tables).distinct()


def _new_items(section: ItemList, tables: SideTables) -> DataFrame | None:
    return None if section.path is None else _named_items(section, "new_items", tables)


def _named_items(section: ItemList, name: str, tables: SideTables) -> DataFrame:
    """Column item_id: what the file of an item list names; new items need not be known."""
    new = name == "new_items"
    return tables.read(f"{_KEY}.{name}", section, {"column": ITEM}, new=new)
