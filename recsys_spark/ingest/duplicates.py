"""One row a user-item pair."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

PAIR = ("user_id", "item_id")


def combine_duplicates(events: DataFrame, policy: str) -> DataFrame:
    """Columns user_id, item_id, value, timestamp and events (how many rows were combined).

    policy: last (by time, then the larger value), max, sum, mean or count; `error` combines as
    `last` and leaves the refusal to the caller, who sees `events`. The time is the latest one.
    """
    return events.groupBy(*PAIR).agg(
        _value(policy).alias("value"),
        F.max("timestamp").alias("timestamp"),
        F.count("*").alias("events"),
    )


def _value(policy: str) -> Column:
    # Sums run over sorted values, so that they do not depend on the order of arrival.
    total = F.aggregate(
        F.array_sort(F.collect_list("value")), F.lit(0.0), lambda total, value: total + value
    )
    return {
        "last": F.max(F.struct("timestamp", "value")).getField("value"),
        "error": F.max(F.struct("timestamp", "value")).getField("value"),
        "max": F.max("value"),
        "sum": total,
        "mean": total / F.count("*"),
        "count": F.count("*").cast("double"),
    }[policy]
