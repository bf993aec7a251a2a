"""Which users need new lists, and which keep those of an earlier table."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def changed_users(now: DataFrame, before: DataFrame) -> DataFrame:
    """Column user_id: users of `now` whose rows are not those of `before`.

    now, before: columns user_id, item_id, value, timestamp, each pair once. Rows are compared by a
    hash of 64 bits, the same whatever their order.
    """
    both = _prints(now, "new").join(_prints(before, "old"), "user_id", "left")
    return both.where(~F.col("new").eqNullSafe(F.col("old"))).select("user_id")


def _prints(frame: DataFrame, name: str) -> DataFrame:
    row = F.xxhash64("item_id", "value", F.unix_micros("timestamp"))
    return frame.groupBy("user_id").agg(F.struct(F.count("*"), F.bit_xor(row)).alias(name))


def reusable_lists(
    lists: DataFrame,
    changed: DataFrame,
    removed: DataFrame | None,
    blocked: DataFrame | None,
    n: int,
    segments: DataFrame | None = None,
    allowed_in: DataFrame | None = None,
) -> DataFrame:
    """The lists that may stay as they are.

    lists: columns user_id, recommendations. changed: column user_id. removed: column item_id, what
    no list may have. blocked: columns user_id, item_id. segments: columns user_id, segment.
    allowed_in: columns segment, item_id (null: nothing), what alone a segment with rows is listed.
    Lists of users who changed, lists of another length than n, and lists with something that they
    may not have do not stay.
    """
    kept = lists.where(F.size("recommendations") == n).join(changed, "user_id", "left_anti")
    entries = kept.select("user_id", F.explode("recommendations.item_id").alias("item_id"))
    for rule in (removed, blocked):
        if rule is not None:
            keys = [name for name in entries.columns if name in rule.columns]
            against = entries.join(rule.select(*keys), keys, "left_semi").select("user_id")
            kept = kept.join(against.distinct(), "user_id", "left_anti")
    if segments is not None and allowed_in is not None:
        limited = segments.join(allowed_in.select("segment").distinct(), "segment")
        own = entries.join(limited, "user_id")
        against = own.join(allowed_in, ["segment", "item_id"], "left_anti").select("user_id")
        kept = kept.join(against.distinct(), "user_id", "left_anti")
    return kept
