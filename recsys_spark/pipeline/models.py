"""Wiring of the models beside the weighted ALS: fitting them to the rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from recsys_spark.baselines.constant_scores import recent
from recsys_spark.config import Config, Model
from recsys_spark.errors import ConfigError
from recsys_spark.io.side_tables import read_user_attributes
from recsys_spark.kernels.als.spec import SIDES
from recsys_spark.neighbours.content import content_matrix
from recsys_spark.neighbours.ease import fit_ease
from recsys_spark.neighbours.fit import fit_items
from recsys_spark.neighbours.spec import ContentKnn, Ease, UserKnn
from recsys_spark.pipeline.context import Summary, Workspace
from recsys_spark.pipeline.factor_models import fit_factor_model
from recsys_spark.pipeline.side_tables import SideTables
from recsys_spark.pipeline.user_segments import indexed_segments
from recsys_spark.schema import ITEM_NEIGHBOURS, ITEM_SCORES, MODEL_FACTORS

_TABLES = {"popularity": "item_scores"}


@dataclass(frozen=True)
class ModelInputs:
    """What models are fitted to, beside the interactions.

    items: columns item_id, title, genres; None: there is no such table. user_ids, item_ids: the
    dictionaries.
    """

    config: Config
    work: Workspace
    items: DataFrame | None
    user_ids: DataFrame
    item_ids: DataFrame


class ModelTable(NamedTuple):
    """A table of fitted models that is to be written."""

    frame: DataFrame
    name: str
    schema: StructType


def fit_models(inputs: ModelInputs, rows: DataFrame) -> Iterator[ModelTable]:
    """Fit those of the configuration on these rows.

    rows: columns user, item, value, timestamp.
    """
    models = _fitted(inputs.config)
    yield from _fit_factors(inputs, [name for name, own in models.items() if own.by_factors], rows)
    for table, schema in (("item_neighbours", ITEM_NEIGHBOURS), ("item_scores", ITEM_SCORES)):
        fitted = [
            _logged(inputs, name, model, rows).withColumn("model", F.lit(name))
            for name, model in models.items()
            if not model.by_factors and table_of(model) == table
        ]
        if fitted:
            ordered = reduce(DataFrame.unionByName, fitted).select(*schema.names)
            yield ModelTable(ordered, table, schema)


def fitted_settings(config: Config) -> Summary:
    """What the record of a stage says of the models that it has fitted, by their names."""
    return {name: settings_of(model) for name, model in _fitted(config).items()}


def _fitted(config: Config) -> dict[str, Model]:
    return {name: model for name, model in config.models.items() if model.fitted}


def _fit_factors(inputs: ModelInputs, names: list[str], rows: DataFrame) -> Iterator[ModelTable]:
    """Fit models with factors of their own: both tables of all."""
    fitted = {}
    for name in names:
        inputs.work.log.progress(f"fitting {name}")
        fitted[name] = fit_factor_model(inputs.work, inputs.config, name, rows)
    for at, side in enumerate(SIDES if fitted else ()):
        own = (scores[at].withColumn("model", F.lit(name)) for name, scores in fitted.items())
        ordered = reduce(DataFrame.unionByName, own).select(*MODEL_FACTORS.names)
        yield ModelTable(ordered, f"model_{side}_factors", MODEL_FACTORS)


def settings_of(model: Model) -> Summary:
    """What the record of a stage says of a model that it has fitted."""
    return model.model_dump(mode="json", exclude_unset=True)


def table_of(model: Model) -> str:
    """The table that a model's fitted rows are in."""
    return _TABLES.get(model.kind, "item_neighbours")


def _logged(inputs: ModelInputs, name: str, model: Model, rows: DataFrame) -> DataFrame:
    inputs.work.log.progress(f"fitting {name}")
    return fit_model(inputs, name, model, rows)


def fit_model(inputs: ModelInputs, name: str, model: Model, rows: DataFrame) -> DataFrame:
    """Columns item, neighbours and weights, a row an item; or segment, item and score, by kind.

    rows: columns user, item, value, timestamp. Raises ConfigError for what the data does not allow.
    """
    if model.kind == "popularity":
        return _popularity(inputs, name, model, rows)
    spec, pairs = model.spec(), rows.select("user", "item", "value")
    assert not isinstance(spec, UserKnn), "it is not fitted"
    if isinstance(spec, ContentKnn):
        return fit_content(name, model, inputs.items, inputs.item_ids)
    return fit_ease(pairs, spec) if isinstance(spec, Ease) else fit_items(pairs, spec)


def fit_content(name: str, model: Model, items: DataFrame | None, ids: DataFrame) -> DataFrame:
    """The rows of a model of kind content, of the items of ids: columns id, index.

    items: columns item_id, title, genres. Raises ConfigError where there is no such table.
    """
    spec = model.spec()
    assert isinstance(spec, ContentKnn)
    if items is None:
        raise ConfigError(f"models.{name} compares titles and genres: set items.path.")
    return content_matrix(_texts(items, ids), spec)


def _texts(items: DataFrame, ids: DataFrame) -> DataFrame:
    """Columns item and terms: the words of the title, and the genres."""
    words = F.split(F.lower("title"), r"[^\p{L}\p{N}]+")
    genres = F.transform(F.coalesce("genres", F.array()), lambda genre: F.concat(F.lit("="), genre))
    terms = F.concat(F.coalesce(F.array_remove(words, ""), F.array()), genres)
    named = items.join(ids.toDF("item_id", "item"), "item_id")
    return named.select("item", terms.alias("terms"))


def _popularity(inputs: ModelInputs, name: str, model: Model, rows: DataFrame) -> DataFrame:
    """Columns segment, item, score: interactions of each item, of the last days.

    Rows without a segment count all users.
    """
    chosen = recent(rows, model.days) if model.days is not None else rows
    if chosen is None:
        raise ConfigError(
            f"models.{name}.days needs times, and the interactions have none: remove it."
        )
    counted = F.count("*").cast("float").alias("score")
    overall = chosen.groupBy("item").agg(counted).withColumn("segment", F.lit(None).cast("string"))
    if model.segment_by is None:
        return overall
    tables = SideTables(inputs.work.spark, inputs.work.log, {"user_id": inputs.user_ids})
    attributes = read_user_attributes(tables.spark, inputs.config.evaluate.users)
    segments = indexed_segments(tables, attributes, model.segment_by)
    named = chosen.join(segments, "user")
    return overall.unionByName(named.groupBy("segment", "item").agg(counted))
