"""Errors of predicted ratings, over all and by the true rating."""

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType

from recsys_spark.als.prediction import clipped
from recsys_spark.als.prediction import predicted as product
from recsys_spark.errors import ContractError
from recsys_spark.evaluation.inputs import require_whole
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.schema import METRICS as TABLE
from recsys_spark.schema import require

_OWN_SEGMENT = 20  # different values
_BINS = 10
_LEVELS = (0.1, 0.5, 0.9)


def predict_ratings(
    truth: DataFrame,
    user_factors: DataFrame,
    item_factors: DataFrame,
    clip: Sequence[float] | None = None,
) -> DataFrame:
    """Predicted ratings beside the true ones.

    Parameters
    ----------
    truth : DataFrame
        Columns user and item (whole numbers, the ids of the factors) and value, the true rating;
        rows whose value is not finite are left out.
    user_factors : DataFrame
        The user's id and factors, `array<float>`, as its first and second column.
    item_factors : DataFrame
        The same of the items, vectors of the same length.
    clip : sequence of float, optional
        Limits (low, high) of predictions, in units of the ratings.

    Returns
    -------
    DataFrame
        The rows of `truth` whose user and item have factors, with a column predicted (double), null
        where the prediction is not finite.

    Raises
    ------
    ContractError
        If a column is missing, ids are not whole numbers, or values are not numbers.
    """
    require(truth, ["user", "item", "value"], "truth")
    require_whole("truth", truth, "user", "item")
    kind = truth.schema["value"].dataType
    if not isinstance(kind, NumericType):
        raise ContractError(f"Column value of truth is {kind.simpleString()}; it must be a number.")
    for name, factors in (("user", user_factors), ("item", item_factors)):
        require_whole(f"the {name} factors", factors, factors.columns[0])
    rated = truth.where(_is_finite(F.col("value")))
    known = rated.join(user_factors.toDF("user", "_x"), "user").join(
        item_factors.toDF("item", "_y"), "item"
    )
    found = clipped(product("_x", "_y"), clip).cast("double")
    predicted = F.when(_is_finite(found), found)
    return known.withColumn("predicted", predicted).drop("_x", "_y")


def _is_finite(number: Column) -> Column:
    return F.abs(number.cast("double")) < float("inf")


def rating_error(
    predicted: DataFrame, run_id: str, model: str = "model", split: str = "test"
) -> DataFrame:
    """RMSE, MAE and R2 of predicted ratings, over all and by true rating.

    Sums run over decimals, so that they are the same in any order.

    Parameters
    ----------
    predicted : DataFrame
        From `predict_ratings`: columns user, value and predicted.
    run_id : str
        Value of the column run_id.
    model : str
        Name of the model.
    split : str
        Name of the held-out rows, for the column split.

    Returns
    -------
    DataFrame
        Rows of the metrics table without intervals: rmse and mae, in units of the ratings, for
        segment all and each true rating (`value=4.5`, or ten ranges of equal width where there are
        more than twenty), and r2 for all. A metric has no row where a prediction is null, and r2
        none where all ratings are the same. `users` counts the users with a prediction.
    """
    segments = F.explode(F.array(F.lit(ALL), true_rating(predicted))).alias("segment")
    error = (F.col("predicted") - F.col("value")).alias("error")
    rows = predicted.select("user", "value", error, segments)
    sums = rows.groupBy("segment").agg(
        _of_all(F.sqrt(_mean(F.col("error") * F.col("error")))).alias("rmse"),
        _of_all(_mean(F.abs("error"))).alias("mae"),
        _of_all(_r_squared()).alias("r2"),
        F.count_distinct("user").alias("users"),
    )
    long = sums.unpivot(["segment", "users"], ["rmse", "mae", "r2"], "metric", "value")
    whole = F.col("value").isNotNull() & ((F.col("metric") != "r2") | (F.col("segment") == ALL))
    nothing = F.lit(None)
    constants = {
        "run_id": F.lit(run_id),
        "model": F.lit(model),
        "split": F.lit(split),
        "k": nothing.cast("int"),
        "ci_low": nothing.cast("double"),
        "ci_high": nothing.cast("double"),
    }
    return long.where(whole).withColumns(constants).select(*TABLE.names)


def prediction_spread(predicted: DataFrame) -> list[dict[str, Any]]:
    """For each true rating: the tenth, fiftieth and ninetieth percentile of the predictions.

    Of predictions rounded to two decimals, so that they can be counted.
    """
    middle = F.percentile(F.round("predicted", 2), F.array(*map(F.lit, _LEVELS))).alias("levels")
    first = F.min("value").alias("first")
    rows = predicted.groupBy(true_rating(predicted).alias("segment")).agg(middle, first)
    return [
        {"true": row["segment"].removeprefix("value=")}
        | dict(zip(("low", "median", "high"), row["levels"], strict=True))
        for row in rows.orderBy("first").collect()
    ]


def true_rating(ratings: DataFrame) -> Column:
    """The segment of a row's value: `value=4.5`, or one of ten ranges of equal width where there
    are more than twenty different values."""
    values = ratings.select("value").distinct()
    value = F.col("value")
    if values.limit(_OWN_SEGMENT + 1).count() <= _OWN_SEGMENT:
        return F.concat(F.lit("value="), _written(value))
    row = values.agg(F.min("value").alias("low"), F.max("value").alias("high")).first()
    assert row is not None
    width = (row["high"] - row["low"]) / _BINS
    at = F.least(F.floor((value - row["low"]) / width), F.lit(_BINS - 1))
    ends = (_written(row["low"] + (at + step) * width) for step in (0, 1))
    return F.concat(F.lit("value="), F.concat_ws(" to ", *ends))


def _written(number: Column) -> Column:
    return F.call_function("format_number", number, F.lit("0.####"))


def _of_all(value: Column) -> Column:
    """The value if every row has an error, else null."""
    return F.when(F.count("error") == F.count("*"), value)


def _mean(value: Column) -> Column:
    return F.try_divide(_sum(value), F.count("*"))


def _sum(value: Column) -> Column:
    return F.sum(value.cast("decimal(28,12)")).cast("double")


def _r_squared() -> Column:
    value, error = F.col("value"), F.col("error")
    spread = _sum(value * value) - _sum(value) * _sum(value) / F.count("*")
    return 1 - F.try_divide(_sum(error * error), spread)
