"""Wiring of the measures: everyone's lists and scores to the metrics table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.evaluation import (
    measure_agreement,
    measure_exposure,
    measure_lists,
    measure_places,
    measure_ranking,
    predict_ratings,
    rating_error,
    summarise,
)
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.pipeline.contenders import MODEL, Contender, Contest
from recsys_spark.pipeline.train import trained_spec
from recsys_spark.runtime.source import read_user_attributes
from recsys_spark.schema import metric_names, per_user
from recsys_spark.stages.rank_candidates import rank_candidates
from recsys_spark.stages.segments import by_activity, by_attribute, by_popularity

_AMONG = "among_negatives"
Contenders = dict[str, Contender]


@dataclass(frozen=True)
class Measured:
    """table: the metrics table. curves: how the lists of each spread over the items."""

    table: DataFrame
    curves: dict[str, list[list[float]]]


def measure(contest: Contest, truth: DataFrame, ranked: Contenders, shown: int) -> Measured:
    """Write the tables of users' metrics, and make the rows of the metrics table of them.

    truth: columns user_id, user, item, value. shown: the cut-off of the curves.
    """
    run, config = contest.run, contest.run.config.evaluate
    lists, buckets = _all_lists(ranked), by_popularity(contest.train)
    measured = {
        "metrics_per_user": _rankings(contest, truth, buckets, ranked),
        "lists_per_user": _lists(contest, truth, ranked),
    }
    if config.full_ranking:
        measured["places_per_user"] = _places(contest, truth, ranked)
    segments, tables = _segments(contest), []
    for name, frame in measured.items():
        run.write(frame, name, per_user(frame.schema["user_id"].dataType, metric_names(frame)))
        tables.append(summarise(run.read(name), run.run_id, segments, config.resamples))
    if len(ranked) > 1:
        others = lists.where(F.col("model") != MODEL)
        alike = measure_agreement(others, ranked[MODEL].lists, config.k, list(ranked), config.split)
        tables.append(summarise(alike, run.run_id, resamples=config.resamples))
    exposure = measure_exposure(
        lists,
        contest.train.select(F.col("item").alias("item_id")),
        config.k,
        run.run_id,
        list(ranked),
        config.split,
        _groups(contest, buckets),
        shown,
    )
    tables += [exposure.table, *_rating_errors(contest, truth, ranked)]
    return Measured(_union(tables), exposure.curves)


def _union(frames: Iterable[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)


def _all_lists(ranked: Contenders) -> DataFrame:
    """Columns user_id, recommendations, model."""
    return _union(
        contender.lists.withColumn("model", F.lit(name)) for name, contender in ranked.items()
    )


def _rankings(
    contest: Contest, truth: DataFrame, buckets: DataFrame, ranked: Contenders
) -> DataFrame:
    """Metrics of the lists of all, and of each item bucket's share of the truth."""
    config = contest.run.config.evaluate
    relevant = truth.select("user_id", F.col("item").alias("item_id"), "value")
    named = buckets.withColumnRenamed("item", "item_id")
    parts = relevant.join(named, "item_id", "left").fillna("items=new", ["segment"])
    whole = relevant.withColumn("segment", F.lit(ALL)).unionByName(parts)
    measured = measure_ranking(_all_lists(ranked), whole, config.k, list(ranked), config.split)
    if not contest.run.has("negatives"):
        return measured
    return _union([measured, *_among_negatives(contest, truth, relevant, ranked)])


def _among_negatives(
    contest: Contest, truth: DataFrame, relevant: DataFrame, ranked: Contenders
) -> list[DataFrame]:
    """Metrics of those who have scores, where the given negatives are the only other candidates."""
    run, config = contest.run, contest.run.config.evaluate
    named = run.read("user_ids").toDF("user_id", "user")
    columns = ["user_id", "user", "item"]
    pairs = run.read("negatives").join(named, "user").select(columns)
    candidates = pairs.unionByName(truth.select(columns)).distinct()
    return [
        measure_ranking(
            rank_candidates(candidates, run.read("item_ids"), *contender.scores),
            relevant,
            config.k,
            name,
            f"{config.split}_{_AMONG}",
        )
        for name, contender in ranked.items()
        if contender.scores is not None
    ]


def _lists(contest: Contest, truth: DataFrame, ranked: Contenders) -> DataFrame:
    config = contest.run.config.evaluate
    relevant = truth.select("user_id", F.col("item").alias("item_id"))
    before = None
    if _has_genres(contest):
        known = contest.known.join(contest.users, "user")
        before = known.select("user_id", F.col("item").alias("item_id"))
    return measure_lists(
        _all_lists(ranked),
        _catalogue(contest, ranked[MODEL]),
        config.k,
        list(ranked),
        config.split,
        relevant,
        before,
    )


def _catalogue(contest: Contest, model: Contender) -> DataFrame:
    """Columns item_id (the index), users, factors and perhaps attributes of all trained items."""
    users = contest.train.select("user").distinct().count()
    share = (F.count_distinct("user") / F.lit(users)).alias("users")
    items = contest.train.groupBy(F.col("item").alias("item_id")).agg(share)
    assert model.scores is not None
    items = items.join(model.scores[1].toDF("item_id", "factors"), "item_id", "left")
    if not _has_genres(contest):
        return items
    return items.join(_genres(contest).toDF("item_id", "attributes"), "item_id", "left")


def _has_genres(contest: Contest) -> bool:
    return contest.run.config.items.columns.genres is not None and contest.run.has("items")


def _genres(contest: Contest) -> DataFrame:
    """Columns item (the index) and genres."""
    ids = contest.run.read("item_ids").toDF("item_id", "item")
    return contest.run.read("items").join(ids, "item_id").select("item", "genres")


def _places(contest: Contest, truth: DataFrame, ranked: Contenders) -> DataFrame:
    split = contest.run.config.evaluate.split
    return _union(
        measure_places(truth, contest.known, *contender.scores, name, split)
        for name, contender in ranked.items()
        if contender.scores is not None
    )


def _segments(contest: Contest) -> DataFrame:
    """Columns user_id, segment: by activity, and by the attributes of a file."""
    run, config = contest.run, contest.run.config.evaluate
    segments = by_activity(contest.users, contest.history, config.cold_below)
    if config.users.path is None:
        return segments
    attributes = read_user_attributes(run.spark, config.users)
    kind = contest.users.schema["user_id"].dataType
    typed = attributes.withColumn("user_id", F.col("user_id").try_cast(kind))
    return segments.unionByName(by_attribute(typed))


def _groups(contest: Contest, buckets: DataFrame) -> DataFrame:
    """Columns item_id (the index), group: items by popularity and genre."""
    groups = buckets.toDF("item_id", "group")
    if not _has_genres(contest):
        return groups
    genres = _genres(contest).select(
        F.col("item").alias("item_id"), F.explode(F.array_distinct("genres")).alias("genre")
    )
    named = F.concat(F.lit("genre="), "genre").alias("group")
    return groups.unionByName(genres.select("item_id", named))


def _rating_errors(contest: Contest, truth: DataFrame, ranked: Contenders) -> Iterator[DataFrame]:
    spec, scores = trained_spec(contest.run), ranked[MODEL].scores
    if spec.explicit and scores is not None:
        predicted = predict_ratings(truth, *scores, spec.clip)
        yield rating_error(predicted, contest.run.run_id, split=contest.run.config.evaluate.split)
