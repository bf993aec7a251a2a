"""Top-N lists of users: the model's best unseen items, completed by popular ones."""

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrow import list_matrix
from recsys_spark.wals.topn import Catalogue, recommend_top_n


def recommend(
    users: DataFrame,
    history: DataFrame,
    seen: DataFrame | None,
    item_ids: DataFrame,
    model: tuple[DataFrame, DataFrame] | None,
    n: int,
    fill: bool,
    label: str = "id",
) -> DataFrame:
    """Columns user_id, recommendations, source; one row for each row of `users`.

    users: columns user_id and user (index; null where unknown). history: columns user, item;
    its items are the catalogue and their numbers of users the popularity. seen: columns user,
    item, left out exactly. model: user and item factors; None recommends what is popular.
    label: what lists name items by, their external `id` or their `index`. Ties: by item id.
    """
    user_factors, item_factors = model if model else (None, None)
    catalogue = _catalogue(history, item_ids, item_factors, label)
    rows = _with_factors(_with_seen(users, seen), user_factors)
    item_type = item_ids.schema[label].dataType
    return recommend_top_n(rows, "user_id", catalogue, item_type, n, fill)


def _with_seen(users: DataFrame, seen: DataFrame | None) -> DataFrame:
    if seen is None:
        return users.withColumn("seen", F.lit(None).cast("array<bigint>"))
    lists = seen.groupBy("user").agg(F.collect_set(F.col("item").cast("bigint")).alias("seen"))
    return users.join(lists, "user", "left")


def _with_factors(users: DataFrame, factors: DataFrame | None) -> DataFrame:
    if factors is None:
        return users.withColumn("factors", F.lit(None).cast("array<float>"))
    return users.join(factors.withColumnRenamed("id", "user"), "user", "left")


def _catalogue(
    history: DataFrame, item_ids: DataFrame, factors: DataFrame | None, label: str
) -> Catalogue:
    """The items on the driver, to be broadcast: bounded by what training could broadcast."""
    counts = history.groupBy("item").agg(F.count_distinct("user").alias("users"))
    items = counts.join(item_ids.withColumnRenamed("index", "item"), "item")
    if factors is None:
        items = items.withColumn("factors", F.lit(None).cast("array<float>"))
    else:
        items = items.join(factors.withColumnRenamed("id", "item"), "item", "left")
    table = items.toArrow().sort_by("id").combine_chunks()
    vectors = table["factors"].combine_chunks()
    lengths = vectors.value_lengths().fill_null(0).to_numpy()
    users = history.select("user").distinct().count()
    return Catalogue(
        index=table["item"].to_numpy().astype(np.int64),
        labels=table["item" if label == "index" else "id"].combine_chunks(),
        factors=list_matrix(vectors, max(int(lengths.max(initial=0)), 1)),
        scored=lengths > 0,
        popularity=table["users"].to_numpy() / max(users, 1),
    )
