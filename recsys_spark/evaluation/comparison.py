"""Paired comparison of two models: differences over users, their intervals and p-values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from recsys_spark.errors import ContractError
from recsys_spark.evaluation.directions import direction_of
from recsys_spark.evaluation.inputs import require_same
from recsys_spark.evaluation.resamples import (
    EXACT,
    RESAMPLED,
    Codes,
    Values,
    resampled_limits,
    resampled_sums,
    sums_of_users,
    whole_sums,
)
from recsys_spark.evaluation.sums import Fields, Sums, sum_by_key
from recsys_spark.kernels.metrics.resampling import poisson_weights, random_signs
from recsys_spark.schema import metric_names, quoted

_KEYS = {"split": StringType(), "k": IntegerType(), "segment": StringType()}
_ORDER = ("split", "segment", "k", "metric")
_FIELDS: Fields = {
    "users": np.int64,
    "one": np.int64,
    "other": np.int64,
    "higher": np.int64,
    "lower": np.int64,
    "squares": np.int64,
    "resampled": np.float64,
    "flipped": np.float64,
}
_NONE = -1
_NEAR = 1e-7  # differences are rounded to multiples of 2^-24
COMPARISON = StructType(
    [
        StructField("split", StringType()),
        StructField("segment", StringType()),
        StructField("k", IntegerType()),
        StructField("metric", StringType()),
        StructField("users", LongType()),
        StructField("one", DoubleType()),
        StructField("other", DoubleType()),
        StructField("difference", DoubleType()),
        StructField("ci_low", DoubleType()),
        StructField("ci_high", DoubleType()),
        StructField("p_value", DoubleType()),
        StructField("p_holm", DoubleType()),
        StructField("effect_size", DoubleType()),
        StructField("better", DoubleType()),
        StructField("worse", DoubleType()),
    ]
)


def compare(one: DataFrame, other: DataFrame, resamples: int = 10_000, seed: int = 42) -> DataFrame:
    """Paired comparison of two models over their common users, with randomisation tests.

    Parameters
    ----------
    one : DataFrame
        Metrics of one model, a row a user, from `measure_ranking` or another function of this
        package with a row a user.
    other : DataFrame
        Those of the other model, from the same function. Users that only one of both has, or has a
        value for, are left out.
    resamples : int
        Number of bootstrap resamples, and of random exchanges.
    seed : int
        Of both.

    Returns
    -------
    DataFrame
        One row a split, segment, cut-off and metric:

        - users: number of users with a value of both;
        - one, other: means over these users; difference: mean of other - one;
        - ci_low, ci_high: 95 % limits of the difference, by the Poisson bootstrap over users;
        - p_value: two-sided, by exchanging the two models of each user at random; at least
          1 / (resamples + 1);
        - p_holm: after Holm's correction for all rows of this table;
        - effect_size: mean difference over the standard deviation of the differences; null if all
          are the same;
        - better, worse: shares of users with a better or a worse value of `other`, by the metric's
          direction (`DESCRIBED`); null where it has none.

    Raises
    ------
    ContractError
        If the two have no user, split and cut-off in common, name users by different types, or one
        of them has several models.

    References
    ----------
    Smucker, Allan, Carterette, "A comparison of statistical significance tests for information
    retrieval evaluation" (2007): Fisher's randomisation test. Holm, "A simple sequentially
    rejective multiple test procedure" (1979).

    Examples
    --------
    >>> from recsys_spark.evaluation import compare, measure_ranking
    >>> schema = "user_id string, recommendations array<string>"
    >>> ours = spark.createDataFrame([("ann", ["tea"]), ("bob", ["tea"])], schema)
    >>> theirs = spark.createDataFrame([("ann", ["tea"]), ("bob", ["cup"])], schema)
    >>> truth = spark.createDataFrame(
    ...     [("ann", "tea"), ("bob", "cup")], "user_id string, item_id string"
    ... )
    >>> one, other = (measure_ranking(lists, truth, k=[1]) for lists in (ours, theirs))
    >>> found = compare(one, other, resamples=100).where("metric = 'mrr'")
    >>> found.select("users", "one", "other", "difference", "better", "worse").show()
    +-----+---+-----+----------+------+-----+
    |users|one|other|difference|better|worse|
    +-----+---+-----+----------+------+-----+
    |    2|0.5|  1.0|       0.5|   0.5|  0.0|
    +-----+---+-----+----------+------+-----+
    <BLANKLINE>
    """
    _require_one_model(one, "one")
    _require_one_model(other, "other")
    require_same("user_id", one=one, other=other)
    metrics = metric_names(one)
    sides = {"one": one, "other": other}
    ours, theirs = (_named(frame, name, metrics) for name, frame in sides.items())
    values = [f"{name}_{metric}" for name in sides for metric in metrics]
    pairs = ours.join(theirs, ["user_id", *_KEYS]).select(
        F.xxhash64("user_id").alias("user"),
        "split",
        F.nullif("k", F.lit(_NONE)).alias("k"),
        F.array("segment").alias("segments"),
        *map(quoted, values),
    )
    parts = sums_of_users(list(_KEYS), values, resamples, _sums(resamples, seed))
    rows = sum_by_key(pairs, _KEYS, _FIELDS, parts, comparison_rows(metrics), COMPARISON).toArrow()
    if not len(rows):
        raise ContractError("The two tables have no user, split and cut-off in common.")
    return one.sparkSession.createDataFrame(corrected(rows))


def _named(per_user: DataFrame, name: str, metrics: Sequence[str]) -> DataFrame:
    """The metrics under the name of their model; without a cut-off, one that joins."""
    cutoff = F.coalesce("k", F.lit(_NONE)).alias("k")
    renamed = (F.col(quoted(metric)).alias(f"{name}_{metric}") for metric in metrics)
    return per_user.select("user_id", "split", "segment", cutoff, *renamed)


def corrected(rows: pa.Table) -> pa.Table:
    """The rows of one or several comparisons in order, p_holm for all of them together."""
    ordered = rows.sort_by([(name, "ascending") for name in _ORDER])
    at = ordered.schema.get_field_index("p_holm")
    return ordered.set_column(at, "p_holm", pa.array(holm(ordered["p_value"].to_numpy())))


def holm(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Holm's step-down correction: what to hold against the level instead of each p-value."""
    order = np.argsort(p_values, kind="stable")
    steps = len(p_values) - np.arange(len(p_values))
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * steps))
    return corrected


def _require_one_model(per_user: DataFrame, name: str) -> None:
    models = [row["model"] for row in per_user.select("model").distinct().limit(3).collect()]
    if len(models) > 1:
        raise ContractError(
            f"`{name}` has several models, {', '.join(sorted(models))} among them: choose one of "
            "them by `where`."
        )


def _sums(resamples: int, seed: int) -> Callable[[Codes, Values], Mapping[str, npt.NDArray[Any]]]:
    """What adds up over users. Differences are exact: values that differ by rounding are equal."""

    def sums(users: Codes, values: Values) -> Mapping[str, npt.NDArray[Any]]:
        one, other = np.split(values, 2, axis=-1)
        weights, signs = (draw(seed, users, resamples) for draw in (poisson_weights, random_signs))
        return paired_sums(one, other, weights, signs)

    return sums


def paired_sums(one: Values, other: Values, weights: Values, signs: Values) -> Sums:
    """What adds up over users of two models' values, (users, ...), one number or more each.

    weights, signs: (users, resamples). NaN where a user has no value.
    """
    difference = np.rint((other - one) * RESAMPLED) / RESAMPLED
    known = ~np.isnan(difference)
    return {
        "users": known.sum(axis=0),
        "one": whole_sums(np.where(known, one, 0.0)),
        "other": whole_sums(np.where(known, other, 0.0)),
        "higher": (difference > 0).sum(axis=0),
        "lower": (difference < 0).sum(axis=0),
        "squares": whole_sums(difference**2),
        "resampled": resampled_sums(weights, difference),
        "flipped": np.tensordot(signs, np.nan_to_num(difference), (0, 0)),
    }


def comparison_rows(metrics: Sequence[str]) -> Callable[[dict[str, Any], Sums], Mapping[str, Any]]:
    """The rows of one key of `paired_sums`; none of a metric that no user has from both."""

    def as_rows(key: dict[str, Any], sums: Sums) -> Mapping[str, Any]:
        low, high = resampled_limits(sums["resampled"], len(metrics))
        kept = np.flatnonzero(sums["users"])
        users = sums["users"][kept]
        one, other, squares = (
            sums[name][kept] / EXACT / users for name in ("one", "other", "squares")
        )
        flipped = np.abs(sums["flipped"].reshape(-1, len(metrics))[:, kept] / users)
        higher, lower = (sums[name][kept] / users for name in ("higher", "lower"))
        signs = np.array([direction_of(metrics[at]).sign for at in kept.tolist()])
        difference = other - one
        spread = np.sqrt(np.maximum(squares - difference**2, 0.0))
        size, varies = len(kept), spread > 1e-7
        effect = np.divide(difference, spread, out=np.full(size, np.nan), where=varies)
        as_far = (flipped >= np.abs(difference) - _NEAR).sum(axis=0)
        return {name: pa.repeat(value, size) for name, value in key.items()} | {
            "metric": [metrics[at] for at in kept.tolist()],
            "users": users,
            "one": one,
            "other": other,
            "difference": difference,
            "ci_low": pa.array(low[kept], from_pandas=True),
            "ci_high": pa.array(high[kept], from_pandas=True),
            "p_value": (1 + as_far) / (1 + len(flipped)),
            "p_holm": pa.nulls(size, pa.float64()),
            "effect_size": pa.array(effect, from_pandas=True),
            "better": _judged(np.where(signs > 0, higher, lower), signs),
            "worse": _judged(np.where(signs > 0, lower, higher), signs),
        }

    return as_rows


def _judged(shares: Values, signs: npt.NDArray[np.int64]) -> pa.Array:
    """Shares of users; null for metrics in which neither model can be better."""
    return pa.array(shares, mask=signs == 0)
