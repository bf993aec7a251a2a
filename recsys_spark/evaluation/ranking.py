"""Ranking metrics of every user, at all cut-offs in one pass."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructType

from recsys_spark.als.packed_interactions import Batches
from recsys_spark.arrow import arrow_schema, list_bounds, list_parts, make_batch
from recsys_spark.evaluation.inputs import (
    cutoffs,
    gain,
    listed_as,
    ranked_lists,
    require_same,
)
from recsys_spark.kernels.metrics.ranking import METRICS, ranking_metrics
from recsys_spark.schema import per_user, require
from recsys_spark.workers import map_in_arrow

ALL = "all"
_Codes = npt.NDArray[np.int64]
_Gains = npt.NDArray[np.float64]


def measure_ranking(
    recommendations: DataFrame,
    truth: DataFrame,
    k: Sequence[int],
    model: str | Sequence[str] = "model",
    split: str = "test",
) -> DataFrame:
    """One row a user of the truth and cut-off, with a column a metric (docs/metrics.md).

    recommendations: columns user_id and recommendations, array<struct<item_id, rank, ...>>, the
    entries in any order; or without rank, or arrays of items, best first. An item that stands in a
    list again is a miss, and several rows of a user are one list. truth: columns user_id, item_id
    and optionally value, the gain of graded metrics; of a pair that occurs twice the larger one
    counts. With a column segment, each part of a user's truth is measured by itself, under its
    name. Ids have any type, the same in both. k: cut-offs. model: what the lists are called; or
    the names of several, by a column model of recommendations.

    A user without a list counts zero in every metric; lists of users without truth are ignored.
    Raises ContractError if a column is missing or of another type, ConfigError for a k below 1.
    """
    require(truth, ["user_id", "item_id"], "truth")
    lists = ranked_lists(recommendations, model)
    require_same("user_id", recommendations=recommendations, truth=truth)
    item_type = listed_as(recommendations, truth=truth)
    lists = lists.withColumn("list", F.col("list").cast(ArrayType(item_type)))
    truth = truth.withColumn("item_id", F.col("item_id").cast(item_type))
    names = [model] if isinstance(model, str) else model
    wanted = _relevant(truth).withColumn("model", F.explode(F.array(*map(F.lit, names))))
    schema = per_user(truth.schema["user_id"].dataType, METRICS)
    joined = wanted.join(lists, ["user_id", "model"], "left")
    return map_in_arrow(joined, by_cutoff(_batch_metrics, METRICS, schema, k, split), schema)


def _relevant(truth: DataFrame) -> DataFrame:
    """A row a user and segment: the items and their gains."""
    segment = F.col("segment") if "segment" in truth.columns else F.lit(ALL)
    pair = F.struct("item_id", gain(truth).alias("gain"))
    chosen = (
        truth.where("item_id is not null")
        .groupBy("user_id", segment.alias("segment"))
        .agg(F.collect_list(pair).alias("truth"))
    )
    return chosen.select("user_id", "segment", "truth.item_id", "truth.gain")


def by_cutoff(
    metrics: Callable[[pa.RecordBatch, _Codes], _Gains],
    names: Sequence[str],
    schema: StructType,
    k: Sequence[int],
    split: str,
) -> Callable[[Batches], Batches]:
    """For mapInArrow: rows of `schema.per_user`, one for each row of a batch and cut-off.

    metrics: of a batch, with user_id, model and optionally segment, and the cut-offs, ascending;
    its values have shape (rows, cut-offs, names). Raises ConfigError for a k below 1.
    """
    target, ks = arrow_schema(schema), np.array(cutoffs(k), dtype=np.int64)

    def measure(batches: Batches) -> Batches:
        for batch in batches:
            values = dict(zip(names, np.moveaxis(metrics(batch, ks), 2, 0), strict=True))
            yield make_batch(target, _columns(batch, ks, values, split))

    return measure


def shown_cutoff(k: Iterable[int]) -> int:
    """The cut-off that is shown first: 10, or the nearest to it."""
    return min(k, key=lambda at: (abs(at - 10), at))


def _columns(
    batch: pa.RecordBatch, ks: _Codes, metrics: dict[str, _Gains], split: str
) -> dict[str, object]:
    size = batch.num_rows * len(ks)
    rows = pa.array(np.repeat(np.arange(batch.num_rows), len(ks)))
    constants = {"split": pa.repeat(split, size), "segment": pa.repeat(ALL, size)}
    kept = [name for name in ("user_id", "model", "segment") if name in batch.schema.names]
    columns = {name: batch.column(name).take(rows) for name in kept}
    values = {name: pa.array(array.ravel(), from_pandas=True) for name, array in metrics.items()}
    return {**constants, **columns, "k": np.tile(ks, batch.num_rows), **values}


def _batch_metrics(batch: pa.RecordBatch, ks: _Codes) -> _Gains:
    lists, truth = batch.column("list"), batch.column("item_id")
    listed, chosen = as_codes(lists.flatten(), truth.flatten())
    bounds, gains = list_parts(batch.column("gain"), np.float64)
    return ranking_metrics(list_bounds(lists), listed, bounds, chosen, ks, gains)


def as_codes(listed: pa.Array, chosen: pa.Array) -> tuple[_Codes, _Codes]:
    """Numbers in place of the ids of both, the same for the same id."""
    codes = pa.concat_arrays([listed, chosen]).dictionary_encode().indices.fill_null(-1)
    numbers = codes.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers[: len(listed)], numbers[len(listed) :]
