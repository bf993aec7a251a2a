"""Wiring of evaluate: the model and its baselines, against the held-out rows."""

import json

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.errors import ContractError
from recsys_spark.pipeline.run import Run, Summary
from recsys_spark.pipeline.train import make_plan, trained_spec
from recsys_spark.schema import METRICS, metrics_per_user
from recsys_spark.stages.evaluate import evaluate as measure
from recsys_spark.stages.rating_error import rating_error
from recsys_spark.stages.recommend import recommend
from recsys_spark.stages.summarise import summarise
from recsys_spark.wals.fold_in import fold_in


def evaluate(run: Run) -> Summary:
    """Rank the catalogue for every user with held-out rows, and measure the lists.

    Lists leave out what the user is known to have at that point: the training rows, those to
    fold in, and the validation rows where the test rows are scored.
    """
    config = run.config.evaluate
    truth = _truth(run)
    user_factors, item_factors = _factors(run)
    models: dict[str, tuple[DataFrame, DataFrame] | None] = {"model": (user_factors, item_factors)}
    models |= dict.fromkeys(config.baselines, None)
    seen = _known_rows(run)
    frames = []
    for name, model in models.items():
        run.log.progress(f"measuring {name}")
        users = truth.select("user_id", "user").distinct()
        lists = recommend(
            users,
            run.read("train"),
            seen,
            run.read("item_ids"),
            model,
            max(config.k),
            fill=model is None,
            label="index",
        )
        frames.append(measure(lists, truth, config.k, name, config.split))
    per_user = frames[0]
    for frame in frames[1:]:
        per_user = per_user.unionByName(frame)
    run.write(per_user, "metrics_per_user", metrics_per_user(truth.schema["user_id"].dataType))
    table = summarise(run.read("metrics_per_user"), run.run_id)
    spec = trained_spec(run)
    if spec.explicit:
        factors = user_factors, item_factors
        error = rating_error(truth, *factors, config.split, run.run_id, spec.clip)
        table = table.unionByName(error)
    run.write(table.coalesce(1).sortWithinPartitions("model", "metric", "k"), "metrics", METRICS)
    return _report(run)


def _truth(run: Run) -> DataFrame:
    config = run.config.evaluate
    rows = run.read(config.split)
    if config.min_relevant_value is not None:
        rows = rows.where(F.col("value") >= config.min_relevant_value)
    if rows.isEmpty():
        raise ContractError(
            f"There are no relevant {config.split} rows to evaluate; look at "
            f"split.{config.split}_fraction and evaluate.min_relevant_value."
        )
    return rows.join(run.read("user_ids").toDF("user_id", "user"), "user")


def _factors(run: Run) -> tuple[DataFrame, DataFrame]:
    """The trained factors; users held out whole get theirs by fold-in."""
    user_factors, item_factors = run.read("user_factors"), run.read("item_factors")
    if run.has("fold_in"):
        rows, training = run.read("fold_in"), run.read("train")
        spec, plan = trained_spec(run), make_plan(run.config)
        folded = fold_in(rows, item_factors, spec, plan, training)
        user_factors = user_factors.unionByName(folded)
    return user_factors, item_factors


def _known_rows(run: Run) -> DataFrame:
    parts = ["train"] + (["validation"] if run.config.evaluate.split == "test" else [])
    parts += ["fold_in"] if run.has("fold_in") else []
    rows = run.read(parts[0])
    for part in parts[1:]:
        rows = rows.unionByName(run.read(part))
    return rows.select("user", "item")


def _report(run: Run) -> Summary:
    rows = [row.asDict() for row in run.read("metrics").collect()]
    kept = ("model", "split", "metric", "k", "value", "users")
    figures = [{name: row[name] for name in kept} for row in rows]
    text = json.dumps(figures, indent=2)
    run.runs.store.replace(run.runs.path(run.run_id, "metrics.json"), text)
    run.tracker.metrics({_key(row): row["value"] for row in figures if row["value"] is not None})
    best = max(run.config.evaluate.k)
    ndcg = {r["model"]: r["value"] for r in figures if r["metric"] == "ndcg" and r["k"] == best}
    line = ", ".join(f"{name} {value:.4f}" for name, value in ndcg.items())
    run.log.info(f"ndcg@{best} of {figures[0]['users']:,} users: {line}")
    return {"split": run.config.evaluate.split, "metrics": figures}


def _key(row: dict[str, object]) -> str:
    at = f"@{row['k']}" if row["k"] is not None else ""
    return f"{row['model']}.{row['metric']}{at}"
