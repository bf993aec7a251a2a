"""Vectors for users that training has not seen."""

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.arrow import list_matrix
from recsys_spark.kernels.spec import WalsSpec
from recsys_spark.schema import FACTORS
from recsys_spark.wals.fit import Factors, solve_side
from recsys_spark.wals.model import factors_frame
from recsys_spark.wals.sides import Plan


def fold_in(ratings: DataFrame, item_factors: DataFrame, spec: WalsSpec) -> DataFrame:
    """Columns id, factors of the users in `ratings`, by the same solve as in training.

    ratings: columns user, item, value. item_factors: columns id, factors.
    """
    table: pa.Table = item_factors.toArrow().sort_by("id")
    vectors = list_matrix(table["factors"].combine_chunks(), spec.width)
    fixed = Factors(table["id"].to_numpy().astype(np.int64), vectors)
    solved = solve_side(ratings, "user", fixed, spec, Plan())
    frame = factors_frame(ratings.sparkSession, solved, FACTORS["id"].dataType)
    return frame.withColumnRenamed("features", "factors")
