"""How lists spread over the catalogue: coverage, concentration, groups of items."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from recsys_spark.arrow import local_frame
from recsys_spark.errors import ConfigError
from recsys_spark.evaluation.inputs import (
    cutoffs,
    listed_as,
    ranked_lists,
    require_same,
)
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.kernels.metrics.exposure import exposure_metrics, lorenz_curve
from recsys_spark.schema import METRICS as TABLE
from recsys_spark.schema import require

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
    """Each metric of `kernels.metrics.exposure`, and user_coverage, the share of the rows of
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
    counts = _listed(named, catalogue, ks).persist()
    try:
        spread = Spread(lists, _histograms(counts, ks, size, list(lists)))
        if groups is not None:
            require(groups, ["item_id", "group"], "groups")
            require_same("item_id", items=items, groups=groups)
            spread = Spread(*spread[:2], *_groups(counts, groups, catalogue, ks, size))
    finally:
        counts.unpersist()
    spark = recommendations.sparkSession
    return exposure_of(spark, spread, run_id, split, curve_at or ks[0])


class Spread(NamedTuple):
    """How lists spread over the items.

    lists: by model, its users and how many of them have items. histograms: by model and cut-off,
    numbers of lists, and how many items of the catalog are in so many; also in none. shares: by
    group, its share of the catalog. listed: by model and cut-off, the listed items of each group.
    """

    lists: Mapping[str, tuple[int, int]]
    histograms: Mapping[tuple[str, int], Counts]
    shares: Mapping[str, float] = {}
    listed: Mapping[tuple[str, int], Mapping[str, int]] = {}


def exposure_of(
    spark: SparkSession, spread: Spread, run_id: str, split: str, curve_at: int
) -> Exposure:
    """The metrics of what is known of the lists."""
    rows: list[Row] = []
    for (name, k), found in spread.histograms.items():
        rows += [*_overall(name, k, found, *spread.lists[name]), *_by_group(spread, name, k)]
    same = {"run_id": run_id, "split": split, "ci_low": None, "ci_high": None}
    content = [same | row for row in rows]
    curves = {name: lorenz_curve(*spread.histograms[name, curve_at]) for name in spread.lists}
    return Exposure(local_frame(spark, content, TABLE), curves)


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


def _groups(
    counts: DataFrame, groups: DataFrame, catalogue: DataFrame, ks: list[int], size: int
) -> tuple[dict[str, float], dict[tuple[str, int], dict[str, int]]]:
    """The groups' shares of the catalog, and how many of the listed items each has."""
    inside = groups.join(catalogue, "item_id", "left_semi").groupBy("group").count()
    shares = {row["group"]: row["count"] / size for row in inside.orderBy("group").collect()}
    sums = [F.sum(str(k)).alias(str(k)) for k in ks]
    joined = counts.join(groups, "item_id").groupBy("model", "group").agg(*sums).collect()
    listed: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for row, k in product(joined, ks):
        listed[row["model"], k][row["group"]] = row[str(k)]
    return shares, dict(listed)


def _by_group(spread: Spread, model: str, k: int) -> Iterator[Row]:
    times, items = spread.histograms[model, k]
    total, served = int(times @ items), spread.lists[model][1]
    if not any((own[0] > 0).any() for (name, _), own in spread.histograms.items() if name == model):
        return
    own = spread.listed.get((model, k), {})
    for group, share in spread.shares.items():
        if total:
            yield _row(model, "exposure", k, group, own.get(group, 0) / total, served)
        yield _row(model, "catalogue_share", k, group, share, served)


def _row(model: str, metric: str, k: int, segment: str, value: float, users: int) -> Row:
    return {
        "model": model, "metric": metric, "k": k, "segment": segment, "value": value,
        "users": users,
    }  # fmt: skip
