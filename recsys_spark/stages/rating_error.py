"""RMSE and MAE of predicted ratings."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.schema import METRICS as TABLE
from recsys_spark.wals.model import clipped, predicted


def rating_error(
    truth: DataFrame,
    user_factors: DataFrame,
    item_factors: DataFrame,
    split: str,
    run_id: str,
    clip: Sequence[float] | None = None,
) -> DataFrame:
    """Rows rmse and mae of the metrics table; `users` counts those with a prediction.

    truth: columns user, item, value. Pairs with a user or item that training did not know have
    no prediction and are left out. Sums run over decimals, the same in any order. clip: limits
    that predictions are held in.
    """
    known = truth.join(user_factors.toDF("user", "x"), "user").join(
        item_factors.toDF("item", "y"), "item"
    )
    error = clipped(predicted("x", "y"), clip).cast("double") - F.col("value")
    sums = known.select("user", error.alias("error")).agg(
        F.sqrt(_mean(F.col("error") * F.col("error"))).alias("rmse"),
        _mean(F.abs("error")).alias("mae"),
        F.count_distinct("user").alias("users"),
    )
    long = sums.unpivot("users", ["rmse", "mae"], "metric", "value")
    nothing = F.lit(None)
    constants = {
        "run_id": F.lit(run_id),
        "model": F.lit("model"),
        "split": F.lit(split),
        "k": nothing.cast("int"),
        "segment": F.lit("all"),
        "ci_low": nothing.cast("double"),
        "ci_high": nothing.cast("double"),
    }
    return long.withColumns(constants).select(*TABLE.names)


def _mean(value: Column) -> Column:
    return F.try_divide(F.sum(value.cast("decimal(28,12)")).cast("double"), F.count("*"))
