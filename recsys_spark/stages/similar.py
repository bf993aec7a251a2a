"""Items that are liked alike, or users who like alike: the nearest by the cosine of factors."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrow import arrow_schema, list_array, list_matrix, make_batch
from recsys_spark.schema import FACTORS
from recsys_spark.wals.catalogue import Catalogue, Listing
from recsys_spark.wals.packed import Batches
from recsys_spark.wals.topn import recommend_top_n


def similar(
    factors: DataFrame, ids: DataFrame, catalogue: Catalogue, n: int, key: str
) -> DataFrame:
    """Columns `key` and similar, up to n others by descending cosine; a row a row of factors.

    factors: columns id, factors, of items or of users. ids: columns id, index. catalogue: of that
    side, with those factors; what it does not score is not listed. Rows whose factors are all 0
    are like none.
    """
    known = catalogue.scored & catalogue.factors.any(axis=1)
    unit = replace(catalogue, factors=_unit(catalogue.factors), scored=known)
    own = factors.mapInArrow(_normalise, FACTORS)
    rows = own.join(ids.toDF(key, "id"), "id").select(
        key,
        F.when(F.exists("factors", lambda x: x != 0), F.col("factors")).alias("factors"),
        F.array(F.col("id").cast("bigint")).alias("seen"),
    )
    parts = int(str(rows.sparkSession.conf.get("spark.sql.shuffle.partitions")))
    ordered = rows.repartitionByRange(parts, key).sortWithinPartitions(key)
    lists = recommend_top_n(ordered, key, Listing(unit, n))
    return lists.select(key, F.col("recommendations").alias("similar"))


def _normalise(batches: Batches) -> Batches:
    target = arrow_schema(FACTORS)
    for batch in batches:
        factors = batch.column("factors")
        if batch.num_rows:
            matrix = _unit(list_matrix(factors, len(factors[0])))
            bounds = np.arange(len(matrix) + 1) * matrix.shape[1]
            lists = list_array(bounds, pa.array(matrix.ravel()))
            yield make_batch(target, {"id": batch.column("id"), "factors": lists})


def _unit(factors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows of length 1, or 0."""
    lengths = np.linalg.norm(factors.astype(np.float64), axis=1, keepdims=True)
    return (factors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
