"""One self-contained HTML page a run: figures drawn by matplotlib, laid out by Jinja2."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

import recsys_spark
from recsys_spark.evaluation.directions import DESCRIBED, direction_of, rank_of
from recsys_spark.report import figures as draw
from recsys_spark.report.words import advice, explained, headline, split_sentence
from recsys_spark.storage.runs import StageRecord

_HISTOGRAMS = {
    "values": ("value", "interactions"),
    "activity": ("interactions of a user", "users"),
    "days": ("day", "interactions"),
}
_ARROWS = {1: "↑", -1: "↓", 0: ""}
_STAGES = ("ingest", "split", "train", "evaluate", "recommend")


def draw_figures(records: Mapping[str, StageRecord]) -> dict[str, str]:
    """The figures of a run by name, as SVG, from the summaries of its stages up to evaluate."""
    summaries = {stage: record.summary for stage, record in records.items()}
    found = _of_evaluation(summaries["evaluate"])
    if "ingest" in summaries:
        found |= _of_data(summaries["ingest"])
    if "train" in summaries:
        found["loss"] = draw.loss_figure(summaries["train"]["losses"])
    return found


def draw_seconds(records: Mapping[str, StageRecord]) -> dict[str, str]:
    """The figure of the time that each stage took."""
    seconds = {stage: record.seconds for stage, record in records.items()}
    return {"seconds": draw.time_figure(seconds)}


def _of_data(ingest: Mapping[str, Any]) -> dict[str, str]:
    """The long tail, and histograms of what has more than one value."""
    curve = {"interactions": ingest["long_tail"]}
    found = {
        "long_tail": draw.curve_figure(
            curve, "share of items, most frequent first", "share of interactions", 3.0, 4.8
        )
    }
    for name, (x, y) in _HISTOGRAMS.items():
        bins = ingest["histograms"][name]
        if len(bins) > 1:
            found[name] = draw.histogram_figure(bins, x, y, dates=name == "days")
    return found


def _of_evaluation(summary: Mapping[str, Any]) -> dict[str, str]:
    k, shown = summary["k"], summary["pictures"]
    main = next(iter(by_split(summary["metrics"]).values()))
    segments = _first(summary["segments"], main)
    groups = [row for row in summary["segments"] if row["metric"] == "exposure"]
    lines = max(
        len({row["segment"] for row in rows})
        for rows in ([row for row in segments if row["metric"] == "ndcg"], groups)
    )
    found = {
        "ndcg": draw.metric_figure(main, "ndcg"),
        "recall": draw.metric_figure(main, "recall"),
        "segments": draw.segment_figure(segments, "ndcg", k, lines),
        "exposure": draw.curve_figure(
            shown["exposure"],
            "share of items, most listed first",
            f"share of lists' first {k}",
            draw.sets_height(len(shown["sets"]["sizes"])),
        ),
        "sets": draw.sets_figure(shown["sets"]["patterns"], shown["sets"]["sizes"]),
        "factors": _factor_figure(shown["directions"]),
    }
    if groups:
        found["groups"] = draw.segment_figure(groups, "exposure", k, lines)
    if "ratings" in shown:
        found["errors"] = draw.error_figure(summary["segments"])
        found["predictions"] = draw.prediction_figure(shown["ratings"])
    return found


def _first(segments: list[dict[str, Any]], main: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the segments in the ranking of the whole catalog."""
    return [row for row in segments if row["split"] == main[0]["split"]]


def _factor_figure(directions: Mapping[str, Any]) -> str:
    names = [str(at + 1) for at in range(len(directions["values"][0]))]
    titles = [title if len(title) <= 40 else f"{title[:39]}…" for title in directions["items"]]
    return draw.factor_figure(titles, directions["values"], names)


def render_report(
    run_id: str, records: Mapping[str, StageRecord], figures: Mapping[str, str]
) -> str:
    """The page of a run from the summaries of its stages.

    figures: from `draw_figures` and `draw_seconds`.
    """
    environment = Environment(
        loader=PackageLoader("recsys_spark", "report"),
        autoescape=select_autoescape(["j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    summaries = {stage: record.summary for stage, record in records.items()}
    evaluated, published = summaries["evaluate"], records.get("publish")
    metrics = by_split(evaluated["metrics"])
    return environment.get_template("report.html.j2").render(
        run_id=run_id,
        version=recsys_spark.__version__,
        records=records,
        figures=figures,
        headline=headline(summaries, published.finished_at if published else None),
        explained=explained(summaries),
        advice=advice(summaries),
        split_sentence=split_sentence(summaries["split"]) if "split" in summaries else "",
        metrics={
            split.replace("_", " "): metric_rows(rows, evaluated["k"])
            for split, rows in metrics.items()
        },
        models=model_names(evaluated["metrics"]),
        **{stage: summaries.get(stage) for stage in _STAGES},
    )


def by_split(metrics: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The metrics of each split and protocol, the ranking of the whole catalog first."""
    splits = sorted({row["split"] for row in metrics}, key=len)
    return {split: [row for row in metrics if row["split"] == split] for split in splits}


def model_names(metrics: list[dict[str, Any]]) -> list[str]:
    """The models that were measured, the trained one first."""
    return [name for name, _ in draw.coloured(row["model"] for row in metrics)]


def metric_rows(metrics: list[dict[str, Any]], k: int) -> list[dict[str, Any]]:
    """A row a metric at the cut-off, or without one: the figures of every model, which of them are
    the best, the metric's meaning, and an arrow to where better values are.
    """
    table: dict[str, dict[str, Any]] = {}
    for row in metrics:
        if row["k"] in (k, None):
            entry = table.setdefault(row["metric"], {"metric": row["metric"], "values": {}})
            entry["values"][row["model"]] = row
    for name, entry in table.items():
        described = DESCRIBED.get(name)
        entry["meaning"] = described.meaning if described else ""
        entry["arrow"] = _ARROWS[direction_of(name).sign]
        entry["best"] = best_models(name, entry["values"])
    return sorted(table.values(), key=lambda row: rank_of(row["metric"]))


def best_models(metric: str, values: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The models whose value is the best as it is printed; none where the metric does not judge."""
    sign = direction_of(metric).sign
    if not sign or len(values) < 2:
        return set()
    printed = {model: round(row["value"], 4) * sign for model, row in values.items()}
    return {model for model, value in printed.items() if value == max(printed.values())}
