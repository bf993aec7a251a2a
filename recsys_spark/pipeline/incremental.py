"""Wiring of incremental lists: those of an earlier table are reused for unchanged users."""

from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from recsys_spark.config import Recommend
from recsys_spark.pipeline.context import Keep
from recsys_spark.pipeline.list_inputs import Earlier, Inputs
from recsys_spark.runtime.log import Log
from recsys_spark.storage.tables import Tables
from recsys_spark.topn.incremental import changed_users, reusable_lists

PUBLISHED = "published"
_TABLE = "recommendations"
# What lists are made by, beside what `reusable_lists` looks up in them.
LIST_SETTINGS = (
    "recommend.model",
    "recommend.cold_start_items",
    "recommend.exclude_seen",
    "recommend.seen_days",
    "recommend.explain",
    "recommend.backfill",
    "recommend.policy.min_score",
    "recommend.policy.max_per_genre",
    "recommend.policy.diversity",
    "recommend.policy.popularity_discount",
    "recommend.policy.new_items.slots",
    "recommend.policy.new_items.days",
    "recommend.policy.tail_items",
    "models",
)


def read_lists(tables: Tables, version: str | None, run_id: str) -> Earlier | None:
    """The lists of a version; None: there are none, or they are those of this run.

    Raises ConfigError for a version without such a table.
    """
    if version is None or version == run_id:
        return None
    return Earlier(version, tables.read(_TABLE, tables.version(_TABLE, version).run_id))


def read_reusable(
    tables: Tables, version: str | None, run_id: str, settings_digest: str
) -> Earlier | None:
    """The same, with the interactions where the same settings made the lists.

    settings_digest: as of `Inputs`.
    """
    earlier = read_lists(tables, version, run_id)
    if earlier is None:
        return None
    manifest = tables.version(_TABLE, version)
    if manifest.check_results.get("rules") != settings_digest:
        return earlier
    return replace(earlier, history=tables.read("interactions", manifest.inputs["ingest"]))


def reuse_lists(
    inputs: Inputs, users: DataFrame, wanted: Recommend, schema: StructType, log: Log, keep: Keep
) -> tuple[DataFrame, DataFrame | None]:
    """The users who need new lists, and the lists of the others; None: there are none.

    users: column user_id and others. schema: of the table that is written.
    """
    earlier = inputs.earlier
    if earlier is None and wanted.changed_since == PUBLISHED:
        log.info("nothing else is published: all lists are made")
    if earlier is None or not _is_like(earlier, schema, log):
        return users, None
    kept = _kept(earlier, inputs, wanted.n).select("user_id")
    stays = keep(kept.join(users.select("user_id"), "user_id", "left_semi"), "kept_users")
    log.info(
        f"{stays.count():,} lists of run {earlier.run_id} are reused, of users without changes"
    )
    stay = earlier.lists.join(stays, "user_id", "left_semi")
    return users.join(stays, "user_id", "left_anti"), stay


def _is_like(earlier: Earlier, schema: StructType, log: Log) -> bool:
    """Whether the lists are made as those that are wanted."""
    if earlier.lists.schema != schema:
        log.warning(f"lists of run {earlier.run_id} have other columns: all lists are made")
    elif earlier.history is None:
        log.warning(f"lists of run {earlier.run_id} were made by other rules: all lists are made")
    return earlier.lists.schema == schema and earlier.history is not None


def _kept(earlier: Earlier, inputs: Inputs, n: int) -> DataFrame:
    """The earlier lists of unchanged users, which no rule is against."""
    assert earlier.history is not None
    policy, changed = inputs.policy, changed_users(inputs.history, earlier.history)
    removed, blocked, allowed_in = (
        _by_id(rule, inputs.ids) for rule in (policy.removed, policy.blocked, policy.allowed_in)
    )
    lists, segments = earlier.lists, policy.segments
    return reusable_lists(lists, changed, removed, blocked, n, segments, allowed_in)


def _by_id(rule: DataFrame | None, ids: DataFrame) -> DataFrame | None:
    """The rows with item_id in place of the index; null where that is no item's."""
    if rule is None:
        return None
    return rule.join(ids.toDF("item_id", "item"), "item", "left").drop("item")
