"""What training rows know of the test rows that they should not."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def leaks(tagged: DataFrame) -> DataFrame:
    """One row: in_both, the test pairs that are training rows too; older_than_training, the test
    rows that are older than the newest training row of their user.

    tagged: columns user, item, timestamp, part. Rows without a time are never counted as older.
    """
    test = tagged.where("part = 'test'").select("user", "item", "timestamp")
    train = tagged.where("part = 'train'")
    pairs = train.select("user", "item").distinct().withColumn("trained", F.lit(True))
    newest = train.groupBy("user").agg(F.max("timestamp").alias("newest"))
    beside = test.join(pairs, ["user", "item"], "left").join(newest, "user", "left")
    return beside.agg(
        F.count_if("trained").alias("in_both"),
        F.count_if(F.col("timestamp") < F.col("newest")).alias("older_than_training"),
    )
