"""The protocol of sampled candidates: a few negatives for each user, ranked by a model."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.packed_interactions import Batches
from recsys_spark.als.prediction import predicted
from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.kernels.topn.sampled_negatives import draw_positions
from recsys_spark.schema import PAIRS, recommendation_list
from recsys_spark.topn.catalog import Catalog
from recsys_spark.workers import map_in_arrow


def draw_negatives(users: DataFrame, catalog: Catalog, n: int, seed: int) -> DataFrame:
    """Columns user, item: n items of the catalog for each user, all equally likely.

    users: columns user and left_out, array of internal ids that are not drawn. The items are a
    function of seed, user and catalog; fewer where no more are left.
    """
    broadcast = users.sparkSession.sparkContext.broadcast(catalog)
    draw = _draw(broadcast, n, seed)
    return map_in_arrow(users.select("user", "left_out"), draw, PAIRS)


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


def rank_candidates(
    candidates: DataFrame, item_ids: DataFrame, user_factors: DataFrame, item_factors: DataFrame
) -> DataFrame:
    """Columns user_id, recommendations: all candidates of each user, items named by their index.

    candidates: columns user_id, user, item, distinct. Those without a score come last. Ties: by
    item id.
    """
    factors = candidates.join(user_factors.toDF("user", "x"), "user", "left").join(
        item_factors.toDF("item", "y"), "item", "left"
    )
    score = F.coalesce(predicted("x", "y").cast("double"), F.lit(float("-inf"))).alias("score")
    named = factors.select("user_id", "item", score).join(item_ids.toDF("id", "item"), "item")
    best_first = F.array_sort(
        F.collect_list(F.struct((-F.col("score")).alias("key"), "id", "item", "score"))
    )
    ranked = named.groupBy("user_id").agg(best_first.alias("ranked"))
    kind = recommendation_list(item_ids.schema["index"].dataType)
    return ranked.select(
        "user_id", F.transform("ranked", _entry).cast(kind).alias("recommendations")
    )


def _entry(found: Column, at: Column) -> Column:
    rank = (at + 1).alias("rank")
    return F.struct(found["item"].alias("item_id"), found["score"].alias("score"), rank)
