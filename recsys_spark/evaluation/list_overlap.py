"""Overlap of two models' lists, user by user."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from recsys_spark.arrow import list_bounds, list_parts
from recsys_spark.evaluation.inputs import (
    common_type,
    listed_type,
    ranked_lists,
    require_same,
)
from recsys_spark.evaluation.model_lists import LISTS, Ranking, rank_batch
from recsys_spark.evaluation.ranking import as_codes, by_cutoff
from recsys_spark.evaluation.resamples import EXACT, whole_sums
from recsys_spark.kernels.metrics.list_overlap import AGREEMENT, list_agreement
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.schema import per_user
from recsys_spark.workers import map_in_arrow


def measure_agreement(
    recommendations: DataFrame,
    reference: DataFrame,
    k: Sequence[int],
    model: str | Sequence[str] = "model",
    split: str = "test",
) -> DataFrame:
    """Overlap and rank-biased overlap of each user's lists with those of a reference model.

    Parameters
    ----------
    recommendations : DataFrame
        Columns user_id and recommendations, as of `measure_ranking`.
    reference : DataFrame
        The lists of the reference model, in the same columns.
    k : sequence of int
        Cut-offs, 1 or more.
    model : str or sequence of str
        Name of the lists, or names, as of `measure_ranking`.
    split : str
        Name of the held-out rows, for the column split.

    Returns
    -------
    DataFrame
        One row a user of both tables, model and cut-off: columns user_id, model, split, segment, k,
        overlap and rbo (both 0 to 1), null where both lists are empty.

    Raises
    ------
    ContractError
        If a column is missing or of another type, or if the ids of both tables do not compare.
    ConfigError
        For a k below 1.

    References
    ----------
    Webber, Moffat, Zobel, "A similarity measure for indefinite rankings" (2010), equation 23, with
    p = 0.9: rbo.
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


def agreement_of(users: pa.Table, ranking: Ranking) -> dict[str, Any]:
    """How similar the lists of two models are, of a few users that the driver has.

    Parameters
    ----------
    users
        Columns seen (internal ids that are not listed), and `topn.blocks.factor_column` of both.
    ranking
        Both models; lists are compared at its n.

    Returns
    -------
    dict
        compared_users, those with an item in either list; if there are any, the means over them of
        overlap and rbo (docs/metrics.md).
    """
    if not len(users):
        return {"compared_users": 0}
    (batch,) = users.combine_chunks().to_batches()
    batch = batch.append_column("truth", pa.nulls(len(batch), pa.list_(pa.int32())))
    with single_threaded():
        lists = rank_batch(batch, ranking)[LISTS].flatten()
    one, other = (
        list_parts(lists.take(pa.array(range(at, len(lists), 2), pa.int64())), np.int64)
        for at in range(2)
    )
    values = list_agreement(*one, *other, np.array([ranking.n], dtype=np.int64))[:, 0]
    compared = int((~np.isnan(values)).sum(axis=0).max(initial=0))
    means = whole_sums(values) / EXACT / max(compared, 1)
    found = dict(zip(AGREEMENT, means.tolist(), strict=True)) if compared else {}
    return {"compared_users": compared} | found
