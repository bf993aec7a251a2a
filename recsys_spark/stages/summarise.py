"""From users' metrics to the metrics table."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.kernels.ranking import METRICS
from recsys_spark.schema import METRICS as TABLE


def summarise(per_user: DataFrame, run_id: str) -> DataFrame:
    """The means over users, in the columns of the metrics table.

    Means are taken over decimals, which add up the same in any order, so that a metric does not
    depend on the partitioning.
    """
    means = per_user.groupBy("model", "split", "k").agg(
        *(_exact_mean(name).alias(name) for name in METRICS),
        F.count("*").alias("users"),
    )
    long = means.unpivot(["model", "split", "k", "users"], list(METRICS), "metric", "value")
    nothing = F.lit(None).cast("double")
    return long.withColumns(
        {
            "run_id": F.lit(run_id),
            "segment": F.lit("all"),
            "ci_low": nothing,
            "ci_high": nothing,
        }
    ).select(*TABLE.names)


def _exact_mean(name: str) -> Column:
    total = F.sum(F.col(name).cast("decimal(20,17)")).cast("double")
    return total / F.count("*")
