"""Wiring of fold-in for the models of kind wals beside the main one."""

from dataclasses import asdict, replace
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.fold_in import fold_in
from recsys_spark.config import Config
from recsys_spark.pipeline.context import Summary
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.pipeline.fitted_tables import FittedTables
from recsys_spark.runtime.log import Log
from recsys_spark.schema import MODEL_FACTORS


def model_specs(config: Config) -> Summary:
    """What the record of a stage says of the objectives of models of kind wals, by their names."""
    names = [name for name, model in config.models.items() if model.kind == "wals"]
    return {name: asdict(config.objective_of(name).spec()) for name in names}


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
