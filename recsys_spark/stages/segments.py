"""Who a metric is averaged over: users by activity, and truth by the popularity of its items."""

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

BY_POPULARITY = ("items=head", "items=torso", "items=tail")
_HEAD, _TORSO = 0.5, 0.8  # shares of the training rows


def count_rows(history: DataFrame, side: str) -> DataFrame:
    """Columns user or item, as the side is called, and rows, the number of them in history."""
    return history.groupBy(side).agg(F.count("*").alias("rows"))


def by_activity(users: DataFrame, cold_below: int) -> DataFrame:
    """Columns user_id, segment: activity=cold, light or heavy.

    users: columns user_id and rows, those of the user's history. cold: fewer rows than cold_below.
    The others are heavy if they have more rows than half of those others, else light.
    """
    warm = users.where(F.col("rows") >= cold_below)
    middle = warm.agg(F.percentile("rows", 0.5).alias("middle")).first()
    median = middle["middle"] if middle and middle["middle"] is not None else 0.0
    rows = F.col("rows")
    name = F.when(rows < cold_below, "cold").when(rows > median, "heavy").otherwise("light")
    return users.select("user_id", F.concat(F.lit("activity="), name).alias("segment"))


def by_attribute(attributes: DataFrame) -> DataFrame:
    """Columns user_id, segment: NAME=VALUE for each column of attributes beside user_id."""
    names = [name for name in attributes.columns if name != "user_id"]
    text = [F.col(f"`{name}`").cast("string").alias(name) for name in names]
    long = attributes.select("user_id", *text).unpivot("user_id", tuple(names), "name", "value")
    segment = F.concat_ws("=", "name", "value").alias("segment")
    return long.where("value is not null").select("user_id", segment)


def by_popularity(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """In which of `BY_POPULARITY` each item is, from how many rows of history it has, (items,).

    The head is the fewest items, the most popular first, that hold half of the rows of history;
    the torso those after them up to four fifths; the tail the rest. Items with equally many rows
    are never parted.
    """
    sizes, items = (part[::-1] for part in np.unique(rows, return_counts=True))
    before = np.cumsum(sizes * items) - sizes * items
    parts = np.full(len(rows), 2)
    for part, share in ((1, _TORSO), (0, _HEAD)):
        inside = sizes[before < share * (sizes @ items)]
        if len(inside):
            parts[rows >= inside[-1]] = part
    return parts
