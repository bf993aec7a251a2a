"""From users' metrics to the metrics table: means over users, by segment, with their intervals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, IntegerType, LongType, StringType

from recsys_spark.arrow import list_bounds
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.evaluation.sums import Key, Sums, sum_by_key
from recsys_spark.kernels.resampling import limits, poisson_weights
from recsys_spark.schema import METRICS as TABLE
from recsys_spark.schema import metric_names

# Means are added up as whole numbers of 2^-30. Resamples are doubles, multiples of 2^-24, which
# they hold exactly up to sums of half a billion.
EXACT, RESAMPLED = 2.0**30, 2.0**24
_KEYS = {
    "model": StringType(),
    "split": StringType(),
    "k": IntegerType(),
    "segment": StringType(),
}
_FIELDS = {"users": LongType(), "sums": LongType(), "resampled": DoubleType()}
_Values = npt.NDArray[np.float64]


def summarise(
    per_user: DataFrame,
    run_id: str,
    segments: DataFrame | None = None,
    resamples: int = 1000,
    seed: int = 42,
) -> DataFrame:
    """The metrics table: means over users with their 95 % intervals.

    per_user: from `measure_ranking` or another of the room's measures; a user without a value
    (null) does not count for that metric. segments: columns user_id and segment; a user may be in
    several, and all are in `all`; segments of the truth are not divided further. resamples: of the
    Poisson bootstrap over users, whose percentiles the limits are; 0: no limits. A resample that
    leaves nobody in a segment does not count.
    """
    metrics = metric_names(per_user)
    named, rows = F.array("segment"), per_user
    if segments is not None:
        own = segments.groupBy("user_id").agg(F.collect_set("segment").alias("own"))
        rows = rows.join(own, "user_id", "left")
        further = F.when(F.col("segment") == ALL, F.col("own"))
        named = F.concat(named, F.coalesce(further, F.array().cast("array<string>")))
    user = F.xxhash64("user_id").alias("user")
    inputs = rows.select("model", "split", "k", user, named.alias("segments"), *metrics)
    finish = _as_rows(run_id, metrics)
    return sum_by_key(inputs, _KEYS, _FIELDS, _parts(metrics, resamples, seed), finish, TABLE)


def _parts(
    metrics: Sequence[str], resamples: int, seed: int
) -> Callable[[pa.RecordBatch], Iterator[tuple[Key, Sums]]]:
    def parts(batch: pa.RecordBatch) -> Iterator[tuple[Key, Sums]]:
        users, of = np.unique(batch.column("user").to_numpy(), return_inverse=True)
        weights = poisson_weights(seed, users, resamples)
        values = np.column_stack([as_values(batch.column(name)) for name in metrics])
        for key, rows in _groups(batch):
            yield key, _sums(values[rows], weights[of[rows]])

    return parts


def as_values(column: pa.Array) -> _Values:
    """Numbers with NaN where there is none."""
    values: _Values = column.to_numpy(zero_copy_only=False)
    return values


def _sums(values: _Values, weights: _Values) -> Sums:
    known = ~np.isnan(values)
    return {
        "users": known.sum(axis=0),
        "sums": whole(values).sum(axis=0),
        "resampled": resampled_sums(weights, values),
    }


def whole(values: _Values) -> npt.NDArray[np.int64]:
    """The values as whole numbers that add up exactly; 0 for NaN."""
    return np.rint(np.nan_to_num(values) * EXACT).astype(np.int64)


def resampled_sums(weights: _Values, values: _Values) -> _Values:
    """Sums of values in each resample, and of the weights of users who have one.

    weights: (users, resamples). values: (users, metrics). Shape (2, resamples, metrics).
    """
    known = ~np.isnan(values)
    rounded = np.rint(np.nan_to_num(values) * RESAMPLED) / RESAMPLED
    if known.all():
        counts = np.repeat(weights.sum(axis=0)[:, None], values.shape[1], axis=1)
    else:
        counts = weights.T @ known.astype(np.float64)
    return np.stack([weights.T @ rounded, counts])


def resampled_limits(sums: _Values, metrics: int) -> _Values:
    """Limits of the means, (2, metrics), from sums like those of `resampled_sums`."""
    return limits(*sums.reshape(2, -1, metrics))


def _groups(batch: pa.RecordBatch) -> Iterator[tuple[Key, npt.NDArray[np.int64]]]:
    """The rows of each model, split, cut-off and segment."""
    lists = batch.column("segments")
    rows = np.repeat(np.arange(batch.num_rows), np.diff(list_bounds(lists)))
    columns = [batch.column(name).take(pa.array(rows)) for name in list(_KEYS)[:3]]
    table = pa.table([*columns, lists.flatten(), pa.array(rows)], names=[*_KEYS, "row"])
    grouped = table.group_by(list(_KEYS), use_threads=False).aggregate([("row", "list")])
    for group in grouped.to_pylist():
        yield tuple(group[name] for name in _KEYS), np.array(group["row_list"])


def _as_rows(
    run_id: str, metrics: Sequence[str]
) -> Callable[[dict[str, Any], Sums], Mapping[str, Any]]:
    """The rows of the metrics table that belong to one key; none of a metric that nobody has."""

    def as_rows(key: dict[str, Any], sums: Sums) -> Mapping[str, Any]:
        low, high = resampled_limits(sums["resampled"], len(metrics))
        kept = np.flatnonzero(sums["users"])
        users = sums["users"][kept]
        same = {name: pa.repeat(value, len(kept)) for name, value in key.items()}
        return same | {
            "run_id": pa.repeat(run_id, len(kept)),
            "users": users,
            "metric": [metrics[at] for at in kept.tolist()],
            "value": sums["sums"][kept] / EXACT / users,
            "ci_low": pa.array(low[kept], from_pandas=True),
            "ci_high": pa.array(high[kept], from_pandas=True),
        }

    return as_rows
