"""Ranking metrics of every user, at all cut-offs in one pass."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from recsys_spark.arrow import arrow_schema, list_parts, make_batch
from recsys_spark.kernels.ranking import METRICS, ranking_metrics
from recsys_spark.schema import metrics_per_user
from recsys_spark.wals.packed import Batches


def evaluate(
    lists: DataFrame, truth: DataFrame, cutoffs: list[int], model: str, split: str
) -> DataFrame:
    """One row a user of the truth and cut-off, with a column a metric (`kernels.ranking`).

    lists: columns user_id and recommendations, the items named by their index. truth: columns
    user_id, item. A user without a list counts zero; lists of users without truth are ignored.
    """
    chosen = truth.groupBy("user_id").agg(
        F.collect_set(F.col("item").cast("bigint")).alias("truth")
    )
    ranked = F.transform(
        F.sort_array(F.transform("recommendations", lambda e: F.struct(e["rank"], e["item_id"]))),
        lambda entry: entry["item_id"].cast("bigint"),
    )
    pairs = chosen.join(lists.select("user_id", ranked.alias("list")), "user_id", "left")
    schema = metrics_per_user(truth.schema["user_id"].dataType)
    return pairs.select("user_id", "truth", "list").mapInArrow(
        _measure(schema, cutoffs, model, split), schema
    )


def _measure(
    schema: StructType, cutoffs: list[int], model: str, split: str
) -> Callable[[Batches], Batches]:
    target, ks = arrow_schema(schema), np.array(cutoffs, dtype=np.int64)

    def measure(batches: Batches) -> Batches:
        for batch in batches:
            lists = list_parts(batch.column("list"), np.int64)
            truth = list_parts(batch.column("truth"), np.int64)
            values = ranking_metrics(*lists, *truth, ks).reshape(-1, len(METRICS))
            size = batch.num_rows * len(ks)
            users = pa.array(np.repeat(np.arange(batch.num_rows), len(ks)))
            columns = {
                "user_id": batch.column("user_id").take(users),
                "model": pa.repeat(model, size),
                "split": pa.repeat(split, size),
                "k": np.tile(ks, batch.num_rows),
                **{name: values[:, at] for at, name in enumerate(METRICS)},
            }
            yield make_batch(target, columns)

    return measure
