"""How test rows overlap with training rows: what training knows of them, and what it does not."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def overlap(tagged: DataFrame) -> DataFrame:
    """One row of counts.

    in_both: test pairs that are training rows too. older_than_training: test rows that are older
    than the newest training row of their user. cold: a struct of users and user_rows, of the test
    rows whose user has no row in train or fold_in, and of items and item_rows, of those whose item
    has none in train.

    tagged: columns user, item, timestamp, part. Rows without a time are never counted as older.
    """
    test = tagged.where("part = 'test'").select("user", "item", "timestamp")
    train = tagged.where("part = 'train'").withColumn("trained", F.lit(True))
    beside = (
        test.join(train.select("user", "item", "trained").distinct(), ["user", "item"], "left")
        .join(_users(tagged), "user", "left")
        .join(train.select("item", F.col("trained").alias("item_known")).distinct(), "item", "left")
    )
    return beside.agg(
        F.count_if("trained").alias("in_both"),
        F.count_if(F.col("timestamp") < F.col("newest")).alias("older_than_training"),
        F.struct(*_cold("user"), *_cold("item")).alias("cold"),
    )


def _users(tagged: DataFrame) -> DataFrame:
    """Columns user, user_known, newest of those who have rows in train or fold_in."""
    trained = F.when(F.col("part") == "train", F.col("timestamp"))
    known = tagged.where("part in ('train', 'fold_in')").groupBy("user")
    return known.agg(F.lit(True).alias("user_known"), F.max(trained).alias("newest"))


def _cold(side: str) -> tuple[Column, Column]:
    is_cold = F.col(f"{side}_known").isNull()
    return (
        F.count_distinct(F.when(is_cold, F.col(side))).alias(f"{side}s"),
        F.count_if(is_cold).alias(f"{side}_rows"),
    )
