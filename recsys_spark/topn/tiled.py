"""Top-N over a catalog that is too large for one worker: in tiles, whose lists are merged."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType

from recsys_spark.topn.catalog import Catalog, Listing, Mask, Segment, Tally, with_factors
from recsys_spark.topn.distributed import recommend_top_n
from recsys_spark.workers import TaskRows


def recommend_in_tiles(
    users: DataFrame,
    key: str,
    listing: Listing,
    item_factors: DataFrame,
    tiles: int,
    order: Callable[[DataFrame], DataFrame],
    tally: Tally | None = None,
) -> TaskRows:
    """As `recommend_top_n`, with the factors of one tile at a time on the driver and on a worker.

    listing: its rules are on single items, and its catalog needs no factors. item_factors:
    columns id, factors. order: puts rows where their lists are to be. Every tile ranks all users
    and leaves each the best n of its items; the lists are the best n of those.
    """
    parts = [
        recommend_top_n(users, key, tile, tally).frame()
        for tile in _tiles(listing, item_factors, tiles)
    ]
    if not parts:
        return recommend_top_n(order(users), key, listing, tally)
    both = reduce(DataFrame.unionByName, parts)
    best = both.groupBy(key).agg(F.flatten(F.collect_list("recommendations")).alias("ranked"))
    rows = users.drop("factors").join(best, key, "left")
    return recommend_top_n(order(rows), key, listing, tally)


def _tiles(listing: Listing, item_factors: DataFrame, tiles: int) -> Iterator[Listing]:
    """Listings of about equally many items, which call them by their positions in the catalog.

    A tile without any factors is left out.
    """
    index = listing.catalog.index
    for ids in np.array_split(np.sort(index), tiles):
        if not len(ids):
            continue
        inside = (index >= ids[0]) & (index <= ids[-1])
        own = item_factors.where(F.col("id").between(int(ids[0]), int(ids[-1])))
        segments = {
            name: Segment(allowed=None if segment.allowed is None else segment.allowed[inside])
            for name, segment in listing.segments.items()
        }
        tile = with_factors(_part(listing.catalog, inside), own)
        if tile.scored.any():
            # What the policy removed is popular nowhere.
            listed = replace(tile, scored=tile.scored & (tile.popularity > 0))
            yield Listing(listed, listing.n, segments=segments)


def _part(catalog: Catalog, inside: Mask) -> Catalog:
    size = int(inside.sum())
    return Catalog(
        index=catalog.index[inside],
        labels=pa.array(np.flatnonzero(inside).astype(np.int32)),
        item_type=IntegerType(),
        factors=np.zeros((size, 1), dtype=np.float32),
        scored=np.zeros(size, dtype=bool),
        popularity=catalog.popularity[inside],
    )
