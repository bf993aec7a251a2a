"""One self-contained HTML page a run: figures drawn by matplotlib, laid out by Jinja2."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

import recsys_spark
from recsys_spark.report.figures import loss_figure, metric_figure
from recsys_spark.runtime.runs import StageRecord


def render_report(run_id: str, records: Mapping[str, StageRecord]) -> str:
    """The page of a run from the summaries of its stages."""
    environment = Environment(
        loader=PackageLoader("recsys_spark", "report"), autoescape=select_autoescape(["j2"])
    )
    summaries = {stage: record.summary for stage, record in records.items()}
    figures = {}
    if "train" in summaries:
        figures["loss"] = loss_figure(summaries["train"]["losses"])
    figures["ndcg"] = metric_figure(summaries["evaluate"]["metrics"], "ndcg")
    return environment.get_template("report.html.j2").render(
        run_id=run_id,
        version=recsys_spark.__version__,
        records=records,
        figures=figures,
        metric_rows=metric_rows(summaries["evaluate"]["metrics"]),
        models=model_names(summaries["evaluate"]["metrics"]),
        **{stage: summaries.get(stage) for stage in ("ingest", "split", "train", "recommend")},
    )


def model_names(metrics: list[dict[str, Any]]) -> list[str]:
    """The models that were measured, the trained one first."""
    names = {row["model"] for row in metrics}
    return sorted(names, key=lambda name: (name != "model", name))


def metric_rows(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a metric and cut-off, with the value of every model."""
    table: dict[tuple[str, int], dict[str, Any]] = {}
    for row in metrics:
        key = (row["metric"], row["k"] or 0)
        entry = table.setdefault(key, {"metric": row["metric"], "k": row["k"], "values": {}})
        entry["values"][row["model"]] = row["value"]
    return [table[key] for key in sorted(table)]
