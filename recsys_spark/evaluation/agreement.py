"""How alike two models' lists are, user by user."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from recsys_spark.arrow import list_bounds
from recsys_spark.evaluation.inputs import (
    common_type,
    listed_type,
    ranked_lists,
    require_same,
)
from recsys_spark.evaluation.ranking import as_codes, by_cutoff
from recsys_spark.kernels.agreement import AGREEMENT, list_agreement
from recsys_spark.schema import per_user
from recsys_spark.workers import map_in_arrow


def measure_agreement(
    recommendations: DataFrame,
    reference: DataFrame,
    k: Sequence[int],
    model: str | Sequence[str] = "model",
    split: str = "test",
) -> DataFrame:
    """One row a user of both and cut-off: columns overlap and rbo (docs/metrics.md).

    recommendations, model: as of `measure_ranking`. reference: the lists of one model, which they
    are compared with. Raises ContractError if a column is missing or of another type, ConfigError
    for a k below 1.
    """
    lists, theirs = ranked_lists(recommendations, model), ranked_lists(reference, "reference")
    require_same("user_id", recommendations=recommendations, reference=reference)
    listed, other = (
        (f"item_id of {name}", listed_type(frame))
        for name, frame in (("recommendations", recommendations), ("reference", reference))
    )
    kind = ArrayType(common_type(listed, other))
    lists = lists.withColumn("list", F.col("list").cast(kind))
    theirs = theirs.select("user_id", F.col("list").cast(kind).alias("other"))
    schema = per_user(recommendations.schema["user_id"].dataType, AGREEMENT)
    measure = by_cutoff(_batch_agreement, AGREEMENT, schema, k, split)
    return map_in_arrow(lists.join(theirs, "user_id"), measure, schema)


def _batch_agreement(batch: pa.RecordBatch, ks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    one, other = batch.column("list"), batch.column("other")
    left, right = as_codes(one.flatten(), other.flatten())
    return list_agreement(list_bounds(one), left, list_bounds(other), right, ks)
