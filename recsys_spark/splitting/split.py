"""Which rows train, which validate, which test.

Every choice is a hash of the ids, or the order of time with ties broken by the ids, so that the
parts are the same on any partitioning.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from itertools import accumulate

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.config import Split
from recsys_spark.errors import ContractError

PARTS = ("train", "validation", "test", "fold_in")
UNUSED = "unused"
_DAY = 86_400


def split(interactions: DataFrame, config: Split) -> DataFrame:
    """The interactions with a column `part`: train, validation, test, or fold_in.

    fold_in exists for user_holdout alone: the rows that a held-out user brings along; unused for
    time_window alone: those after the window. Raises ContractError if a method by time meets rows
    without one.
    """
    if config.method in ("leave_last_out", "global_time", "time_window"):
        _require_times(interactions, config.method)
    return _METHODS[config.method](interactions, config)


def _none(interactions: DataFrame, _: Split) -> DataFrame:
    return interactions.withColumn("part", F.lit("train"))


def _require_times(interactions: DataFrame, method: str) -> None:
    if not interactions.where("timestamp is null").isEmpty():
        raise ContractError(
            f"split.method {method} needs the time of every event, and some have none; set "
            "ingest.source.columns.timestamp or choose split.method per_user."
        )


def _uniform(seed: int, *columns: str) -> Column:
    """A number in [0, 1) that depends on the columns' values and the seed alone."""
    bits = F.shiftrightunsigned(F.xxhash64(F.lit(seed), *columns), 11)
    return bits.cast("double") / F.lit(float(2**53))


def _by_share(share: Column, config: Split) -> Column:
    test, validation = config.test_fraction, config.validation_fraction
    return (F.when(share < test, "test").when(share < test + validation, "validation")).otherwise(
        "train"
    )


def _random(interactions: DataFrame, config: Split) -> DataFrame:
    return interactions.withColumn(
        "part", _by_share(_uniform(config.seed, "user_id", "item_id"), config)
    )


def _per_user(interactions: DataFrame, config: Split) -> DataFrame:
    """The exact share of every user's rows, rounded; a user keeps one training row at least."""
    return _by_user_shares(
        interactions, config.test_fraction, config.validation_fraction, config.seed
    )


def cut_validation(train: DataFrame, share: float, seed: int) -> DataFrame:
    """Training rows with a column `part`: validation for a share of every user's, else train."""
    return _by_user_shares(train, 0.0, share, seed)


def _by_user_shares(
    interactions: DataFrame, test_share: float, validation_share: float, seed: int
) -> DataFrame:
    order = Window.partitionBy("user_id").orderBy("_hash", "item_id")
    rows = F.count("*").over(Window.partitionBy("user_id"))
    ranked = (
        interactions.withColumn("_hash", F.xxhash64(F.lit(seed), "user_id", "item_id"))
        .withColumn("_rank", F.row_number().over(order))
        .withColumn("_rows", rows)
    )
    test = F.round(F.col("_rows") * test_share)
    validation = F.round(F.col("_rows") * validation_share)
    return _by_rank(ranked, test, validation).drop("_hash")


def _leave_last_out(interactions: DataFrame, config: Split) -> DataFrame:
    """The last rows of every user by time; a user keeps one training row at least."""
    order = Window.partitionBy("user_id").orderBy(
        F.col("timestamp").desc(), F.xxhash64(F.lit(config.seed), "item_id"), "item_id"
    )
    ranked = interactions.withColumn("_rank", F.row_number().over(order)).withColumn(
        "_rows", F.count("*").over(Window.partitionBy("user_id"))
    )
    return _by_rank(ranked, F.lit(config.test_last), F.lit(config.validation_last))


def _by_rank(ranked: DataFrame, test: Column, validation: Column) -> DataFrame:
    test = F.least(test, F.col("_rows") - 1)
    validation = F.least(validation, F.col("_rows") - 1 - test)
    part = (
        F.when(F.col("_rank") <= test, "test").when(
            F.col("_rank") <= test + validation, "validation"
        )
    ).otherwise("train")
    return ranked.withColumn("part", part).drop("_rank", "_rows")


def _global_time(interactions: DataFrame, config: Split) -> DataFrame:
    """Everything before one moment trains; rows of the same second stay together."""
    seconds = F.unix_timestamp("timestamp")
    train = 1 - config.test_fraction - config.validation_fraction
    first, second = _quantile_seconds(interactions, seconds, [train, 1 - config.test_fraction])
    part = F.when(seconds < first, "train").when(seconds < second, "validation").otherwise("test")
    return interactions.withColumn("part", part)


def _quantile_seconds(
    interactions: DataFrame, seconds: Column, shares: Sequence[float]
) -> list[int]:
    """For each share, the first second that has at least so many of the rows before it.

    Exact and small: rows are counted by day, then by second of the days that hold the quantiles.
    """
    day = F.floor(seconds / _DAY)
    days = _counted(interactions, day)
    rows = sum(days.values())
    wanted = [round(share * rows, 6) for share in shares]  # 0.7000000000000001 of 10 rows are 7
    chosen = [_reached(days, least) for least in wanted]
    inside = _counted(interactions.where(day.isin([at for at, _ in chosen])), seconds)
    firsts = []
    for least, (at, before) in zip(wanted, chosen, strict=True):
        own = {second: count for second, count in inside.items() if second // _DAY == at}
        second, _ = _reached(own, least - before)
        firsts.append(second + 1 if least > 0 else second)
    return firsts


def _reached(counts: Mapping[int, int], wanted: float) -> tuple[int, int]:
    """The first time with which there are so many rows, and how many are before it."""
    totals = accumulate(counts.values())
    at, total = next(found for found in zip(counts, totals, strict=True) if found[1] >= wanted)
    return at, total - counts[at]


def _counted(interactions: DataFrame, time: Column) -> dict[int, int]:
    """Rows by time, the earliest first."""
    rows = interactions.groupBy(time.alias("t")).count().collect()
    return {row["t"]: row["count"] for row in sorted(rows)}


def _time_window(interactions: DataFrame, config: Split) -> DataFrame:
    """Everything before one moment trains, what comes in the days after it tests."""
    assert config.train_until is not None
    until = config.train_until.replace(tzinfo=config.train_until.tzinfo or UTC).timestamp()
    seconds = F.unix_timestamp("timestamp")
    inside = F.when(seconds < until + config.test_days * _DAY, "test").otherwise(UNUSED)
    return interactions.withColumn("part", F.when(seconds < until, "train").otherwise(inside))


def _k_fold(interactions: DataFrame, config: Split) -> DataFrame:
    """One of several equal parts, by a hash of the ids, tests; together they are all rows."""
    fold = F.floor(_uniform(config.seed, "user_id", "item_id") * config.folds)
    part = F.when(fold == config.fold, "test").otherwise("train")
    return interactions.withColumn("part", part)


def _user_holdout(interactions: DataFrame, config: Split) -> DataFrame:
    """Whole users are held out; a share of their rows is there to fold them in."""
    share = _uniform(config.seed, "user_id")
    order = Window.partitionBy("user_id").orderBy("_hash", "item_id")
    scored = interactions.withColumn(
        "_hash", F.xxhash64(F.lit(config.seed), "user_id", "item_id")
    ).withColumn("_rank", F.row_number().over(order))
    rows = F.count("*").over(Window.partitionBy("user_id"))
    fold_in = F.greatest(F.round(rows * config.fold_in_fraction), F.lit(1))
    part = _by_share(share, config)
    part = F.when((part != "train") & (F.col("_rank") <= fold_in), "fold_in").otherwise(part)
    return scored.withColumn("part", part).drop("_hash", "_rank")


_METHODS: dict[str, Callable[[DataFrame, Split], DataFrame]] = {
    "random": _random,
    "per_user": _per_user,
    "leave_last_out": _leave_last_out,
    "global_time": _global_time,
    "time_window": _time_window,
    "k_fold": _k_fold,
    "user_holdout": _user_holdout,
    "none": _none,
}
