"""How lists spread over the catalogue: coverage, concentration, groups of items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from recsys_spark.errors import ConfigError
from recsys_spark.evaluation.inputs import (
    cutoffs,
    listed_as,
    ranked_lists,
    require_same,
)
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.kernels.exposure import exposure_metrics, lorenz_curve
from recsys_spark.schema import METRICS as TABLE
from recsys_spark.schema import quoted, require

Row = dict[str, Any]
Counts = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Exposure:
    """table: rows of the metrics table. curves: by model, from `lorenz_curve`, at one cut-off."""

    table: DataFrame
    curves: dict[str, list[list[float]]]


def measure_exposure(
    recommendations: DataFrame,
    items: DataFrame,
    k: Sequence[int],
    run_id: str,
    model: str | Sequence[str] = "model",
    split: str = "test",
    groups: DataFrame | None = None,
    curve_at: int | None = None,
) -> Exposure:
    """Each metric of `kernels.exposure`, and user_coverage, the share of the rows of
    `recommendations` with at least one item; `users` counts those.

    recommendations, model: as of `measure_ranking`, with a row for every user who should have one.
    items: the catalogue, column item_id. groups: columns item_id and group; an item may be in
    several. The share of all listed items that each group has is metric `exposure`, its name the
    segment, beside its share of the catalogue, `catalogue_share`. curve_at: by default, the first
    cut-off.

    Only how many items are listed how often, and the groups' sums, come to the driver. Raises
    ContractError if a column is missing or of another type, ConfigError for a k below 1 or another
    curve_at.
    """
    require(items, ["item_id"], "items")
    named, ks = ranked_lists(recommendations, model), cutoffs(k)
    if curve_at not in (None, *ks):
        raise ConfigError(f"curve_at is {curve_at}; choose one of k, {ks}.")
    kind = listed_as(recommendations, items=items)
    named = named.withColumn("list", F.col("list").cast(ArrayType(kind)))
    catalogue = items.select("item_id").distinct()
    size, lists = catalogue.count(), _lists(named)
    rows: list[Row] = []
    counts = _listed(named, catalogue, ks).persist()
    try:
        histograms = _histograms(counts, ks, size, list(lists))
        if groups is not None:
            require(groups, ["item_id", "group"], "groups")
            require_same("item_id", items=items, groups=groups)
            rows += _by_group(counts, groups, catalogue, ks, size, lists)
    finally:
        counts.unpersist()
    for (name, cutoff), found in histograms.items():
        rows += _overall(name, cutoff, found, *lists[name])
    same = {"run_id": run_id, "split": split, "ci_low": None, "ci_high": None}
    content = [tuple((same | row)[name] for name in TABLE.names) for row in rows]
    table = recommendations.sparkSession.createDataFrame(content, TABLE)
    shown = curve_at or ks[0]
    return Exposure(table, {name: lorenz_curve(*histograms[name, shown]) for name in lists})


def concentration(counts: DataFrame, column: str) -> list[list[float]]:
    """How few items have how much of a count, a row an item. See `lorenz_curve`."""
    histogram = counts.groupBy(F.col(quoted(column)).alias("times")).count().toArrow()
    times, items = (histogram[name].to_numpy().astype(np.int64) for name in ("times", "count"))
    return lorenz_curve(times, items)


def _listed(named: DataFrame, catalogue: DataFrame, ks: list[int]) -> DataFrame:
    """Columns model, item_id and, for each cut-off, the number of lists that have the item."""
    entries = named.select("model", F.posexplode("list").alias("place", "item_id"))
    counted = entries.groupBy("model", "item_id").agg(
        *(F.count_if(F.col("place") < k).alias(str(k)) for k in ks)
    )
    return counted.join(catalogue, "item_id", "left_semi")


def _lists(named: DataFrame) -> dict[str, tuple[int, int]]:
    """Rows of each model, and how many of them have items."""
    served = F.count_if(F.size("list") > 0)
    rows = named.groupBy("model").agg(F.count("*").alias("all"), served.alias("served")).collect()
    return {row["model"]: (row["all"], row["served"]) for row in sorted(rows)}


def _histograms(
    counts: DataFrame, ks: list[int], size: int, models: list[str]
) -> dict[tuple[str, int], Counts]:
    """By model and cut-off: numbers of lists, and how many items are in so many; also in none."""
    long = counts.unpivot("model", [str(k) for k in ks], "k", "listed")
    table: pa.Table = long.where("listed > 0").groupBy("model", "k", "listed").count().toArrow()
    found = {}
    for name in models:
        for k in ks:
            chosen = pc.and_(pc.equal(table["model"], name), pc.equal(table["k"], str(k)))
            own = table.filter(chosen)
            listed, items = (own[column].to_numpy() for column in ("listed", "count"))
            never = size - int(items.sum())
            found[name, k] = np.append(listed, 0), np.append(items, never)
    return found


def _overall(model: str, k: int, counts: Counts, everyone: int, served: int) -> Iterator[Row]:
    found = exposure_metrics(*counts, served) | {"user_coverage": served / everyone}
    for name, value in found.items():
        yield _row(model, name, k, ALL, value, served)


def _by_group(
    counts: DataFrame, groups: DataFrame, catalogue: DataFrame, ks: list[int], size: int,
    lists: dict[str, tuple[int, int]],
) -> list[Row]:  # fmt: skip
    columns = [str(k) for k in ks]
    sums = [F.sum(name).alias(name) for name in columns]
    totals = {row["model"]: row for row in counts.groupBy("model").agg(*sums).collect()}
    inside = groups.join(catalogue, "item_id", "left_semi").groupBy("group").count()
    shares = {row["group"]: row["count"] / size for row in inside.orderBy("group").collect()}
    joined = counts.join(groups, "item_id").groupBy("model", "group").agg(*sums).collect()
    listed = {(row["model"], row["group"]): row for row in joined}
    rows = []
    for model, total in sorted(totals.items()):
        for group, share in shares.items():
            for k, column in zip(ks, columns, strict=True):
                own = listed.get((model, group))
                served = lists[model][1]
                part = (own[column] if own else 0) / total[column] if total[column] else None
                if part is not None:
                    rows.append(_row(model, "exposure", k, group, part, served))
                rows.append(_row(model, "catalogue_share", k, group, share, served))
    return rows


def _row(model: str, metric: str, k: int, segment: str, value: float, users: int) -> Row:
    return {
        "model": model, "metric": metric, "k": k, "segment": segment, "value": value,
        "users": users,
    }  # fmt: skip
