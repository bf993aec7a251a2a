"""Items that are liked alike: the nearest by the cosine of their factors."""

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


def similar_items(
    item_factors: DataFrame, item_ids: DataFrame, catalogue: Catalogue, n: int
) -> DataFrame:
    """Columns item_id and similar, up to n others by descending cosine; a row an item of factors.

    item_factors: columns id, factors. item_ids: columns id, index. catalogue: with those factors;
    what it does not score is not listed. Items whose factors are all 0 are like none.
    """
    known = catalogue.scored & catalogue.factors.any(axis=1)
    unit = replace(catalogue, factors=_unit(catalogue.factors), scored=known)
    own = item_factors.mapInArrow(_normalise, FACTORS)
    rows = own.join(item_ids.toDF("item_id", "id"), "id").select(
        "item_id",
        F.when(F.exists("factors", lambda x: x != 0), F.col("factors")).alias("factors"),
        F.array(F.col("id").cast("bigint")).alias("seen"),
    )
    parts = int(str(rows.sparkSession.conf.get("spark.sql.shuffle.partitions")))
    ordered = rows.repartitionByRange(parts, "item_id").sortWithinPartitions("item_id")
    lists = recommend_top_n(ordered, "item_id", Listing(unit, n))
    return lists.select("item_id", F.col("recommendations").alias("similar"))


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
