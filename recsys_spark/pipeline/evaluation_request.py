"""From the inputs of evaluate to what it asks of the pass over users."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrow import list_bounds
from recsys_spark.evaluation.beyond_accuracy import ItemTraits, item_traits
from recsys_spark.evaluation.model_exposure import Listed
from recsys_spark.evaluation.model_lists import Ranking
from recsys_spark.evaluation.model_means import Means, Paired
from recsys_spark.evaluation.model_metrics import Measures
from recsys_spark.evaluation.ranking import shown_cutoff
from recsys_spark.evaluation.segments import BY_POPULARITY, by_activity, by_attribute
from recsys_spark.evaluation.summary import SEED
from recsys_spark.evaluation.user_pass import Wanted
from recsys_spark.evaluation.user_rows import gather_users
from recsys_spark.lookup import Lookup
from recsys_spark.pipeline.baselines import MODEL, MeasuredModel
from recsys_spark.pipeline.evaluation_inputs import EvaluationInputs
from recsys_spark.pipeline.model_scorers import weighs_values
from recsys_spark.pipeline.report_data import LISTED
from recsys_spark.pipeline.side_tables import SideTables, match
from recsys_spark.pipeline.user_segments import counted_columns, indexed_segments
from recsys_spark.topn.blocks import factor_column, nearest_column, segment_column
from recsys_spark.topn.scorers import FactorScorer

MeasuredModels = dict[str, MeasuredModel]
Whole = npt.NDArray[np.int64]
PAIRED_METRIC = "ndcg"  # by which the models are compared user by user
_NEW = "items=new"  # the part of the truth that no training row has


def make_wanted(inputs: EvaluationInputs, found: MeasuredModels) -> Wanted:
    """What is wanted of the pass over users, for the models that were found."""
    config, kept = inputs.config.evaluate, tuple(found)
    if config.per_user == "delivered":
        kept = tuple(name for name in found if name == inputs.config.recommend.chain[0])
    return Wanted(
        ranking=_ranking(inputs, found),
        means=Means(config.resamples, SEED, _paired(inputs, found)),
        listed=Listed(inputs.catalog.index, tuple(found), tuple(config.k), _groups(inputs)),
        measures=_measures(inputs, found),
        shown=shown_cutoff(config.k),
        items=LISTED,
        kept=kept,
        left_out=config.sampled_negatives is not None,
    )


def gather_rows(inputs: EvaluationInputs, found: MeasuredModels, ranking: Ranking) -> DataFrame:
    """A row for each user of the truth, with what the pass takes."""
    valued = weighs_values(inputs.config)
    history = inputs.history if valued else inputs.history.drop("value")
    columns = {"user_id": inputs.user_ids.select("index", "id")}
    for name in set(ranking.ranks) - set(ranking.drawn):
        scores = found[name].scores
        assert scores is not None, f"{name} has no user factors"
        columns[factor_column(name)] = scores[0]
    for name, each in found.items():
        if each.nearest is not None:
            columns[nearest_column(name)] = each.nearest
    own = _segments_of_models(inputs)
    columns |= {segment_column(name): own[name] for name in found if name in own}
    return _with_segments(inputs, gather_users(history, inputs.known, inputs.truth, columns))


def _ranking(inputs: EvaluationInputs, found: MeasuredModels) -> Ranking:
    return Ranking(
        inputs.catalog.index,
        {name: each.scorer for name, each in found.items()},
        inputs.n,
        inputs.config.evaluate.full_ranking,
        {name: draw for each in found.values() for name, draw in each.drawn.items()},
    )


def _paired(inputs: EvaluationInputs, found: MeasuredModels) -> Paired | None:
    """The comparison of the others with the delivered model."""
    config = inputs.config
    name, shown = config.recommend.chain[0], shown_cutoff(config.evaluate.k)
    return (
        Paired(name, PAIRED_METRIC, shown) if name in found and config.evaluate.resamples else None
    )


def _measures(inputs: EvaluationInputs, found: MeasuredModels) -> Measures:
    config, traits = inputs.config.evaluate, _traits(inputs, found[MODEL])
    return Measures(
        traits,
        tuple(found),
        MODEL,
        tuple(config.k),
        config.split,
        (*BY_POPULARITY, _NEW),
        inputs.popularity_part[inputs.catalog.lookup.positions(traits.ids)],
    )


def _traits(inputs: EvaluationInputs, model: MeasuredModel) -> ItemTraits:
    """Of the items: shares of users, the model's factors, and genres."""
    assert isinstance(model.scorer, FactorScorer)
    catalog, genres = inputs.catalog, inputs.genres
    attributes = pa.nulls(len(catalog.index), pa.list_(pa.string()))
    if genres is not None:
        at = Lookup(genres["item"].to_numpy().astype(np.int64)).positions(catalog.index)
        attributes = genres["genres"].combine_chunks().take(pa.array(at, mask=at < 0))
    return item_traits(catalog.index, catalog.popularity, model.scorer.factors, attributes)


def _segments_of_models(inputs: EvaluationInputs) -> dict[str, DataFrame]:
    """Columns user and segment, by the name of each model that counts within segments."""
    config, work, attributes = inputs.config, inputs.work, inputs.attributes
    if attributes is None:
        return {}
    tables = SideTables(work.spark, work.log, {"user_id": inputs.user_ids})
    columns = counted_columns(config.parts_of(tuple(config.models)))
    return {name: indexed_segments(tables, attributes, own) for name, own in columns.items()}


def _with_segments(inputs: EvaluationInputs, rows: DataFrame) -> DataFrame:
    """Rows with a column segments: each user's by activity, and by the attributes of a file.

    rows: columns user_id and size, that of the user's history, which is left out.
    """
    own, cold = _by_attributes(inputs), inputs.config.evaluate.cold_below
    segments = F.array(by_activity(F.col("size"), cold, inputs.median))
    if own is not None:
        rows = rows.join(own, "user_id", "left")
        segments = F.concat(segments, F.coalesce("own", F.array().cast("array<string>")))
    return rows.withColumn("segments", segments).drop("own", "size")


def _by_attributes(inputs: EvaluationInputs) -> DataFrame | None:
    """Columns user_id and own, the segments by the attributes of a file; None: there is none."""
    if inputs.attributes is None:
        return None
    known = {"user_id": inputs.user_ids}
    typed = match(inputs.work.log, "evaluate.users", inputs.attributes, known)
    return by_attribute(typed).groupBy("user_id").agg(F.collect_set("segment").alias("own"))


def _groups(inputs: EvaluationInputs) -> dict[str, Whole]:
    """Positions of items by popularity and genre."""
    part_of = inputs.popularity_part
    groups = {name: np.flatnonzero(part_of == at) for at, name in enumerate(BY_POPULARITY)}
    return groups | (_by_genre(inputs) if inputs.genres is not None else {})


def _by_genre(inputs: EvaluationInputs) -> dict[str, Whole]:
    assert inputs.genres is not None
    lists = inputs.genres["genres"].combine_chunks()
    ids = inputs.genres["item"].to_numpy().astype(np.int64)
    at = np.repeat(inputs.catalog.lookup.positions(ids), np.diff(list_bounds(lists)))
    names = lists.flatten().dictionary_encode()
    codes = names.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return {
        f"genre={name}": at[(codes == code) & (at >= 0)].astype(np.int64)
        for code, name in enumerate(names.dictionary.to_pylist())
    }
