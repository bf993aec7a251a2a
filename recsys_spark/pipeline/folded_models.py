"""Wiring of fold-in for the models of kind wals beside the main one."""

from dataclasses import asdict, replace
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.fold_in import fold_in
from recsys_spark.config import Config
from recsys_spark.kernels.als.spec import WalsSpec, restored_spec
from recsys_spark.pipeline.context import Run, Summary
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.schema import MODEL_FACTORS

FOLDED = "folded_model_users"


def model_specs(config: Config) -> Summary:
    """What the record of a stage says of the objectives of models of kind wals, by their names."""
    names = [name for name, model in config.models.items() if model.kind == "wals"]
    return {name: asdict(config.objective_of(name).spec()) for name in names}


def fold_into_models(run: Run, rows: DataFrame, training: DataFrame) -> DataFrame | None:
    """Columns model, id and factors: users of these rows, by each model of kind wals.

    rows, training: columns user, item, value, timestamp; training: what the models were fitted on.
    A user that a model knows keeps the trained factors. None: there are no such models.
    """
    stage = "refit" if "refit" in run.lineage else "train"
    specs = run.upstream(stage).summary.get("model_specs", {})
    found = [
        _fold_into(run, name, restored_spec(spec), rows, training) for name, spec in specs.items()
    ]
    return reduce(DataFrame.unionByName, found) if found else None


def _fold_into(
    run: Run, name: str, spec: WalsSpec, rows: DataFrame, training: DataFrame
) -> DataFrame:
    run.log.progress(f"solving for new users of {name}")
    users, items = (
        run.read(f"model_{side}_factors").where(F.col("model") == name).select("id", "factors")
        for side in ("user", "item")
    )
    new = rows.join(users.select(F.col("id").alias("user")), "user", "left_anti")
    plan = replace(make_plan(run.config), solver=run.config.solver_of(spec))
    folded = fold_in(new, items, spec, plan, training)
    return folded.withColumn("model", F.lit(name)).select(*MODEL_FACTORS.names)


def with_folded(factors: DataFrame, folded: DataFrame | None, name: str) -> DataFrame:
    """User factors of a model, columns id and factors, and those that were folded in."""
    known = factors.select("id", "factors")
    if folded is None:
        return known
    return known.unionByName(folded.where(F.col("model") == name).select("id", "factors"))
