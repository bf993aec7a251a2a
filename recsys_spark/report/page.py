"""One self-contained HTML page a run: figures drawn by matplotlib, laid out by Jinja2."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

import recsys_spark
from recsys_spark.report import figures as draw
from recsys_spark.runtime.runs import StageRecord

_ORDER = (
    *("ndcg", "recall", "recall_min", "precision", "f1", "hit_rate", "mrr", "map", "map_min"),
    *("ndcg_linear", "ndcg_exponential", "r_precision", "rbp"),
    *("auc", "partial_auc", "percentile_rank", "rmse", "mae", "r2"),
    *("item_coverage", "user_coverage", "gini", "entropy", "personalisation"),
    *("novelty", "popularity_rank", "serendipity", "diversity", "attribute_diversity"),
    *("miscalibration", "overlap", "rbo"),
)
_STAGES = ("ingest", "split", "train", "evaluate", "recommend")


def draw_figures(records: Mapping[str, StageRecord]) -> dict[str, str]:
    """Every figure of a run by name, as SVG, from the summaries of its stages."""
    summaries = {stage: record.summary for stage, record in records.items()}
    found = _of_evaluation(summaries["evaluate"])
    if "ingest" in summaries:
        curve = {"interactions": summaries["ingest"]["long_tail"]}
        found["long_tail"] = draw.curve_figure(
            curve, "share of items, most frequent first", "share of interactions"
        )
    if "train" in summaries:
        found["loss"] = draw.loss_figure(summaries["train"]["losses"])
    seconds = {stage: record.seconds for stage, record in records.items()}
    return found | {"seconds": draw.time_figure(seconds)}


def _of_evaluation(summary: Mapping[str, Any]) -> dict[str, str]:
    k, shown = summary["k"], summary["pictures"]
    main = next(iter(by_split(summary["metrics"]).values()))
    found = {
        "ndcg": draw.metric_figure(main, "ndcg"),
        "recall": draw.metric_figure(main, "recall"),
        "segments": draw.segment_figure(_first(summary["segments"], main), "ndcg", k),
        "exposure": draw.curve_figure(
            shown["exposure"], "share of items, most listed first", f"share of lists' first {k}"
        ),
        "sets": draw.sets_figure(shown["sets"]["patterns"], shown["sets"]["sizes"]),
        "factors": _factor_figure(shown["directions"]),
    }
    groups = [row for row in summary["segments"] if row["metric"] == "exposure"]
    if groups:
        found["groups"] = draw.segment_figure(groups, "exposure", k)
    if "ratings" in shown:
        found["errors"] = draw.error_figure(summary["segments"])
        found["predictions"] = draw.prediction_figure(shown["ratings"])
    return found


def _first(segments: list[dict[str, Any]], main: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the segments in the ranking of the whole catalogue."""
    return [row for row in segments if row["split"] == main[0]["split"]]


def _factor_figure(directions: Mapping[str, Any]) -> str:
    names = [str(at + 1) for at in range(len(directions["values"][0]))]
    titles = [title if len(title) <= 40 else f"{title[:39]}…" for title in directions["items"]]
    return draw.factor_figure(titles, directions["values"], names)


def render_report(
    run_id: str, records: Mapping[str, StageRecord], figures: Mapping[str, str]
) -> str:
    """The page of a run from the summaries of its stages. figures: from `draw_figures`."""
    environment = Environment(
        loader=PackageLoader("recsys_spark", "report"),
        autoescape=select_autoescape(["j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    summaries = {stage: record.summary for stage, record in records.items()}
    evaluated = summaries["evaluate"]
    metrics = by_split(evaluated["metrics"])
    return environment.get_template("report.html.j2").render(
        run_id=run_id,
        version=recsys_spark.__version__,
        records=records,
        figures=figures,
        metrics={
            split.replace("_", " "): metric_rows(rows, evaluated["k"])
            for split, rows in metrics.items()
        },
        models=model_names(evaluated["metrics"]),
        **{stage: summaries.get(stage) for stage in _STAGES},
    )


def by_split(metrics: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The metrics of each split and protocol, the ranking of the whole catalogue first."""
    splits = sorted({row["split"] for row in metrics}, key=len)
    return {split: [row for row in metrics if row["split"] == split] for split in splits}


def model_names(metrics: list[dict[str, Any]]) -> list[str]:
    """The models that were measured, the trained one first."""
    return [name for name, _ in draw.coloured(row["model"] for row in metrics)]


def metric_rows(metrics: list[dict[str, Any]], k: int) -> list[dict[str, Any]]:
    """A row a metric at the cut-off, or without one, with the figures of every model."""
    table: dict[str, dict[str, Any]] = {}
    for row in metrics:
        if row["k"] in (k, None):
            entry = table.setdefault(row["metric"], {"metric": row["metric"], "values": {}})
            entry["values"][row["model"]] = row
    order = {name: at for at, name in enumerate(_ORDER)}
    return sorted(table.values(), key=lambda row: order.get(row["metric"], len(order)))
