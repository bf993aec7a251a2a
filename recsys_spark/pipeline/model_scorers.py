"""Wiring of scorers: the models of the configuration as `topn.models` takes them."""

from collections.abc import Callable, Mapping
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import Config, Model
from recsys_spark.errors import ConfigError
from recsys_spark.neighbours.fit import fit_users
from recsys_spark.neighbours.spec import UserKnn
from recsys_spark.pipeline.context import Keep
from recsys_spark.pipeline.fitted_tables import FittedTables
from recsys_spark.pipeline.folded_models import with_folded
from recsys_spark.pipeline.models import settings_of, table_of
from recsys_spark.runtime.log import Log
from recsys_spark.topn.models import (
    BlendModel,
    CosineModel,
    FactorModel,
    FittedModel,
    Mixture,
    Models,
    NeighbourModel,
    PopularityModel,
    UserNeighbourModel,
)
from recsys_spark.topn.request import Nearest


def models_of(
    config: Config,
    models: Mapping[str, Model],
    fitted: FittedTables,
    content: Callable[[str, Model], DataFrame] | None = None,
) -> Models:
    """These models, as a stage has fitted them, and what is made of others.

    models: from `Config.parts_of`. content: makes the rows of models that compare titles and
    genres again, for items that the stage did not know; see `fit_content`. Raises ConfigError for
    models that were not fitted with these settings.
    """
    found = dict[str, FittedModel]()
    for name, model in models.items():
        if model.kind == "user_knn":
            found[name] = UserNeighbourModel(model.weights == "values")
            continue
        _check_fitted(name, model, fitted)
        if model.by_factors:
            users, items = fitted.factors_of(name)
            found[name] = FactorModel(with_folded(users, fitted.folded, name), items)
        elif content and model.kind == "content":
            found[name] = fitted_model(model, content(name, model))
        else:
            found[name] = fitted_model(model, fitted.of_model(name, table_of(model)))
    return Models(found, mixtures(config.models))


def _check_fitted(name: str, model: Model, fitted: FittedTables) -> None:
    if fitted.settings.get(name) != settings_of(model):
        raise ConfigError(
            f"models.{name} is not what {fitted.stage} of run {fitted.run_id} has fitted: run "
            "`recsys-spark train` with these settings first, or `recsys-spark run`."
        )


def fitted_model(model: Model, rows: DataFrame) -> NeighbourModel | PopularityModel:
    """A model with the rows that `fit_model` gives."""
    if model.kind == "popularity":
        return PopularityModel(rows, model.segment_by is not None)
    return NeighbourModel(rows, model.kind != "ease", model.weights == "values")


def mixtures(models: Mapping[str, Model]) -> dict[str, Mixture]:
    """Those of these models that are made of others."""
    found: dict[str, Mixture] = {}
    for name, model in models.items():
        if model.kind == "cosine":
            found[name] = CosineModel(model.of)
        elif model.kind == "blend":
            found[name] = BlendModel(model.parts, model.method, model.constant)
    return found


def weighs_values(config: Config) -> bool:
    """Whether some model weighs histories by their values."""
    return any(model.weights == "values" for model in config.models.values())


def nearest_users(
    models: Mapping[str, Model], history: DataFrame, log: Log, keep: Keep
) -> dict[str, Nearest]:
    """Of those of these models that need the users' nearest ones; `keep` is called of these."""

    def find(name: str, spec: UserKnn, users: DataFrame) -> DataFrame:
        log.progress(f"comparing users for {name}")
        return keep(find_nearest(history, users, spec), f"nearest_users/{name}")

    return {name: partial(find, name, spec) for name, spec in by_users(models).items()}


def by_users(models: Mapping[str, Model]) -> dict[str, UserKnn]:
    """The settings of those of these models that score by similar users."""
    specs = {name: model.spec() for name, model in models.items() if model.kind == "user_knn"}
    return {name: spec for name, spec in specs.items() if isinstance(spec, UserKnn)}


def find_nearest(history: DataFrame, users: DataFrame, spec: UserKnn) -> DataFrame:
    """Columns user and nearest (structs of user and weight), a row for each user that has some.

    history: columns user, item, value. users: column user.
    """
    pairs = F.arrays_zip(F.col("neighbours").alias("user"), F.col("weights").alias("weight"))
    return fit_users(history, users, spec).select("user", pairs.alias("nearest"))
