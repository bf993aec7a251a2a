"""How values, times and the activity of users are spread: a few bins each, whatever the size."""

from collections.abc import Sequence
from math import log10
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

Bins = list[list[float]]

_MOST = 24  # bins of a histogram
_DECADES = 2  # from so many powers of ten on, bins grow with the values
_SECONDS_A_DAY = 86_400


def histograms(interactions: DataFrame) -> dict[str, Bins]:
    """By name, rows [from, to, count], least first; both ends are equal where bins are values.

    values: of the rows. activity: users by their number of rows. days: rows by their day since
    1970; empty where no row has a time. interactions: columns user, value, timestamp.

    One job. What comes to the driver are counts by two significant digits, and by day.
    """
    rows = interactions.select("user", "value", "timestamp")
    activity = rows.groupBy("user").agg(F.count("*").cast("double").alias("rows"))
    day = F.floor(F.unix_seconds("timestamp") / _SECONDS_A_DAY).cast("double")
    parts = [
        rows.select(F.lit("values").alias("name"), _rounded("value").alias("at")),
        activity.select(F.lit("activity").alias("name"), _rounded("rows").alias("at")),
        rows.where("timestamp is not null").select(F.lit("days").alias("name"), day.alias("at")),
    ]
    counted = parts[0].unionByName(parts[1]).unionByName(parts[2]).groupBy("name", "at").count()
    found: dict[str, dict[float, int]] = {"values": {}, "activity": {}, "days": {}}
    for row in counted.collect():
        at, own = float(f"{row['at']:.6g}"), found[row["name"]]
        own[at] = own.get(at, 0) + row["count"]
    return {name: binned(counts) for name, counts in found.items()}


def _rounded(name: str) -> Column:
    """To two significant digits."""
    value = F.col(name).cast("double")
    unit = F.pow(F.lit(10.0), F.floor(F.log10(F.abs(value))) - 1)
    return F.when(value == 0, 0.0).otherwise(F.round(value / unit) * unit)


def binned(counts: dict[float, int], most: int = _MOST) -> Bins:
    """At most `most` bins: one a value where that is enough, else of equal or of growing width."""
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
