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
    """Ranking metrics of each user's list, at all cut-offs (definitions: docs/metrics.md).

    A user of the truth without a list counts 0 in every metric; lists of users without truth are
    ignored. A repeated item of a list is a miss, and several rows of a user are one list.

    Parameters
    ----------
    recommendations : DataFrame
        Columns user_id and recommendations: `array<struct<item_id, rank, ...>>`, the entries in any
        order; or structs without rank, or plain items, best first.
    truth : DataFrame
        The relevant items: columns user_id, item_id and optionally value, the gain of graded
        metrics (1 without it; of a repeated pair the larger one counts), and optionally segment:
        each segment of a user's truth is then measured by itself. Ids have any type, the same in
        both tables.
    k : sequence of int
        Cut-offs, 1 or more: numbers of items from the start of a list.
    model : str or sequence of str
        Name of the lists; or the names of several, by a column model of `recommendations`.
    split : str
        Name of the held-out rows, for the column split.

    Returns
    -------
    DataFrame
        One row a user of the truth, model, segment and cut-off: columns user_id, model, split,
        segment, k, and a double for each ranking metric, null where it has no value.

    Raises
    ------
    ContractError
        If a column is missing or of another type, or if the ids of both tables do not compare.
    ConfigError
        For a k below 1.

    References
    ----------
    The metrics of Spark's RankingMetrics, ranx and the papers that docs/metrics.md names beside
    each definition.

    Examples
    --------
    >>> from recsys_spark.evaluation import measure_ranking
    >>> lists = spark.createDataFrame(
    ...     [("ann", ["tea", "cup"])], "user_id string, recommendations array<string>"
    ... )
    >>> truth = spark.createDataFrame([("ann", "cup")], "user_id string, item_id string")
    >>> measure_ranking(lists, truth, k=[1, 2]).select("k", "hit_rate", "mrr").show()
    +---+--------+---+
    |  k|hit_rate|mrr|
    +---+--------+---+
    |  1|     0.0|0.0|
    |  2|     1.0|0.5|
    +---+--------+---+
    <BLANKLINE>
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
