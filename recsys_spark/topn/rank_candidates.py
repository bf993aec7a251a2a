"""Each user's few candidates, ranked by a model: the protocol of sampled candidates."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.prediction import predicted
from recsys_spark.schema import recommendation_list


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
