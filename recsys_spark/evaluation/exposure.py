"""Metrics of all lists together: coverage of the item catalog, concentration, groups of items."""

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
    """The result of `measure_exposure`.

    Attributes
    ----------
    table : DataFrame
        Rows of the metrics table: run_id, model, split, metric, k, segment, value, users; without
        intervals.
    curves : dict of str to list
        By model, the Lorenz curve at one cut-off: pairs [share of the items, the most listed first;
        share of all list entries], from [0, 0] to [1, 1]; empty where nothing is listed.
    """

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
    """Metrics of all lists together: coverage, concentration, exposure of groups of items.

    Only the histogram of how often items are listed, and the groups' sums, reach the driver.

    Parameters
    ----------
    recommendations : DataFrame
        Columns user_id and recommendations, as of `measure_ranking`, with a row for every user who
        should have a list; user_coverage is the share of the rows whose list is not empty.
    items : DataFrame
        The item catalog, column item_id.
    k : sequence of int
        Cut-offs, 1 or more.
    run_id : str
        Value of the column run_id.
    model : str or sequence of str
        Name of the lists, or names, as of `measure_ranking`.
    split : str
        Name of the held-out rows, for the column split.
    groups : DataFrame, optional
        Columns item_id and group; an item may be in several groups. Each group has a row of metric
        exposure, its share of all list entries, and one of catalog_share, its share of the items;
        the segment is the group's name.
    curve_at : int, optional
        The cut-off of the Lorenz curves; by default the lowest.

    Returns
    -------
    Exposure
        Rows of the metrics table, and a Lorenz curve a model.

    Raises
    ------
    ContractError
        If a column is missing or of another type.
    ConfigError
        For a k below 1, or a curve_at that is not in k.
    """
    require(items, ["item_id"], "items")
    named, ks = ranked_lists(recommendations, model), cutoffs(k)
    if curve_at not in (None, *ks):
        raise ConfigError(f"curve_at is {curve_at}; choose one of k, {ks}.")
    kind = listed_as(recommendations, items=items)
    named = named.withColumn("list", F.col("list").cast(ArrayType(kind)))
    catalog = items.select("item_id").distinct()
    size, lists = catalog.count(), _lists(named)
    counts = _listed(named, catalog, ks).persist()
    try:
        spread = Spread(lists, _histograms(counts, ks, size, list(lists)))
        if groups is not None:
            require(groups, ["item_id", "group"], "groups")
            require_same("item_id", items=items, groups=groups)
            spread = Spread(*spread[:2], *_groups(counts, groups, catalog, ks, size))
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


def _listed(named: DataFrame, catalog: DataFrame, ks: list[int]) -> DataFrame:
    """Columns model, item_id and, for each cut-off, the number of lists that have the item."""
    entries = named.select("model", F.posexplode("list").alias("position", "item_id"))
    counted = entries.groupBy("model", "item_id").agg(
        *(F.count_if(F.col("position") < k).alias(str(k)) for k in ks)
    )
    return counted.join(catalog, "item_id", "left_semi")


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


def _overall(model: str, k: int, counts: Counts, all_users: int, served: int) -> Iterator[Row]:
    found = exposure_metrics(*counts, served) | {"user_coverage": served / all_users}
    for name, value in found.items():
        yield _row(model, name, k, ALL, value, served)


def _groups(
    counts: DataFrame, groups: DataFrame, catalog: DataFrame, ks: list[int], size: int
) -> tuple[dict[str, float], dict[tuple[str, int], dict[str, int]]]:
    """The groups' shares of the catalog, and how many of the listed items each has."""
    inside = groups.join(catalog, "item_id", "left_semi").groupBy("group").count()
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
        yield _row(model, "catalog_share", k, group, share, served)


def _row(model: str, metric: str, k: int, segment: str, value: float, users: int) -> Row:
    return {
        "model": model, "metric": metric, "k": k, "segment": segment, "value": value,
        "users": users,
    }  # fmt: skip
