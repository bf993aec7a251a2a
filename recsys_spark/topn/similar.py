"""Similar items, or similar users: the nearest by the cosine of factors."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.packed_interactions import Batches
from recsys_spark.arrow import arrow_schema, list_array, list_matrix, make_batch
from recsys_spark.errors import ConfigError, setting
from recsys_spark.schema import FACTORS
from recsys_spark.topn.catalog import Catalog, Listing, with_factors
from recsys_spark.topn.distributed import recommend_top_n
from recsys_spark.topn.tiled import recommend_in_tiles
from recsys_spark.workers import map_in_arrow

_MOST_GENRES = 1000


def similar(
    factors: DataFrame,
    ids: DataFrame,
    catalog: Catalog,
    n: int,
    key: str,
    genres: DataFrame | None = None,
    genre_weight: float = 0.0,
    tiles: int = 1,
) -> DataFrame:
    """Columns `key` and similar, up to n others by descending score; a row a row of factors.

    factors: columns id, factors, of items or of users. ids: columns id, index. catalog: of that
    side, without factors; what is popular nowhere in it is not listed. genres: columns id, genres
    (array<string>), once an id. The score is (1 - genre_weight) times the cosine of the factors and
    genre_weight times that of the sets of genres, |A and B| / sqrt(|A| |B|); what has neither is
    like none. tiles: into how many parts the factors are divided that are sent to workers.
    """
    own = map_in_arrow(factors, _normalise, FACTORS)
    if genres is not None and genre_weight:
        own = _blended(own, genres, genre_weight)
    rows = own.join(ids.toDF(key, "id"), "id").select(
        key,
        F.when(F.exists("factors", lambda x: x != 0), F.col("factors")).alias("factors"),
        F.array(F.col("id").cast("bigint")).alias("seen"),
    )
    parts = int(str(rows.sparkSession.conf.get("spark.sql.shuffle.partitions")))

    def order(frame: DataFrame) -> DataFrame:
        return frame.repartitionByRange(parts, key).sortWithinPartitions(key)

    known = own.where(F.exists("factors", lambda x: x != 0))
    if tiles > 1:
        lists = recommend_in_tiles(rows, key, Listing(catalog, n), known, tiles, order)
    else:
        unit = with_factors(catalog, known)
        listed = replace(unit, scored=unit.scored & (unit.popularity > 0))
        lists = recommend_top_n(order(rows), key, Listing(listed, n))
    return lists.frame().select(key, F.col("recommendations").alias("similar"))


def _blended(unit: DataFrame, genres: DataFrame, weight: float) -> DataFrame:
    """Vectors whose inner product is the score: each part times the root of its weight.

    The names of all genres come to the driver. Raises ConfigError for more than a thousand.
    """
    sets = genres.select("id", F.array_compact(F.array_distinct("genres")).alias("genres"))
    found = sets.select(F.explode("genres").alias("name")).distinct().orderBy("name")
    known = [row["name"] for row in found.limit(_MOST_GENRES + 1).collect()]
    if len(known) > _MOST_GENRES:
        raise ConfigError(
            f"The items have more than {_MOST_GENRES:,} genres, too many to be compared by: set "
            f"{setting('genre_weight')}: 0."
        )
    names = F.array(*map(F.lit, known)).cast("array<string>")
    share = F.sqrt(weight / F.greatest(F.size("genres"), F.lit(1)))
    marks = F.transform(names, lambda name: F.when(F.array_contains("genres", name), share))
    filled = F.transform(marks, lambda mark: F.coalesce(mark, F.lit(0.0)).cast("float"))
    scaled = F.transform("factors", lambda x: (x * float(np.sqrt(1 - weight))).cast("float"))
    both = F.concat(scaled, filled)
    return unit.join(sets, "id", "left").select("id", both.alias("factors"))


def _normalise(batches: Batches) -> Batches:
    """Rows of length 1, or 0."""
    target = arrow_schema(FACTORS)
    for batch in batches:
        factors = batch.column("factors")
        if batch.num_rows:
            matrix = list_matrix(factors, len(factors[0]))
            lengths = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
            unit = (matrix / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
            lists = list_array(np.arange(len(unit) + 1) * unit.shape[1], pa.array(unit.ravel()))
            yield make_batch(target, {"id": batch.column("id"), "factors": lists})
