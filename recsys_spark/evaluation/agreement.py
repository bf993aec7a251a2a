"""How alike two models' lists are, user by user."""

from collections.abc import Callable, Sequence

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from recsys_spark.arrow import arrow_schema, list_bounds, make_batch
from recsys_spark.evaluation.ranking import as_codes, by_cutoff, ranked_lists
from recsys_spark.kernels.agreement import AGREEMENT, list_agreement
from recsys_spark.schema import per_user
from recsys_spark.wals.packed import Batches


def measure_agreement(
    recommendations: DataFrame,
    reference: DataFrame,
    k: Sequence[int],
    model: str | Sequence[str] = "model",
    split: str = "test",
) -> DataFrame:
    """One row a user of both and cut-off: columns overlap and rbo (docs/metrics.md).

    recommendations, model: as of `measure_ranking`. reference: the lists of one model, which they
    are compared with. Raises ContractError if a column is missing.
    """
    lists = ranked_lists(recommendations, model)
    theirs = ranked_lists(reference, "reference").select("user_id", F.col("list").alias("other"))
    schema = per_user(recommendations.schema["user_id"].dataType, AGREEMENT)
    measure = _measure(schema, sorted(set(k)), split)
    return lists.join(theirs, "user_id").mapInArrow(measure, schema)


def _measure(schema: StructType, cutoffs: list[int], split: str) -> Callable[[Batches], Batches]:
    target, ks = arrow_schema(schema), np.array(cutoffs, dtype=np.int64)

    def measure(batches: Batches) -> Batches:
        for batch in batches:
            one, other = batch.column("list"), batch.column("other")
            left, right = as_codes(one.flatten(), other.flatten())
            values = list_agreement(list_bounds(one), left, list_bounds(other), right, ks)
            metrics = dict(zip(AGREEMENT, np.moveaxis(values, 2, 0), strict=True))
            yield make_batch(target, by_cutoff(batch, ks, metrics, split))

    return measure
