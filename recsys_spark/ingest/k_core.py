"""The k-core: users and items with enough neighbours, repeated until nothing changes."""

from collections.abc import Callable

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

Materialise = Callable[[DataFrame, str], DataFrame]


def k_core(
    pairs: DataFrame, min_user_items: int, min_item_users: int, materialise: Materialise
) -> DataFrame:
    """The largest subset in which every user and every item has at least so many pairs.

    pairs: one row a (user_id, item_id). materialise: keeps a frame under a name and cuts its
    plan, since the number of rounds is not known in advance.
    """
    wanted = {"user_id": min_user_items, "item_id": min_item_users}
    wanted = {side: least for side, least in wanted.items() if least > 1}
    if not wanted:
        return pairs
    size, round_ = pairs.count(), 0
    while True:
        for side, least in wanted.items():
            pairs = _keep_frequent(pairs, side, least)
        kept = Observation(f"core{round_}")
        rows = F.count(F.lit(1)).alias("rows")
        pairs = materialise(pairs.observe(kept, rows), f"core{round_ % 2}")
        if kept.get["rows"] == size:
            return pairs
        size, round_ = kept.get["rows"], round_ + 1


def _keep_frequent(pairs: DataFrame, side: str, least: int) -> DataFrame:
    frequent = pairs.groupBy(side).agg(F.count("*").alias("n")).where(F.col("n") >= least)
    return pairs.join(frequent.select(side), side, "left_semi")
