"""From users' metrics to the metrics table: means over users, by segment, with their intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, StringType

from recsys_spark.evaluation.inputs import require_same
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.evaluation.resamples import (
    EXACT,
    Codes,
    Values,
    resampled_limits,
    resampled_sums,
    sums_of_users,
    whole,
)
from recsys_spark.evaluation.sums import Fields, Sums, sum_by_key
from recsys_spark.kernels.metrics.resampling import poisson_weights
from recsys_spark.schema import METRICS as TABLE
from recsys_spark.schema import metric_names, quoted, require

_KEYS = {
    "model": StringType(),
    "split": StringType(),
    "k": IntegerType(),
    "segment": StringType(),
}
SEED = 42  # of the resamples, the same for all, so that means of models can be compared
_FIELDS: Fields = {"users": np.int64, "sums": np.int64, "resampled": np.float64}


def summarise(
    per_user: DataFrame,
    run_id: str,
    segments: DataFrame | None = None,
    resamples: int = 1000,
    seed: int = SEED,
) -> DataFrame:
    """The metrics table: means over users with their 95 % intervals.

    per_user: from `measure_ranking` or another measure of this package; a user without a value
    (null) does not count for that metric. segments: columns user_id and segment; a user may be in
    several, and all are in `all`; segments of the truth are not divided further. resamples: of the
    Poisson bootstrap over users, whose percentiles the limits are; 0: no limits. A resample that
    leaves no user in a segment does not count.

    Raises ContractError if segments lack a column, or name users by another type.
    """
    metrics = metric_names(per_user)
    named, rows = F.array("segment"), per_user
    if segments is not None:
        require(segments, ["user_id", "segment"], "segments")
        require_same("user_id", metrics=per_user, segments=segments)
        own = segments.groupBy("user_id").agg(F.collect_set("segment").alias("own"))
        rows = rows.join(own, "user_id", "left")
        further = F.when(F.col("segment") == ALL, F.col("own"))
        named = F.concat(named, F.coalesce(further, F.array().cast("array<string>")))
    user = F.xxhash64("user_id").alias("user")
    values = map(quoted, metrics)
    inputs = rows.select("model", "split", "k", user, named.alias("segments"), *values)
    parts = sums_of_users(list(_KEYS), metrics, resamples, _sums(resamples, seed))
    return sum_by_key(inputs, _KEYS, _FIELDS, parts, as_rows(run_id, metrics), TABLE)


def _sums(resamples: int, seed: int) -> Callable[[Codes, Values], Mapping[str, npt.NDArray[Any]]]:
    def sums(users: Codes, values: Values) -> Mapping[str, npt.NDArray[Any]]:
        return {
            "users": (~np.isnan(values)).sum(axis=0),
            "sums": whole(values).sum(axis=0),
            "resampled": resampled_sums(poisson_weights(seed, users, resamples), values),
        }

    return sums


def as_rows(
    run_id: str, metrics: Sequence[str]
) -> Callable[[dict[str, Any], Sums], Mapping[str, Any]]:
    """The rows of the metrics table that belong to one key; none of a metric without users."""

    def as_rows(key: dict[str, Any], sums: Sums) -> Mapping[str, Any]:
        low, high = resampled_limits(sums["resampled"], len(metrics))
        kept = np.flatnonzero(sums["users"])
        users = sums["users"][kept]
        same = {
            name: pa.nulls(len(kept)) if value is None else pa.repeat(value, len(kept))
            for name, value in key.items()
        }
        return same | {
            "run_id": pa.repeat(run_id, len(kept)),
            "users": users,
            "metric": [metrics[at] for at in kept.tolist()],
            "value": sums["sums"][kept] / EXACT / users,
            "ci_low": pa.array(low[kept], from_pandas=True),
            "ci_high": pa.array(high[kept], from_pandas=True),
        }

    return as_rows
