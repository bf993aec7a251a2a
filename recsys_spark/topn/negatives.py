"""Negatives drawn for the protocol of sampled candidates."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame

from recsys_spark.als.packed_interactions import Batches
from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.kernels.topn.sampled_negatives import draw_positions
from recsys_spark.schema import PAIRS
from recsys_spark.topn.catalog import Catalog
from recsys_spark.workers import map_in_arrow


def draw_negatives(users: DataFrame, catalog: Catalog, n: int, seed: int) -> DataFrame:
    """Columns user, item: n items of the catalog for each user, all equally likely.

    users: columns user and left_out, array of internal ids that are not drawn. The items are a
    function of seed, user and catalog; fewer where no more are left.
    """
    broadcast = users.sparkSession.sparkContext.broadcast(catalog)
    return map_in_arrow(users.select("user", "left_out"), _draw(broadcast, n, seed), PAIRS)


def _draw(broadcast: "Broadcast[Catalog]", n: int, seed: int) -> Callable[[Batches], Batches]:
    target = arrow_schema(PAIRS)

    def draw(batches: Batches) -> Batches:
        catalog = broadcast.value
        for batch in batches:
            indptr, left_out = catalog.inside(batch.column("left_out"))
            users, size = batch.column("user").to_numpy().astype(np.int64), len(catalog.index)
            drawn = draw_positions(users, indptr, left_out, size, n, seed)
            items = catalog.index[drawn[drawn >= 0]]
            counts = (drawn >= 0).sum(axis=1)
            yield make_batch(target, {"user": np.repeat(users, counts), "item": pa.array(items)})

    return draw
