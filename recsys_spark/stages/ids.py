"""The dictionary of external ids and dense indices: distributed, append-only, deterministic."""

from itertools import accumulate

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.errors import ContractError

_BUCKETS = 256
_LARGEST = 2**31 - 1


def extend_ids(ids: DataFrame, known: DataFrame | None) -> DataFrame:
    """Columns id, index: the known entries as they are, and a new index for every other id.

    ids: column id, duplicates allowed. New indices follow the known ones without gaps; which id
    gets which depends only on the set of new ids: they are ordered by hash bucket, then by id.
    """
    new = ids.select("id").distinct()
    base = 0
    if known is not None:
        new = new.join(known, "id", "left_anti")
        row = known.agg(F.max("index")).first()
        base = 0 if row is None or row[0] is None else int(row[0]) + 1
    new = new.withColumn("bucket", F.pmod(F.xxhash64("id"), F.lit(_BUCKETS)).cast("int"))
    counts = {row["bucket"]: row["count"] for row in new.groupBy("bucket").count().collect()}
    offsets = list(accumulate((counts.get(b, 0) for b in range(_BUCKETS)), initial=base))
    if offsets[-1] > _LARGEST:
        raise ContractError(f"There are {offsets[-1]:,} ids; one side may have {_LARGEST:,}.")
    starts = F.array(*(F.lit(start) for start in offsets[:-1]))
    rank = F.row_number().over(Window.partitionBy("bucket").orderBy("id"))
    index = (starts[F.col("bucket")] + rank - 1).cast("int")
    indexed = new.select("id", index.alias("index"))
    return indexed if known is None else known.select("id", "index").unionByName(indexed)
