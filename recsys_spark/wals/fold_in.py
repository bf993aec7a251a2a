"""Vectors for users that training has not seen."""

from pyspark.sql import DataFrame

from recsys_spark.kernels.spec import WalsSpec
from recsys_spark.schema import FACTORS
from recsys_spark.wals.factors import factors_frame, read_factors
from recsys_spark.wals.fit import solve_side
from recsys_spark.wals.plan import Plan


def fold_in(ratings: DataFrame, item_factors: DataFrame, spec: WalsSpec) -> DataFrame:
    """Columns id, factors of the users in `ratings`, by the same solve as in training.

    ratings: columns user, item, value. item_factors: columns id, factors.
    """
    solved = solve_side(ratings, "user", read_factors(item_factors).arrays(), spec, Plan())
    frame = factors_frame(ratings.sparkSession, solved, FACTORS["id"].dataType)
    return frame.withColumnRenamed("features", "factors")
