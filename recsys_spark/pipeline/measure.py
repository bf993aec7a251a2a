"""Wiring of the measures: everyone's lists and scores to the metrics table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import chain

import pyarrow as pa
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
from recsys_spark.io.side_tables import read_user_attributes
from recsys_spark.pipeline.contenders import MODEL, Contender, Contest
from recsys_spark.pipeline.genres import item_genres
from recsys_spark.pipeline.side_tables import match
from recsys_spark.pipeline.train import trained_spec
from recsys_spark.schema import metric_names, per_user
from recsys_spark.stages.segments import by_activity, by_attribute
from recsys_spark.topn.negatives import draw_negatives
from recsys_spark.topn.rank_candidates import rank_candidates

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
    lists = _all_lists(ranked)
    measured = {
        "metrics_per_user": _rankings(contest, truth, ranked),
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
        _groups(contest),
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


def _rankings(contest: Contest, truth: DataFrame, ranked: Contenders) -> DataFrame:
    """Metrics of the lists of all, and of each item bucket's share of the truth."""
    config = contest.run.config.evaluate
    relevant = truth.select("user_id", F.col("item").alias("item_id"), "value")
    buckets = contest.items.select(F.col("item").alias("item_id"), "segment")
    parts = relevant.join(buckets, "item_id", "left").fillna("items=new", ["segment"])
    whole = relevant.withColumn("segment", F.lit(ALL)).unionByName(parts)
    measured = measure_ranking(_all_lists(ranked), whole, config.k, list(ranked), config.split)
    sampled = _candidates(contest, truth).items()
    among = (_among(contest, pairs, relevant, ranked, name) for name, pairs in sampled)
    return _union([measured, *chain.from_iterable(among)])


def _candidates(contest: Contest, truth: DataFrame) -> dict[str, DataFrame]:
    """The few that each user's items are ranked among, by protocol: columns user_id, user, item."""
    run, config = contest.run, contest.run.config.evaluate
    chosen = truth.select("user_id", "user", "item")
    names, found = contest.users.select("user_id", "user"), {}
    if run.has("negatives"):
        found["among_negatives"] = run.read("negatives")
    if config.drawn_negatives is not None:
        own = chosen.groupBy("user").agg(F.collect_set(F.col("item").cast("bigint")).alias("own"))
        left_out = F.concat("own", F.coalesce("seen", F.array().cast("array<bigint>")))
        users = contest.users.join(own, "user").select("user", left_out.alias("left_out"))
        seed, n = run.config.split.seed, config.drawn_negatives
        found[f"among_{n}_drawn"] = draw_negatives(users, contest.catalogue, n, seed)
    return {
        name: pairs.join(names, "user").select(chosen.columns).unionByName(chosen).distinct()
        for name, pairs in found.items()
    }


def _among(
    contest: Contest, candidates: DataFrame, relevant: DataFrame, ranked: Contenders, name: str
) -> list[DataFrame]:
    """Metrics of those who have scores, where there are no other candidates."""
    config, ids = contest.run.config.evaluate, contest.run.read("item_ids")
    return [
        measure_ranking(
            rank_candidates(candidates, ids, *contender.scores),
            relevant,
            config.k,
            model,
            f"{config.split}_{name}",
        )
        for model, contender in ranked.items()
        if contender.scores is not None
    ]


def _lists(contest: Contest, truth: DataFrame, ranked: Contenders) -> DataFrame:
    config = contest.run.config.evaluate
    relevant = truth.select("user_id", F.col("item").alias("item_id"))
    before = None
    if _genres(contest) is not None:
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
    assert model.scores is not None
    popularity = {"item_id": contest.catalogue.index, "users": contest.catalogue.popularity}
    items = contest.run.spark.createDataFrame(pa.table(popularity))
    items = items.join(model.scores[1].toDF("item_id", "factors"), "item_id", "left")
    genres = _genres(contest)
    if genres is None:
        return items
    return items.join(genres.toDF("item_id", "attributes"), "item_id", "left")


def _genres(contest: Contest) -> DataFrame | None:
    return item_genres(contest.run, contest.run.read("item_ids"))


def _places(contest: Contest, truth: DataFrame, ranked: Contenders) -> DataFrame:
    scores = {name: found.scores for name, found in ranked.items() if found.scores is not None}
    return measure_places(truth, contest.known, scores, contest.run.config.evaluate.split)


def _segments(contest: Contest) -> DataFrame:
    """Columns user_id, segment: by activity, and by the attributes of a file."""
    run, config = contest.run, contest.run.config.evaluate
    segments = by_activity(contest.users, contest.history, config.cold_below)
    if config.users.path is None:
        return segments
    attributes = read_user_attributes(run.spark, config.users)
    typed = match(run, "evaluate.users", attributes, {"user_id": run.read("user_ids")})
    return segments.unionByName(by_attribute(typed))


def _groups(contest: Contest) -> DataFrame:
    """Columns item_id (the index), group: items by popularity and genre."""
    groups = contest.items.select(F.col("item").alias("item_id"), F.col("segment").alias("group"))
    genres = _genres(contest)
    if genres is None:
        return groups
    genres = genres.select(
        F.col("item").alias("item_id"), F.explode(F.array_distinct("genres")).alias("genre")
    )
    named = F.concat(F.lit("genre="), "genre").alias("group")
    return groups.unionByName(genres.select("item_id", named))


def _rating_errors(contest: Contest, truth: DataFrame, ranked: Contenders) -> Iterator[DataFrame]:
    spec, scores = trained_spec(contest.run), ranked[MODEL].scores
    if spec.explicit and scores is not None:
        predicted = predict_ratings(truth, *scores, spec.clip)
        yield rating_error(predicted, contest.run.run_id, split=contest.run.config.evaluate.split)
