"""How values, times, users and items are spread, and histograms of that: a few bins each."""

from collections.abc import Sequence
from functools import reduce
from math import log10
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

Bins = list[list[float]]
Tallies = dict[str, dict[float, int]]

_MOST = 24  # bins of a histogram
_DECADES = 2  # from so many powers of ten on, bins grow with the values
_SECONDS_A_DAY = 86_400


def tallies(interactions: DataFrame) -> Tallies:
    """By name, how many there are of each number.

    values: rows by their value. activity: users by their number of rows. popularity: items by
    theirs. days: rows by their day since 1970; empty where no row has a time.

    interactions: columns user, item, value, timestamp. One job. Values and activity are rounded to
    two significant digits. Of the popularity, different numbers come to the driver, of which n rows
    have fewer than the root of 2 n.
    """
    timed, rows = interactions.where("timestamp is not null"), F.count("*").cast("double")
    users, items = (interactions.groupBy(side).agg(rows.alias("n")) for side in ("user", "item"))
    day = F.floor(F.unix_seconds("timestamp") / _SECONDS_A_DAY).cast("double")
    parts = {
        "values": interactions.select(_rounded(F.col("value")).alias("at")),
        "activity": users.select(_rounded(F.col("n")).alias("at")),
        "popularity": items.select(F.col("n").alias("at")),
        "days": timed.select(day.alias("at")),
    }
    named = (part.select(F.lit(name).alias("name"), "at") for name, part in parts.items())
    found: Tallies = {name: {} for name in parts}
    for row in reduce(DataFrame.unionByName, named).groupBy("name", "at").count().collect():
        at, own = float(f"{row['at']:.12g}"), found[row["name"]]  # 0.3, not 0.30000000000000004
        own[at] = own.get(at, 0) + row["count"]
    return found


def _rounded(value: Column) -> Column:
    """To two significant digits."""
    value = value.cast("double")
    unit = F.pow(F.lit(10.0), F.floor(F.log10(F.abs(value))) - 1)
    return F.when(value == 0, 0.0).otherwise(F.round(value / unit) * unit)


def binned(counts: dict[float, int], most: int = _MOST) -> Bins:
    """Rows [from, to, count], least first; both ends are equal where bins are values.

    At most `most` bins: one a value where that is enough, else of equal or of growing width.
    """
    if len(counts) <= most:
        return [[at, at, counts[at]] for at in sorted(counts)]
    edges = _edges(sorted(counts), most)
    ats = np.array(list(counts))
    sums, _ = np.histogram(ats, edges, weights=np.array(list(counts.values()), dtype=np.float64))
    bins = zip(edges[:-1].tolist(), edges[1:].tolist(), sums.tolist(), strict=True)
    return [[low, high, int(count)] for low, high, count in bins]


def _edges(ats: Sequence[float], most: int) -> Any:
    low, high = ats[0], ats[-1]
    if low > 0 and log10(high / low) >= _DECADES:
        edges = np.geomspace(low, high, most + 1)
    else:
        edges = np.linspace(low, high, most + 1)
    edges[0], edges[-1] = low, high  # exactly, so that the ends are inside
    return edges
