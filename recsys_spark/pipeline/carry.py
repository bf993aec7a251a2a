"""Wiring of what stays: lists of an earlier table, for users of whom nothing new is known."""

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from recsys_spark.pipeline.run import Run
from recsys_spark.topn.business_rules import Policy
from recsys_spark.topn.incremental import changed_users, kept_lists

PUBLISHED = "published"
# What lists are made by, beside what `kept_lists` looks up in them.
_RULES = (
    "model",
    "cold_start_items",
    "exclude_seen",
    "seen_days",
    "explain",
    "backfill",
    "policy.min_score",
    "policy.max_per_genre",
    "policy.variety",
    "policy.popularity_discount",
    "policy.new_items.places",
    "policy.new_items.days",
    "policy.tail_items",
)


def rules(run: Run) -> str:
    """A hash of the settings that lists which stay were made by, too."""
    return run.config.digest(*(f"recommend.{key}" for key in _RULES), "models")


def carry_over(
    run: Run,
    users: DataFrame,
    history: DataFrame,
    policy: Policy,
    ids: DataFrame,
    schema: StructType,
) -> tuple[DataFrame, DataFrame | None]:
    """The users who need new lists, and the lists of the others; None: there are none.

    users: column user_id and others. history: the interactions. ids: columns id, index, of the
    policy's items. schema: of the table that is written. Raises ConfigError if
    recommend.changed_since names a run without such a table.
    """
    since = run.config.recommend.changed_since
    earlier = run.tables.current("recommendations") if since == PUBLISHED else since
    if earlier is None or earlier == run.run_id:
        if since == PUBLISHED:
            run.log.info("nothing else is published: all lists are made")
        return users, None
    manifest = run.tables.version("recommendations", earlier)
    lists = run.tables.read("recommendations", earlier)
    if lists.schema != schema:
        run.log.warning(f"lists of run {earlier} have other columns: all lists are made")
        return users, None
    if manifest.findings.get("rules") != rules(run):
        run.log.warning(f"lists of run {earlier} were made by other rules: all lists are made")
        return users, None
    changed = changed_users(history, run.tables.read("interactions", manifest.inputs["ingest"]))
    removed, blocked, allowed_in = (
        _by_id(rule, ids) for rule in (policy.removed, policy.blocked, policy.allowed_in)
    )
    n, segments = run.config.recommend.n, policy.segments
    kept = kept_lists(lists, changed, removed, blocked, n, segments, allowed_in)
    wanted = users.select("user_id")
    stays = run.keep(kept.select("user_id").join(wanted, "user_id", "left_semi"), "kept_users")
    run.log.info(f"{stays.count():,} lists of run {earlier} stay, of users of whom nothing is new")
    stay = lists.join(stays, "user_id", "left_semi")
    return users.join(stays, "user_id", "left_anti"), stay


def _by_id(rule: DataFrame | None, ids: DataFrame) -> DataFrame | None:
    """The rows with item_id in place of the index; null where that is no item's."""
    if rule is None:
        return None
    return rule.join(ids.toDF("item_id", "item"), "item", "left").drop("item")
