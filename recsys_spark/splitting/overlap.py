"""How test rows overlap with training rows: what training knows of them, and what it does not."""

from functools import partial, reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def overlap(tagged: DataFrame) -> DataFrame:
    """One row of counts.

    pairs: different pairs, of all parts. cold: a struct of users and user_rows, of the test rows
    whose user has no row in train or fold_in, and of items and item_rows, of those whose item has
    none in train. in_both: test rows whose pair is a training row too. older_than_training: test
    rows that are older than the newest training row of their user.

    tagged: columns user, item, timestamp, part. Rows without a time are never counted as older.
    """
    part, time = F.col("part"), F.col("timestamp")
    tested = F.count_if(part == "test").alias("tested")
    trained = F.count_if(part == "train").alias("known")
    known = F.count_if(part.isin("train", "fold_in")).alias("known")
    newest = F.max(F.when(part == "train", time)).alias("newest")
    times = F.collect_list(F.when(part == "test", time)).alias("times")  # of one user

    pairs = tagged.groupBy("user", "item").agg(tested, trained)
    users = tagged.groupBy("user").agg(tested, known, newest, times)
    items = tagged.groupBy("item").agg(tested, trained)
    older = F.size(F.filter("times", lambda at: at < F.col("newest")))
    parts = (
        pairs.agg(F.count("*").alias("pairs"), _sum(_tested(F.col("known") > 0)).alias("in_both")),
        users.agg(_sum(older).alias("older_than_training"), *_cold("user")),
        items.agg(*_cold("item")),
    )
    rows = reduce(partial(DataFrame.unionByName, allowMissingColumns=True), parts)
    counts = rows.agg(*(F.max(name).alias(name) for name in rows.columns))  # one of each
    cold = F.struct("users", "user_rows", "items", "item_rows").alias("cold")
    return counts.select("pairs", cold, "in_both", "older_than_training")


def _cold(side: str) -> tuple[Column, Column]:
    """Of one side, how many are tested and not known, and how many test rows they have."""
    is_cold = (F.col("tested") > 0) & (F.col("known") == 0)
    return F.count_if(is_cold).alias(f"{side}s"), _sum(_tested(is_cold)).alias(f"{side}_rows")


def _tested(condition: Column) -> Column:
    """The number of test rows, where the condition is fulfilled."""
    return F.when(condition, F.col("tested"))


def _sum(counts: Column) -> Column:
    """0 of nothing."""
    return F.coalesce(F.sum(counts), F.lit(0))
