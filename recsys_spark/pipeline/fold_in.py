"""Wiring of fold-in: the model and newer interactions to vectors of users it does not know."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.fold_in import fold_in as solve
from recsys_spark.config import WALS, Config
from recsys_spark.pipeline.context import Run, Summary
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.pipeline.fitted_tables import FOLDED, FittedTables, read_fitted
from recsys_spark.pipeline.folded_models import fold_into_models
from recsys_spark.runtime.log import Log
from recsys_spark.schema import FACTORS, MODEL_FACTORS, RATINGS


def fold_in(run: Run) -> Summary:
    """Write vectors of the users with interactions, and none yet, whose items the model knows."""
    config, work, fitted = run.config, run.workspace, read_fitted(run)
    rows = _rows_of_new_users(run.read("interactions"), fitted)
    _warn_of_unfolded(config, work.log)
    work.log.progress("solving for new users")
    folded = solve(rows, fitted.scores[1], fitted.spec, make_plan(config), fitted.rows)
    ordered = folded.repartitionByRange("id").sortWithinPartitions("id")
    users = run.write(ordered, "folded_users", FACTORS).rows
    others = fold_into_models(config, fitted, rows, work.log)
    if others is not None:
        by_model = others.repartitionByRange("model", "id").sortWithinPartitions("model", "id")
        run.write(by_model, FOLDED, MODEL_FACTORS)
    new = rows.select("user").distinct().count()
    work.log.info(
        f"{users:,} of {new:,} users without factors have them now; "
        f"{new - users:,} have no item that the model knows"
    )
    work.tracker.metrics({"fold_in.users": users, "fold_in.unknown_users": new - users})
    return {"users": users, "without_known_items": new - users}


def _warn_of_unfolded(config: Config, log: Log) -> None:
    """Name delivered models that do not serve users who came after training."""
    parts = config.alone(config.recommend.chain)
    unknown = [name for name in parts if name != WALS and config.models[name].kind == "mllib"]
    if unknown:
        log.warning(
            f"users who came after training stay unknown to {', '.join(unknown)}, of kind: mllib; "
            "kind: wals with objective: {preset: mllib} knows them, or name a further model in "
            "recommend.model"
        )


def _rows_of_new_users(interactions: DataFrame, fitted: FittedTables) -> DataFrame:
    trained = fitted.scores[0].select(F.col("id").alias("user"))
    return interactions.select(*RATINGS.names).join(trained, "user", "left_anti")
