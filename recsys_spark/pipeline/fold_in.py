"""Wiring of fold-in: the model and newer interactions to vectors of users it does not know."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.fold_in import fold_in as solve
from recsys_spark.config import WALS
from recsys_spark.pipeline.context import Run, Summary
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.pipeline.folded_models import FOLDED, fold_into_models
from recsys_spark.pipeline.train import trained_spec, training_rows
from recsys_spark.schema import FACTORS, MODEL_FACTORS, RATINGS


def fold_in(run: Run) -> Summary:
    """Write vectors of the users with interactions, and none yet, whose items the model knows."""
    rows, training = _rows_of_new_users(run), training_rows(run)
    _warn_of_unfolded(run)
    run.log.progress("solving for new users")
    items = run.read("item_factors")
    folded = solve(rows, items, trained_spec(run), make_plan(run.config), training)
    ordered = folded.repartitionByRange("id").sortWithinPartitions("id")
    users = run.write(ordered, "folded_users", FACTORS).rows
    others = fold_into_models(run, rows, training)
    if others is not None:
        by_model = others.repartitionByRange("model", "id").sortWithinPartitions("model", "id")
        run.write(by_model, FOLDED, MODEL_FACTORS)
    new = rows.select("user").distinct().count()
    run.log.info(
        f"{users:,} of {new:,} users without factors have them now; "
        f"{new - users:,} have no item that the model knows"
    )
    run.tracker.metrics({"fold_in.users": users, "fold_in.unknown_users": new - users})
    return {"users": users, "without_known_items": new - users}


def _warn_of_unfolded(run: Run) -> None:
    """Name delivered models that do not serve users who came after training."""
    config, parts = run.config, run.config.alone(run.config.recommend.chain)
    unknown = [name for name in parts if name != WALS and config.models[name].kind == "mllib"]
    if unknown:
        run.log.warning(
            f"users who came after training stay unknown to {', '.join(unknown)}, of kind: mllib; "
            "kind: wals with objective: {preset: mllib} knows them, or name a further model in "
            "recommend.model"
        )


def _rows_of_new_users(run: Run) -> DataFrame:
    trained = run.read("user_factors").select(F.col("id").alias("user"))
    rows = run.read("interactions").select(*RATINGS.names)
    return rows.join(trained, "user", "left_anti")
