"""Vectors for users that training has not seen."""

from pyspark.sql import DataFrame

from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import factors_frame, read_factors
from recsys_spark.als.trainer import solve_side
from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.schema import FACTORS


def fold_in(
    ratings: DataFrame, item_factors: DataFrame, spec: WalsSpec, plan: Plan, training: DataFrame
) -> DataFrame:
    """Columns id, factors of the users in `ratings` who have items that are known.

    ratings: columns user, item, value, timestamp; training: the same, those that `item_factors`
    (columns id, factors) were trained on, which is read if the objective has statistics of them.
    """
    items = read_factors(item_factors).arrays()
    solved = solve_side(ratings, "user", items, spec, plan, training)
    frame = factors_frame(ratings.sparkSession, solved, FACTORS["id"].dataType)
    return frame.withColumnRenamed("features", "factors")
