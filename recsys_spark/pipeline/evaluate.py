"""Wiring of evaluate: the model and its baselines, against the held-out rows."""

import csv
import json
from io import StringIO
from typing import Any

from recsys_spark.als.fold_in import fold_in
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.evaluation.user_pass import pass_over_users, users_of
from recsys_spark.pipeline.baselines import (
    MODEL,
    Scores,
    measured_models,
)
from recsys_spark.pipeline.context import Run, Summary
from recsys_spark.pipeline.evaluation_inputs import read_inputs
from recsys_spark.pipeline.evaluation_request import gather_rows, make_wanted
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.pipeline.metric_tables import measure
from recsys_spark.pipeline.paired_comparison import paired_with_best
from recsys_spark.pipeline.report_data import pictures
from recsys_spark.pipeline.train import evaluated_factors, trained_spec
from recsys_spark.schema import METRICS

_TRACKED = ("ndcg", "recall", "precision", "hit_rate", "auc", "item_coverage", "novelty", "rmse")
_BY_SEGMENT = ("ndcg", "recall", "exposure", "catalogue_share", "rmse", "mae")


def evaluate(run: Run) -> Summary:
    """Rank the catalogue for every user with held-out rows, and measure the lists.

    Lists leave out what the user is known to have at that point: the training rows, those to
    fold in, and the validation rows where the test rows are scored.
    """
    inputs = read_inputs(run)
    found = measured_models(inputs, evaluated_scores(run))
    wanted = make_wanted(inputs, found)
    run.log.progress(f"ranking by {', '.join(found)}")
    rows = gather_rows(inputs, found, wanted.ranking)
    passed = run.keep(pass_over_users(rows, wanted), "ranked")
    run.log.progress("computing metrics")
    measured = measure(inputs, passed, wanted, found)
    table = measured.table.coalesce(1).sortWithinPartitions("model", "metric", "k")
    run.write(table, "metrics", METRICS)
    run.log.progress("preparing report data")
    drawn = pictures(inputs, users_of(passed), measured.patterns, found, wanted.shown)
    summary = _report(run, wanted.shown)
    return summary | {
        "kept": list(wanted.kept),
        "pictures": drawn | {"exposure": measured.curves},
        "paired": paired_with_best(measured.pairs, summary),
    }


def evaluated_scores(run: Run) -> Scores:
    """The factors of the training rows; users held out whole get theirs by fold-in."""
    user_factors, item_factors = evaluated_factors(run)
    if run.has("fold_in"):
        rows, training = run.read("fold_in"), run.read("train")
        folded = fold_in(rows, item_factors, trained_spec(run), make_plan(run.config), training)
        user_factors = user_factors.unionByName(folded)
    return user_factors, item_factors


def _report(run: Run, shown: int) -> Summary:
    """The figures for everybody in the record and in tracking, those of segments in the file."""
    main = run.config.evaluate.split
    figures = [row.asDict() for row in run.read("metrics").drop("run_id").collect()]
    text = json.dumps(figures, indent=2)
    run.runs.store.replace(run.runs.path(run.run_id, "metrics.json"), text)
    overall = [row for row in figures if row["segment"] == ALL]
    run.runs.store.replace(run.runs.path(run.run_id, "metrics.csv"), _as_csv(figures))
    chosen = run.config.recommend.chain[0]
    tracked = [row for row in overall if _is_tracked(row, main, shown, chosen)]
    run.tracker.metrics({_key(row, main): row["value"] for row in tracked})
    _log(run, overall, shown)
    return {
        "split": main,
        "k": shown,
        "delivered": chosen,
        "min_relevant_value": run.config.evaluate.min_relevant_value,
        "metrics": overall,
        "segments": [row for row in figures if _is_part(row, shown)],
    }


def _log(run: Run, overall: list[dict[str, Any]], k: int) -> None:
    main = run.config.evaluate.split
    rows = [r for r in overall if (r["split"], r["metric"], r["k"]) == (main, "ndcg", k)]
    rows.sort(key=lambda row: -row["value"])
    line = ", ".join(f"{row['model']} {row['value']:.4f}" for row in rows)
    trained = run.noted("train", "rows")
    run.log.info(
        f"ndcg@{k} of {rows[0]['users']:,} users, the model fitted on {trained:,} rows: {line}"
    )


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _is_tracked(row: dict[str, Any], main: str, shown: int, delivered: str) -> bool:
    """The few figures that runs are compared by; all of them are in the files of metrics."""
    metrics = _TRACKED if row["model"] in (MODEL, delivered) else ("ndcg",)
    return row["split"] == main and row["metric"] in metrics and row["k"] in (shown, None)


def _is_part(row: dict[str, Any], k: int) -> bool:
    return row["segment"] != ALL and row["k"] in (k, None) and row["metric"] in _BY_SEGMENT


def _key(row: dict[str, Any], main: str) -> str:
    at = f"@{row['k']}" if row["k"] is not None else ""
    protocol = "" if row["split"] == main else f".{row['split']}"
    return f"{row['model']}{protocol}.{row['metric']}{at}"
