"""From values to the engine's weights a and b of every pair."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.kernels.spec import WalsSpec


def weigh(ratings: DataFrame, spec: WalsSpec) -> DataFrame:
    """Columns user, item (long), a and b (float)."""
    value = F.col("value").cast("double")
    a = _confidence(F.abs(value), spec)
    if spec.target == "value":
        b = value * (spec.unobserved_weight + a)
    else:
        unit = spec.unobserved_weight if spec.target == "unit" else 0.0
        b = F.when(value > 0, a + unit).otherwise(0.0)
    return ratings.select(
        F.col("user").cast("long"),
        F.col("item").cast("long"),
        a.cast("float").alias("a"),
        b.cast("float").alias("b"),
    )


def _confidence(magnitude: Column, spec: WalsSpec) -> Column:
    if spec.weighting == "linear":
        return spec.alpha * magnitude
    if spec.weighting == "log":
        return spec.alpha * F.log1p(magnitude / spec.epsilon)
    return F.lit(1.0)
