"""Wiring of the models beside the weighted ALS: fitting them, and the scorers of all."""

from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import WALS, Config, Model
from recsys_spark.errors import ConfigError
from recsys_spark.lookup import Lookup
from recsys_spark.neighbours.content import content_matrix
from recsys_spark.neighbours.ease import fit_ease
from recsys_spark.neighbours.fit import fit_items
from recsys_spark.neighbours.spec import ContentKnn, Ease
from recsys_spark.pipeline.run import Run, Summary, refit_version
from recsys_spark.schema import ITEM_NEIGHBOURS, ITEM_SCORES
from recsys_spark.stages.simple_scores import recent
from recsys_spark.topn.catalog import Catalogue
from recsys_spark.topn.explanations import Explainer
from recsys_spark.topn.matrices import item_scores, sparse_rows
from recsys_spark.topn.scorers import (
    BlendScorer,
    FactorScorer,
    NeighbourScorer,
    Scorer,
    StaticScorer,
)

_MB = 2**20
_ENTRY_BYTES = 8  # a position and a weight
_TABLES = {"popularity": "item_scores"}


def fit_models(run: Run, rows: DataFrame, version: str | None = None) -> Summary:
    """Fit those of the configuration on these rows, and write them as this version.

    rows: columns user, item, value, timestamp. version: None is that of the run. Returns their
    settings by name, for the summary of the stage.
    """
    for table, schema in (("item_neighbours", ITEM_NEIGHBOURS), ("item_scores", ITEM_SCORES)):
        fitted = [
            _logged(run, name, model, rows).withColumn("model", F.lit(name))
            for name, model in run.config.models.items()
            if model.kind != "blend" and _table(model) == table
        ]
        if fitted:
            ordered = reduce(DataFrame.unionByName, fitted).select(*schema.names)
            run.write(ordered, table, schema, version=version)
    kinds = run.config.models.items()
    return {name: _settings(model) for name, model in kinds if model.kind != "blend"}


def _settings(model: Model) -> Summary:
    return model.model_dump(mode="json", exclude_unset=True)


def _table(model: Model) -> str:
    return _TABLES.get(model.kind, "item_neighbours")


def _logged(run: Run, name: str, model: Model, rows: DataFrame) -> DataFrame:
    run.log.progress(f"fitting {name}")
    return fit_model(run, name, model, rows)


def fit_model(run: Run, name: str, model: Model, rows: DataFrame) -> DataFrame:
    """A row an item: columns item and score, or item, neighbours and weights, by the kind.

    rows: columns user, item, value, timestamp. Raises ConfigError for what the data does not allow.
    """
    if model.kind == "popularity":
        return _popularity(name, model, rows)
    spec, pairs = model.spec(), rows.select("user", "item", "value")
    if isinstance(spec, ContentKnn):
        return content_matrix(_texts(run, name), spec)
    return fit_ease(pairs, spec) if isinstance(spec, Ease) else fit_items(pairs, spec)


def _texts(run: Run, name: str) -> DataFrame:
    """Columns item and terms: the words of the title, and the genres."""
    if not run.has("items"):
        raise ConfigError(f"models.{name} compares titles and genres: set items.path.")
    ids = run.read("item_ids").toDF("item_id", "item")
    words = F.split(F.lower("title"), r"[^\p{L}\p{N}]+")
    genres = F.transform(F.coalesce("genres", F.array()), lambda genre: F.concat(F.lit("="), genre))
    terms = F.concat(F.coalesce(F.array_remove(words, ""), F.array()), genres)
    return run.read("items").join(ids, "item_id").select("item", terms.alias("terms"))


def _popularity(name: str, model: Model, rows: DataFrame) -> DataFrame:
    """Columns item, score: interactions of each item, of the last days."""
    chosen = recent(rows, model.days) if model.days is not None else rows
    if chosen is None:
        raise ConfigError(
            f"models.{name}.days needs times, and the interactions have none: remove it."
        )
    return chosen.groupBy("item").agg(F.count("*").cast("float").alias("score"))


def scorers(
    run: Run,
    names: Sequence[str],
    catalogue: Catalogue,
    stage: str,
    explainer: Explainer | None = None,
) -> dict[str, Scorer]:
    """The scorers of these models, by name, as fitted by a stage, train or refit.

    catalogue: with the item factors where the weighted ALS is among them or in a blend. explainer:
    of its scores, where they are to be explained. Raises ConfigError for models that the stage has
    not fitted with these settings.
    """
    alone = {
        own: _scorer(run, own, catalogue, stage, explainer) for own in parts_of(run.config, names)
    }
    return {name: with_parts(run.config, name, alone) for name in names}


def parts_of(config: Config, names: Sequence[str]) -> list[str]:
    """The models that these are or are blended of, each once."""
    parts = (config.models[name].parts if name != WALS else {} for name in names)
    found = (part for name, own in zip(names, parts, strict=True) for part in own or (name,))
    return list(dict.fromkeys(found))


def with_parts(config: Config, name: str, alone: Mapping[str, Scorer]) -> Scorer:
    """The scorer of a model; a blend is made of the scorers of its parts."""
    if name in alone:
        return alone[name]
    model = config.models[name]
    parts = tuple((alone[part], weight) for part, weight in model.parts.items())
    return BlendScorer(parts, model.method, model.constant)


def needs_factors(config: Config, names: Sequence[str]) -> bool:
    """Whether the weighted ALS is one of these models, or a part of one."""
    return WALS in parts_of(config, names)


def weighs_values(config: Config) -> bool:
    """Whether some model weighs histories by their values."""
    return any(model.weights == "values" for model in config.models.values())


def _scorer(
    run: Run, name: str, catalogue: Catalogue, stage: str, explainer: Explainer | None
) -> Scorer:
    if name == WALS:
        return FactorScorer(WALS, catalogue.factors, catalogue.scored, explainer=explainer)
    model, made = run.config.models[name], run.lineage[stage]
    if run.upstream(stage).summary.get("models", {}).get(name) != _settings(model):
        raise ConfigError(
            f"models.{name} is not what {stage} of run {made} has fitted: run `recsys-spark train` "
            "with these settings first, or `recsys-spark run`."
        )
    version = refit_version(made) if stage == "refit" else made
    own = run.tables.read(_table(model), version).where(F.col("model") == name)
    if model.kind != "popularity":
        _require_room(run, name, own)
    return scorer_of(model, own, catalogue.lookup)


def scorer_of(model: Model, fitted: DataFrame, lookup: Lookup) -> NeighbourScorer | StaticScorer:
    """The scorer of a model from what `fit_model` gives."""
    if model.kind == "popularity":
        return StaticScorer(*item_scores(fitted, lookup))
    return NeighbourScorer(
        sparse_rows(fitted, lookup), model.kind != "ease", model.weights == "values"
    )


def _require_room(run: Run, name: str, own: DataFrame) -> None:
    row = own.agg(F.sum(F.size("neighbours"))).first()
    size = _ENTRY_BYTES * int(row[0] or 0) if row else 0
    budget = run.config.solver.broadcast_budget_mb * _MB
    if size > budget:
        raise ConfigError(
            f"models.{name} has {size / _MB:,.0f} MB of neighbours, which go to every worker: "
            f"lower models.{name}.neighbours, or raise solver.broadcast_budget_mb above that."
        )
