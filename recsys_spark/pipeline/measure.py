"""Wiring of the measures: everyone's lists and full rankings to the metrics table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrow import list_bounds
from recsys_spark.evaluation import measure_ranking, predict_ratings, rating_error, summarise
from recsys_spark.evaluation.lists import ItemTraits, item_traits
from recsys_spark.evaluation.model_exposure import (
    LISTS_TOTAL,
    PATTERNS_TOTAL,
    Listed,
    exposure_of_models,
    finish_lists,
    finish_patterns,
    total_lists,
    total_patterns,
)
from recsys_spark.evaluation.model_means import (
    METRICS_TOTAL,
    PAIRS_TOTAL,
    Means,
    Paired,
    finish_means,
    finish_pairs,
    total_metrics,
)
from recsys_spark.evaluation.model_metrics import ALL_METRICS, Measures, measure_models
from recsys_spark.evaluation.summary import SEED
from recsys_spark.evaluation.totals import Totals, finish_totals, users_of
from recsys_spark.io.side_tables import read_user_attributes
from recsys_spark.lookup import Lookup
from recsys_spark.pipeline.baselines import MODEL, MeasuredModel
from recsys_spark.pipeline.evaluation_inputs import EvaluationInputs
from recsys_spark.pipeline.paired import METRIC
from recsys_spark.pipeline.side_tables import match
from recsys_spark.schema import per_user
from recsys_spark.stages.segments import BY_POPULARITY, by_activity, by_attribute, by_popularity
from recsys_spark.topn.negatives import draw_negatives
from recsys_spark.topn.rank_candidates import rank_candidates
from recsys_spark.topn.scorers import FactorScorer

MeasuredModels = dict[str, MeasuredModel]
Whole = npt.NDArray[np.int64]
_NEW = "items=new"  # the part of the truth that no training row has


@dataclass(frozen=True)
class Measured:
    """What evaluating found.

    table: the metrics table. kept: the models that the table of users' metrics has. curves: how
    the lists of each spread over the items. pairs: the others beside the delivered model; None
    where that was not measured, or without resamples. patterns: what lists and truth share.
    """

    table: DataFrame
    kept: tuple[str, ...]
    curves: dict[str, list[list[float]]]
    pairs: pa.Table | None
    patterns: pa.Table


def totals(inputs: EvaluationInputs, found: MeasuredModels, shown: int) -> list[Totals]:
    """What the pass over users adds up: metrics, how lists spread, and what they have in common."""
    resamples = inputs.run.config.evaluate.resamples
    means = Means(resamples, SEED, _paired(inputs, found, shown))
    return [
        total_metrics(_measures(inputs, found), means),
        total_lists(_listed(inputs, found)),
        total_patterns(len(found), shown),
    ]


def _paired(inputs: EvaluationInputs, found: MeasuredModels, shown: int) -> Paired | None:
    """The comparison of the others with the delivered model."""
    config = inputs.run.config
    name = config.recommend.chain[0]
    return Paired(name, METRIC, shown) if name in found and config.evaluate.resamples else None


def measure(
    inputs: EvaluationInputs, passed: DataFrame, found: MeasuredModels, shown: int
) -> Measured:
    """Write the table of users' metrics, and make the rows of the metrics table.

    passed: from `rank_models` with `totals`, of all that were found, with columns user and user_id.
    shown: the cut-off of the curves.
    """
    run, config, ranked = inputs.run, inputs.run.config.evaluate, users_of(passed)
    listed, paired = _listed(inputs, found), _paired(inputs, found, shown)
    results = {
        METRICS_TOTAL: finish_means(run.run_id, config.split),
        LISTS_TOTAL: finish_lists(listed),
        PATTERNS_TOTAL: finish_patterns(),
    }
    if paired is not None:
        results[PAIRS_TOTAL] = finish_pairs(paired, config.split)
    finished = finish_totals(passed, results)
    tables = [run.spark.createDataFrame(finished[METRICS_TOTAL])]
    kept = _kept(inputs, found)
    users = measure_models(ranked, replace(_measures(inputs, found), parts=()), kept)
    if among := list(_among_candidates(inputs, ranked, found)):
        few = run.keep(_union(among), "among")
        segments = ranked.select("user_id", F.explode("segments").alias("segment"))
        tables.append(summarise(few, run.run_id, segments, config.resamples))
        users = users.unionByName(few.where(F.col("model").isin(*kept)), allowMissingColumns=True)
    run.write(users, "metrics_per_user", per_user(ranked.schema["user_id"].dataType, ALL_METRICS))
    exposure = exposure_of_models(
        run.spark, finished[LISTS_TOTAL], listed, run.run_id, config.split, shown
    )
    tables += [exposure.table, *_rating_errors(inputs, ranked, found)]
    pairs = finished.get(PAIRS_TOTAL)
    return Measured(_union(tables), kept, exposure.curves, pairs, finished[PATTERNS_TOTAL])


def _kept(inputs: EvaluationInputs, found: MeasuredModels) -> tuple[str, ...]:
    """The models of which users' metrics are kept."""
    config = inputs.run.config
    if config.evaluate.per_user == "all":
        return tuple(found)
    return tuple(name for name in found if name == config.recommend.chain[0])


def truth_of(ranked: DataFrame) -> DataFrame:
    """Columns user_id, user, item, value: the held-out rows again."""
    pairs = F.arrays_zip(F.col("truth").alias("item"), F.col("values").alias("value"))
    rows = ranked.select("user_id", "user", F.inline(pairs))
    return rows.withColumn("item", F.col("item").cast("int"))


def _union(frames: Iterable[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)


def _listed(inputs: EvaluationInputs, found: MeasuredModels) -> Listed:
    ks = tuple(inputs.run.config.evaluate.k)
    return Listed(inputs.catalogue.index, tuple(found), ks, _groups(inputs))


def _measures(inputs: EvaluationInputs, found: MeasuredModels) -> Measures:
    config, traits = inputs.run.config.evaluate, _traits(inputs, found[MODEL])
    part_of = by_popularity(inputs.counts)
    return Measures(
        traits,
        tuple(found),
        MODEL,
        tuple(config.k),
        config.split,
        (*BY_POPULARITY, _NEW),
        part_of[inputs.catalogue.lookup.positions(traits.ids)],
    )


def _traits(inputs: EvaluationInputs, model: MeasuredModel) -> ItemTraits:
    """Of the items: shares of users, the model's factors, and genres."""
    assert isinstance(model.scorer, FactorScorer)
    catalogue, genres = inputs.catalogue, inputs.genres
    attributes = pa.nulls(len(catalogue.index), pa.list_(pa.string()))
    if genres is not None:
        at = Lookup(genres["item"].to_numpy().astype(np.int64)).positions(catalogue.index)
        attributes = genres["genres"].combine_chunks().take(pa.array(at, mask=at < 0))
    return item_traits(catalogue.index, catalogue.popularity, model.scorer.factors, attributes)


def with_segments(inputs: EvaluationInputs, rows: DataFrame) -> DataFrame:
    """Rows with a column segments: each user's by activity, and by the attributes of a file.

    rows: columns user_id and size, that of the user's history, which is left out.
    """
    run, section = inputs.run, inputs.run.config.evaluate.users
    cold, median = inputs.run.config.evaluate.cold_below, inputs.median
    active = F.array(by_activity(F.col("size"), cold, median))
    if section.path is None:
        return rows.withColumn("segments", active).drop("size")
    attributes = read_user_attributes(run.spark, section)
    typed = match(run.log, "evaluate.users", attributes, {"user_id": inputs.user_ids})
    own = by_attribute(typed).groupBy("user_id").agg(F.collect_set("segment").alias("own"))
    further = F.coalesce("own", F.array().cast("array<string>"))
    joined = rows.join(own, "user_id", "left")
    return joined.withColumn("segments", F.concat(active, further)).drop("own", "size")


def _groups(inputs: EvaluationInputs) -> dict[str, Whole]:
    """Positions of items by popularity and genre."""
    part_of = by_popularity(inputs.counts)
    groups = {name: np.flatnonzero(part_of == at) for at, name in enumerate(BY_POPULARITY)}
    return groups | (_by_genre(inputs) if inputs.genres is not None else {})


def _by_genre(inputs: EvaluationInputs) -> dict[str, Whole]:
    assert inputs.genres is not None
    lists = inputs.genres["genres"].combine_chunks()
    ids = inputs.genres["item"].to_numpy().astype(np.int64)
    at = np.repeat(inputs.catalogue.lookup.positions(ids), np.diff(list_bounds(lists)))
    names = lists.flatten().dictionary_encode()
    codes = names.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return {
        f"genre={name}": at[(codes == code) & (at >= 0)].astype(np.int64)
        for code, name in enumerate(names.dictionary.to_pylist())
    }


def _among_candidates(
    inputs: EvaluationInputs, ranked: DataFrame, found: MeasuredModels
) -> Iterator[DataFrame]:
    """Metrics of those who have scores, where users have few candidates, by protocol."""
    if inputs.negatives is None and inputs.run.config.evaluate.drawn_negatives is None:
        return
    truth = inputs.run.keep(truth_of(ranked), "truth")
    relevant = truth.select("user_id", F.col("item").alias("item_id"), "value")
    for name, pairs in _candidates(inputs, ranked, truth).items():
        yield from _among(inputs, pairs, relevant, found, name)


def _candidates(
    inputs: EvaluationInputs, ranked: DataFrame, truth: DataFrame
) -> dict[str, DataFrame]:
    """The few that each user's items are ranked among, by protocol: columns user_id, user, item."""
    run, config = inputs.run, inputs.run.config.evaluate
    chosen, names = truth.select("user_id", "user", "item"), ranked.select("user_id", "user")
    found = {}
    if inputs.negatives is not None:
        found["among_negatives"] = inputs.negatives
    if config.drawn_negatives is not None:
        users = ranked.select("user", F.concat("truth", "history", "known").alias("left_out"))
        seed, n = run.config.split.seed, config.drawn_negatives
        found[f"among_{n}_drawn"] = draw_negatives(users, inputs.catalogue, n, seed)
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
    config, ids = inputs.run.config.evaluate, inputs.item_ids
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
        yield rating_error(predicted, inputs.run.run_id, split=inputs.run.config.evaluate.split)
