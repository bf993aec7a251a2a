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
    whole_sums,
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

    Parameters
    ----------
    per_user : DataFrame
        From `measure_ranking` or another function of this package with a row a user; a user without
        a value (null) does not count for that metric.
    run_id : str
        Value of the column run_id.
    segments : DataFrame, optional
        Columns user_id and segment; a user may be in several, and all are in `all`. Segments of the
        truth are not divided further.
    resamples : int
        Number of resamples of the Poisson bootstrap over users; 0: no intervals. A resample that
        leaves no user in a segment does not count.
    seed : int
        Of the resamples. With the same seed, models are resampled with the same users.

    Returns
    -------
    DataFrame
        One row a model, split, metric, cut-off and segment: columns run_id, model, split, metric,
        k, segment, value, ci_low, ci_high (the 2.5 % and 97.5 % quantiles, null without resamples),
        users (number of users with a value).

    Raises
    ------
    ContractError
        If `segments` lacks a column, or names users by another type.

    References
    ----------
    Chamandy, Muralidharan, Najmi, Naidu, "Estimating uncertainty for massive data streams" (2012):
    the Poisson bootstrap.

    Examples
    --------
    >>> from recsys_spark.evaluation import measure_ranking, summarise
    >>> lists = spark.createDataFrame(
    ...     [("ann", ["tea"]), ("bob", ["tea"])], "user_id string, recommendations array<string>"
    ... )
    >>> truth = spark.createDataFrame(
    ...     [("ann", "tea"), ("bob", "cup")], "user_id string, item_id string"
    ... )
    >>> table = summarise(measure_ranking(lists, truth, k=[1]), "a-run", resamples=0)
    >>> table.where("metric = 'hit_rate'").select("k", "segment", "value", "users").show()
    +---+-------+-----+-----+
    |  k|segment|value|users|
    +---+-------+-----+-----+
    |  1|    all|  0.5|    2|
    +---+-------+-----+-----+
    <BLANKLINE>
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
            "sums": whole_sums(values),
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
