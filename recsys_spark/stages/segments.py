"""Who a metric is averaged over: users by activity, and truth by the popularity of its items."""

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_HEAD, _TORSO = 0.5, 0.8  # shares of the training rows


def count_rows(history: DataFrame, side: str) -> DataFrame:
    """Columns user or item, as the side is called, and rows, the number of them in history."""
    return history.groupBy(side).agg(F.count("*").alias("rows"))


def by_activity(users: DataFrame, history: DataFrame, cold_below: int) -> DataFrame:
    """Columns user_id, segment: activity=cold, light or heavy.

    users: columns user_id, user. history: columns user, item. cold: fewer rows of history than
    cold_below. The others are heavy if they have more rows than half of those others, else light.
    """
    counts = count_rows(history, "user")
    sized = users.join(counts, "user", "left").fillna(0, ["rows"])
    warm = sized.where(F.col("rows") >= cold_below)
    middle = warm.agg(F.percentile("rows", 0.5).alias("middle")).first()
    median = middle["middle"] if middle and middle["middle"] is not None else 0.0
    rows = F.col("rows")
    name = F.when(rows < cold_below, "cold").when(rows > median, "heavy").otherwise("light")
    return sized.select("user_id", F.concat(F.lit("activity="), name).alias("segment"))


def by_attribute(attributes: DataFrame) -> DataFrame:
    """Columns user_id, segment: NAME=VALUE for each column of attributes beside user_id."""
    names = [name for name in attributes.columns if name != "user_id"]
    text = [F.col(f"`{name}`").cast("string").alias(name) for name in names]
    long = attributes.select("user_id", *text).unpivot("user_id", tuple(names), "name", "value")
    segment = F.concat_ws("=", "name", "value").alias("segment")
    return long.where("value is not null").select("user_id", segment)


def by_popularity(history: DataFrame) -> DataFrame:
    """Columns item, rows (of history), segment: items=head, torso or tail.

    The head is the fewest items, the most popular first, that hold half of the rows of history;
    the torso those after them up to four fifths; the tail the rest. Items with equally many rows
    are never parted.
    """
    counts = count_rows(history, "item")
    # How many items have so many rows: as many numbers as the square root of the rows, at most.
    sizes = counts.groupBy("rows").count().toArrow().sort_by([("rows", "descending")])
    rows, items = sizes["rows"].to_numpy(), sizes["count"].to_numpy()
    before = np.cumsum(rows * items) - rows * items
    named: Column = F.lit("tail")
    for name, share in (("torso", _TORSO), ("head", _HEAD)):
        inside = rows[before < share * (rows @ items)]
        if len(inside):
            named = F.when(F.col("rows") >= int(inside[-1]), name).otherwise(named)
    return counts.select("item", "rows", F.concat(F.lit("items="), named).alias("segment"))
