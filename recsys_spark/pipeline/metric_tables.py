"""Wiring of the measures: all users' lists and full rankings to the metrics table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.evaluation import measure_ranking, predict_ratings, rating_error, summarise
from recsys_spark.evaluation.model_exposure import (
    LISTS_TOTAL,
    PATTERNS_TOTAL,
    exposure_of_models,
)
from recsys_spark.evaluation.model_means import (
    METRICS_TOTAL,
    PAIRS_TOTAL,
)
from recsys_spark.evaluation.user_pass import Wanted, finish, users_metrics, users_of
from recsys_spark.pipeline.baselines import MODEL, MeasuredModel
from recsys_spark.pipeline.evaluation_inputs import EvaluationInputs
from recsys_spark.topn.sampled_candidates import draw_negatives, rank_candidates
from recsys_spark.workers import TaskRows

MeasuredModels = dict[str, MeasuredModel]


@dataclass(frozen=True)
class Measured:
    """What evaluating found.

    table: the metrics table. per_user: that of the users' metrics. curves: how the lists of each
    model spread over the items. pairs: the other models beside the delivered one; None where that
    was not measured, or without resamples. patterns: what lists and truth share.
    """

    table: DataFrame
    per_user: DataFrame | TaskRows
    curves: dict[str, list[list[float]]]
    pairs: pa.Table | None
    patterns: pa.Table


def measure(
    inputs: EvaluationInputs, passed: DataFrame, wanted: Wanted, found: MeasuredModels
) -> Measured:
    """Both tables of metrics, and what the report shows beside them.

    passed: from `pass_over_users` of `wanted`, with columns user and user_id. found: the models.
    """
    config, work, run_id = inputs.config.evaluate, inputs.work, inputs.run_id
    users, finished = users_of(passed), finish(passed, wanted, run_id)
    tables = [work.spark.createDataFrame(finished[METRICS_TOTAL])]
    made = users_metrics(users, wanted)
    rows: DataFrame | TaskRows = made
    if among := list(_among_candidates(inputs, users, found)):
        few = work.keep(_union(among), "among")
        segments = users.select("user_id", F.explode("segments").alias("segment"))
        tables.append(summarise(few, run_id, segments, config.resamples))
        own = few.where(F.col("model").isin(*wanted.kept))
        rows = made.frame().unionByName(own, allowMissingColumns=True)
    errors = list(_rating_errors(inputs, users, found))
    spread, listed = finished[LISTS_TOTAL], wanted.listed
    exposure = exposure_of_models(work.spark, spread, listed, run_id, config.split, wanted.shown)
    tables += [exposure.table, *errors]
    pairs, patterns = finished.get(PAIRS_TOTAL), finished[PATTERNS_TOTAL]
    return Measured(_union(tables), rows, exposure.curves, pairs, patterns)


def truth_of(ranked: DataFrame) -> DataFrame:
    """Columns user_id, user, item, value: the held-out rows again."""
    pairs = F.arrays_zip(F.col("truth").alias("item"), F.col("values").alias("value"))
    rows = ranked.select("user_id", "user", F.inline(pairs))
    return rows.withColumn("item", F.col("item").cast("int"))


def _union(frames: Iterable[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)


def _among_candidates(
    inputs: EvaluationInputs, ranked: DataFrame, found: MeasuredModels
) -> Iterator[DataFrame]:
    """Metrics of those who have scores, where users have few candidates, by protocol."""
    if inputs.negatives is None and inputs.config.evaluate.sampled_negatives is None:
        return
    truth = inputs.work.keep(truth_of(ranked), "truth")
    relevant = truth.select("user_id", F.col("item").alias("item_id"), "value")
    for name, pairs in _candidates(inputs, ranked, truth).items():
        yield from _among(inputs, pairs, relevant, found, name)


def _candidates(
    inputs: EvaluationInputs, ranked: DataFrame, truth: DataFrame
) -> dict[str, DataFrame]:
    """The few that each user's items are ranked among, by protocol: columns user_id, user, item."""
    config = inputs.config.evaluate
    chosen, names = truth.select("user_id", "user", "item"), ranked.select("user_id", "user")
    found = {}
    if inputs.negatives is not None:
        found["among_negatives"] = inputs.negatives
    if config.sampled_negatives is not None:
        users = ranked.select("user", F.concat("truth", "history", "known").alias("left_out"))
        seed, n = inputs.config.split.seed, config.sampled_negatives
        found[f"among_{n}_sampled"] = draw_negatives(users, inputs.catalog, n, seed)
    return {
        name: pairs.join(names, "user").select(chosen.columns).unionByName(chosen).distinct()
        for name, pairs in found.items()
    }


def _among(
    inputs: EvaluationInputs,
    candidates: DataFrame,
    relevant: DataFrame,
    found: MeasuredModels,
    name: str,
) -> list[DataFrame]:
    config, ids = inputs.config.evaluate, inputs.item_ids
    return [
        measure_ranking(
            rank_candidates(candidates, ids, *one.scores),
            relevant,
            config.k,
            model,
            f"{config.split}_{name}",
        )
        for model, one in found.items()
        if one.scores is not None
    ]


def _rating_errors(
    inputs: EvaluationInputs, ranked: DataFrame, found: MeasuredModels
) -> Iterator[DataFrame]:
    spec, scores = inputs.spec, found[MODEL].scores
    if spec.explicit and scores is not None:
        predicted = predict_ratings(truth_of(ranked), *scores, spec.clip)
        yield rating_error(predicted, inputs.run_id, split=inputs.config.evaluate.split)
