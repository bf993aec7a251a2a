"""Wiring of evaluate: the model and its baselines, against the held-out rows."""

import csv
import json
from io import StringIO
from typing import Any

import numpy as np
import pyarrow as pa

from recsys_spark.config import Config
from recsys_spark.evaluation.model_metrics import ALL_METRICS
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.evaluation.segments import activity
from recsys_spark.evaluation.user_pass import pass_over_users, users_of
from recsys_spark.pipeline.baselines import MODEL, measured_models
from recsys_spark.pipeline.context import Run, Summary, Workspace
from recsys_spark.pipeline.evaluation_inputs import EvaluationInputs
from recsys_spark.pipeline.evaluation_request import PAIRED_METRIC, gather_rows, make_wanted
from recsys_spark.pipeline.fitted_tables import read_fitted
from recsys_spark.pipeline.folded_models import with_held_out
from recsys_spark.pipeline.metric_tables import measure
from recsys_spark.pipeline.report_data import report_data
from recsys_spark.pipeline.validation import relevant_rows
from recsys_spark.report.words import best_baseline
from recsys_spark.schema import METRICS, per_user
from recsys_spark.topn.catalog import with_factors
from recsys_spark.topn.recommend import read_catalog

_TRACKED = ("ndcg", "recall", "precision", "hit_rate", "auc", "item_coverage", "novelty", "rmse")
_BY_SEGMENT = ("ndcg", "recall", "exposure", "catalog_share", "rmse", "mae")
_PAIRED = ("difference", "ci_low", "ci_high", "p_value", "users")


def evaluate(run: Run) -> Summary:
    """Rank the catalog for every user with held-out rows, and measure the lists.

    Lists leave out what the user is known to have at that point: the training rows, those to
    fold in, and the validation rows where the test rows are scored.
    """
    inputs, work = _read(run), run.workspace
    found = measured_models(inputs)
    wanted = make_wanted(inputs, found)
    work.log.progress(f"ranking by {', '.join(found)}")
    rows = gather_rows(inputs, found, wanted.ranking)
    passed = work.keep(pass_over_users(rows, wanted), "ranked")
    work.log.progress("computing metrics")
    measured = measure(inputs, passed, wanted, found)
    users = per_user(passed.schema["user_id"].dataType, ALL_METRICS)
    run.write(measured.per_user, "metrics_per_user", users)
    table = measured.table.coalesce(1).sortWithinPartitions("model", "metric", "k")
    run.write(table, "metrics", METRICS)
    work.log.progress("preparing report data")
    drawn = report_data(inputs, users_of(passed), measured.patterns, found, wanted.shown)
    figures = [row.asDict() for row in run.read("metrics").drop("run_id").collect()]
    for name, text in (("json", json.dumps(figures, indent=2)), ("csv", _as_csv(figures))):
        run.runs.store.replace(run.runs.path(run.run_id, f"metrics.{name}"), text)
    summary = _report(run.config, work, figures, wanted.shown, run.noted("train", "rows"))
    return summary | {
        "kept": list(wanted.kept),
        "pictures": drawn | {"exposure": measured.curves},
        "paired": _paired_with_best(measured.pairs, summary),
    }


def _read(run: Run) -> EvaluationInputs:
    """Every table, once; users held out whole are folded in.

    Raises ContractError if no held-out row is relevant.
    """
    config, work = run.config.evaluate, run.workspace
    split, least = config.split, config.min_relevant_value
    truth = relevant_rows(run.read(split), run.rows(split), split, least)
    fitted, folded, item_ids = read_fitted(run, "train"), run.find("fold_in"), run.read("item_ids")
    users, median = activity(fitted.rows, truth, folded, config.cold_below)
    catalog = read_catalog(fitted.rows, item_ids, "index", users=users)
    model_catalog = with_factors(catalog, fitted.scores[1])
    fitted = with_held_out(run.config, fitted, folded, work.log)
    is_test = split == "test"  # for which the validation rows are known by then
    return EvaluationInputs(
        config=run.config,
        work=work,
        run_id=run.run_id,
        fitted=fitted,
        folded=folded,
        known=run.read("validation").select("user", "item") if is_test else None,
        truth=truth,
        user_ids=run.read("user_ids"),
        item_ids=item_ids,
        items=run.find("items"),
        negatives=run.find("negatives"),
        catalog=catalog,
        model_catalog=model_catalog,
        counts=np.rint(catalog.popularity * users).astype(np.int64),
        n=max(config.k),
        median=median,
    )


def _report(
    config: Config, work: Workspace, figures: list[dict[str, Any]], shown: int, trained: int
) -> Summary:
    """The figures of all users in the record and in tracking. trained: rows of the training."""
    main, delivered = config.evaluate.split, config.recommend.chain[0]
    overall = [row for row in figures if row["segment"] == ALL]
    tracked = [row for row in overall if _is_tracked(row, main, shown, delivered)]
    work.tracker.metrics({_key(row, main): row["value"] for row in tracked})
    work.log.info(_sentence(overall, main, shown, trained))
    return {
        "split": main,
        "k": shown,
        "delivered": delivered,
        "min_relevant_value": config.evaluate.min_relevant_value,
        "metrics": overall,
        "segments": [row for row in figures if _is_part(row, shown)],
    }


def _paired_with_best(pairs: pa.Table | None, summary: Summary) -> dict[str, Any] | None:
    """How much more NDCG users have from the delivered model than from the best other.

    pairs: of `Measured`. The difference is the delivered model's less the other's. None: there is
    no other, or nothing was compared.
    """
    best = best_baseline(summary, PAIRED_METRIC)
    if best is None or pairs is None:
        return None
    row = next((row for row in pairs.to_pylist() if row["model"] == best["model"]), None)
    if row is None:
        return None
    figures = {name: row[name] for name in _PAIRED}
    return {"baseline": best["model"], "metric": PAIRED_METRIC, **figures}


def _sentence(overall: list[dict[str, Any]], main: str, k: int, trained: int) -> str:
    rows = [r for r in overall if (r["split"], r["metric"], r["k"]) == (main, "ndcg", k)]
    rows.sort(key=lambda row: -row["value"])
    models = ", ".join(f"{row['model']} {row['value']:.4f}" for row in rows)
    return f"ndcg@{k} of {rows[0]['users']:,} users, the model fitted on {trained:,} rows: {models}"


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
