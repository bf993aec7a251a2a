"""The dictionary of external ids and dense indices: distributed, append-only, deterministic."""

from collections import defaultdict
from collections.abc import Mapping
from functools import reduce
from itertools import accumulate

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.errors import ContractError

_BUCKETS = 256
_KNOWN = -1  # the bucket of the ids that have an index
_LARGEST = 2**31 - 1
Sides = Mapping[str, tuple[DataFrame, DataFrame | None]]


def extend_sides(sides: Sides) -> dict[str, DataFrame]:
    """The dictionaries of several sides: known entries as they are, a new index for every other id.

    One job counts the ids of all sides. New indices follow the known ones without gaps; which id
    gets which depends only on the set of new ids: they are ordered by hash bucket, then by id.

    Parameters
    ----------
    sides
        Of each side its ids, column id, duplicates allowed; and its known entries, columns id and
        index, or None.

    Returns
    -------
    dict
        Of each side: columns id and index.

    Raises
    ------
    ContractError
        Where a side has more ids than an index holds.
    """
    new = {side: _new(ids, known) for side, (ids, known) in sides.items()}
    counts = _counts(new, {side: known for side, (_, known) in sides.items() if known is not None})
    return {side: _extended(new[side], sides[side][1], counts[side]) for side in sides}


def _new(ids: DataFrame, known: DataFrame | None) -> DataFrame:
    """Columns id, bucket of the ids that have no index yet."""
    new = ids.select("id").distinct()
    if known is not None:
        new = new.join(known, "id", "left_anti")
    return new.withColumn("bucket", F.pmod(F.xxhash64("id"), F.lit(_BUCKETS)).cast("int"))


def _counts(
    new: Mapping[str, DataFrame], known: Mapping[str, DataFrame]
) -> dict[str, dict[int, int]]:
    """The number of new ids by side and bucket; of the known ones, the first index after them."""
    first = (F.max(F.col("index").cast("bigint")) + 1).alias("count")
    parts = [_of(side, ids.groupBy("bucket").count()) for side, ids in new.items()]
    parts += [
        _of(side, ids.agg(F.lit(_KNOWN).alias("bucket"), first)) for side, ids in known.items()
    ]
    counts: dict[str, dict[int, int]] = defaultdict(dict)
    for row in reduce(DataFrame.unionByName, parts).collect():
        counts[row["side"]][row["bucket"]] = row["count"] or 0
    return counts


def _of(side: str, counts: DataFrame) -> DataFrame:
    return counts.select(F.lit(side).alias("side"), "bucket", "count")


def _extended(new: DataFrame, known: DataFrame | None, counts: Mapping[int, int]) -> DataFrame:
    *starts, end = accumulate(counts.get(bucket, 0) for bucket in range(_KNOWN, _BUCKETS))
    if end > _LARGEST:
        raise ContractError(f"There are {end:,} ids; one side may have {_LARGEST:,}.")
    rank = F.row_number().over(Window.partitionBy("bucket").orderBy("id"))
    start = F.array(*map(F.lit, starts))[F.col("bucket")]
    indexed = new.select("id", (start + rank - 1).cast("int").alias("index"))
    return indexed if known is None else known.select("id", "index").unionByName(indexed)
