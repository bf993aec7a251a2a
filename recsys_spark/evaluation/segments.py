"""Who a metric is averaged over: users by activity, and truth by the popularity of its items."""

from functools import reduce

import numpy as np
import numpy.typing as npt
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

BY_POPULARITY = ("items=head", "items=torso", "items=tail")
_HEAD, _TORSO = 0.5, 0.8  # shares of the training rows


def count_rows(history: DataFrame, side: str) -> DataFrame:
    """Columns user or item, as the side is called, and rows, the number of them in history."""
    return history.groupBy(side).agg(F.count("*").alias("rows"))


def activity(
    train: DataFrame, held_out: DataFrame, fold_in: DataFrame | None, cold_below: int
) -> tuple[int, float]:
    """How many users have training rows, and the median of the rows of those who are evaluated.

    Of the latter only users with at least cold_below rows count, those to fold in included; 0 where
    there are none. All frames have a column user.
    """
    parts = {"train": train, "held_out": held_out}
    parts |= {} if fold_in is None else {"fold_in": fold_in}
    tagged = [frame.select("user", F.lit(name).alias("of")) for name, frame in parts.items()]
    counts = (F.count_if(F.col("of") == name).alias(name) for name in parts)
    counted = reduce(DataFrame.unionByName, tagged).groupBy("user").agg(*counts)
    rows = F.col("train") + (F.lit(0) if fold_in is None else F.col("fold_in"))
    warm = F.when((F.col("held_out") > 0) & (rows >= cold_below), rows)
    users, median = F.count_if(F.col("train") > 0), F.percentile(warm, 0.5)
    found = counted.agg(users.alias("users"), median.alias("median")).collect()[0]
    return found["users"], found["median"] or 0.0


def by_activity(rows: Column, cold_below: int, median: float) -> Column:
    """The segment of users: activity=cold, light or heavy.

    rows: those of the user's history. cold: fewer rows than cold_below. The others are heavy if
    they have more rows than half of those others, the median, else light.
    """
    name = F.when(rows < cold_below, "cold").when(rows > median, "heavy").otherwise("light")
    return F.concat(F.lit("activity="), name)


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
