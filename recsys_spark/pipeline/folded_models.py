"""Wiring of fold-in: users held out whole, and new users of the models of kind wals."""

from dataclasses import asdict, replace
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.fold_in import fold_in
from recsys_spark.config import Config
from recsys_spark.pipeline.context import Summary
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.pipeline.fitted_tables import FittedTables, Scores
from recsys_spark.runtime.log import Log
from recsys_spark.schema import MODEL_FACTORS


def model_specs(config: Config) -> Summary:
    """What the record of a stage says of the objectives of models of kind wals, by their names."""
    names = [name for name, model in config.models.items() if model.kind == "wals"]
    return {name: asdict(config.objective_of(name).spec()) for name in names}


def with_held_out(
    config: Config, fitted: FittedTables, rows: DataFrame | None, log: Log
) -> FittedTables:
    """The models, with factors also for users who are held out whole.

    rows: those to fold in, of these users; None: there are none.
    """
    if rows is None:
        return fitted
    parts = (fitted.folded, fold_into_models(config, fitted, rows, log))
    found = [part for part in parts if part is not None]
    folded = reduce(DataFrame.unionByName, found) if found else None
    return replace(fitted, scores=evaluated_scores(config, fitted, rows), folded=folded)


def evaluated_scores(config: Config, fitted: FittedTables, rows: DataFrame | None) -> Scores:
    """The factors of the training rows; users held out whole get theirs by fold-in.

    rows: as `with_held_out` takes them.
    """
    users, items = fitted.scores
    if rows is None:
        return users, items
    plan = make_plan(config)
    own = fold_in(rows, items, fitted.spec, plan, fitted.rows)
    return users.unionByName(own), items


def fold_into_models(
    config: Config, fitted: FittedTables, rows: DataFrame, log: Log
) -> DataFrame | None:
    """Columns model, id and factors: users of these rows, by each model of kind wals.

    rows: columns user, item, value, timestamp. A user that a model knows keeps the trained factors.
    None: there are no such models.
    """
    found = []
    for name in fitted.specs:
        log.progress(f"solving for new users of {name}")
        found.append(_fold_into(config, fitted, name, rows))
    return reduce(DataFrame.unionByName, found) if found else None


def _fold_into(config: Config, fitted: FittedTables, name: str, rows: DataFrame) -> DataFrame:
    users, items = fitted.factors_of(name)
    new = rows.join(users.select(F.col("id").alias("user")), "user", "left_anti")
    spec = fitted.specs[name]
    plan = replace(make_plan(config), solver=config.solver_of(spec))
    folded = fold_in(new, items, spec, plan, fitted.rows)
    return folded.withColumn("model", F.lit(name)).select(*MODEL_FACTORS.names)


def with_folded(factors: DataFrame, folded: DataFrame | None, name: str) -> DataFrame:
    """User factors of a model, columns id and factors, and those that were folded in."""
    known = factors.select("id", "factors")
    if folded is None:
        return known
    return known.unionByName(folded.where(F.col("model") == name).select("id", "factors"))
