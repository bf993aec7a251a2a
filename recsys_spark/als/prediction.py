"""Predictions of pairs from their factors, as Spark columns."""

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F


def predicted(left: str, right: str) -> Column:
    """Dot product of two factor columns, summed in double precision; null if either is null."""
    products = F.zip_with(left, right, lambda x, y: x.cast("double") * y.cast("double"))
    return F.aggregate(products, F.lit(0.0), lambda total, x: total + x).cast("float")


def clipped(prediction: Column, limits: Sequence[float] | None) -> Column:
    """The prediction held in [low, high], if there are limits; null and NaN stay."""
    if limits is None:
        return prediction
    low, high = (F.lit(limit).cast("float") for limit in limits)
    held = F.when(prediction < low, low).when(prediction > high, high).otherwise(prediction)
    return F.when(F.isnan(prediction), prediction).otherwise(held)
