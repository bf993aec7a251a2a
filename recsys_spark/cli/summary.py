"""What a person sees at the end of a run."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from textwrap import shorten
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.markup import escape

from recsys_spark.cli.tables import Column, print_columns
from recsys_spark.config import Config, mask
from recsys_spark.pipeline.runner import Outcome
from recsys_spark.pipeline.train import readable
from recsys_spark.report.page import by_split, metric_rows, model_names
from recsys_spark.report.words import advice, explained
from recsys_spark.runtime.tracking import tracking_uri
from recsys_spark.storage.store import local_folder


def print_summary(outcome: Outcome, config: Config) -> None:
    """The run in figures, five users' lists, what to try next, and where to look further."""
    console = Console(highlight=False)
    summaries = {stage: record.summary for stage, record in outcome.records.items()}
    printers = {
        "ingest": _ingest,
        "train": _losses,
        "evaluate": _metrics,
        "refit": _refit,
        "recommend": _lists,
    }
    for stage, print_stage in printers.items():
        if stage in summaries:
            console.print()
            print_stage(console, summaries[stage])
        if stage == "ingest":
            _explained(console, summaries)
    console.print()
    _locations(console, outcome, config)


def _ingest(console: Console, summary: Mapping[str, Any]) -> None:
    console.print(
        f"[bold]Rows[/]  {summary['rows_read']:,} read, {summary['rows_rejected']:,} rejected, "
        f"{summary['interactions']:,} interactions kept "
        f"({summary['users']:,} users, {summary['items']:,} items)",
        soft_wrap=True,
    )
    for reason, count in summary["reasons"].items():
        console.print(f"      {count:>8,} {reason}")


def _explained(console: Console, summaries: Mapping[str, Mapping[str, Any]]) -> None:
    """What the run did with the data, and what it guessed."""
    for name, text in explained(summaries).items():
        console.print(f"[bold]{name:<9}[/] {escape(text)}", soft_wrap=True)


def _losses(console: Console, summary: Mapping[str, Any]) -> None:
    rows = summary["losses"]
    iterations = Column("iteration", [str(row["iteration"]) for row in rows])
    terms = [
        Column(term, [readable(row[term]) for row in rows])
        for term in ("total", "observed", "unobserved", "regularization")
    ]
    seconds = Column("s", [f"{row['seconds']:.1f}" for row in rows])
    print_columns(console, iterations, [*terms, seconds], "Loss")


def _metrics(console: Console, summary: Mapping[str, Any]) -> None:
    """Tables for each protocol: a row a metric, a column a model, the delivered one's interval."""
    for split, metrics in by_split(summary["metrics"]).items():
        delivered = summary.get("delivered")
        first, *others = sorted(model_names(metrics), key=lambda name: name != delivered)
        rows = metric_rows(metrics, summary["k"])
        columns = [_figures(rows, name) for name in (first, *others)]
        columns.insert(1, Column("95 %", [_interval(row["values"].get(first)) for row in rows]))
        title = f"Ranking of the {split.replace('_', ' ')} rows, first {summary['k']}"
        names = Column("metric", [row["metric"] for row in rows])
        print_columns(console, names, columns, title, ", further models")


def _refit(console: Console, summary: Mapping[str, Any]) -> None:
    """Which of the two models the metrics and the lists are of."""
    console.print(
        f"[bold]Refit[/]  lists are of the model fitted on all {summary['rows']:,} interactions; "
        f"metrics are of the one fitted on {summary['evaluated_rows']:,}",
        soft_wrap=True,
    )
    if summary.get("overlap") is not None:
        console.print(
            f"       {summary['overlap']:.1%} of the first {summary['k']} items that the weighted "
            f"ALS lists {summary['compared_users']:,} evaluated users are the same in both",
            soft_wrap=True,
        )


def _figures(rows: Sequence[Mapping[str, Any]], model: str) -> Column:
    cells = [_figure(row["values"].get(model)) for row in rows]
    return Column(model.replace("_", "_\n", 1), cells)


def _figure(row: Mapping[str, Any] | None) -> str:
    return f"{row['value']:.4f}" if row else ""


def _interval(row: Mapping[str, Any] | None) -> str:
    if row is None or row["ci_low"] is None:
        return ""
    return f"{row['ci_low']:.3f}-{row['ci_high']:.3f}"


def _lists(console: Console, summary: Mapping[str, Any]) -> None:
    console.print("[bold]Recommendations of five users[/]")
    for user in summary["sample"]:
        liked = "; ".join(_short(title) for title in user["history"])
        console.print(f"\n{escape(str(user['user_id']))} ({user['source']}), likes most: {liked}")
        names = [f"{at:>2}. {_short(title)}" for at, title in enumerate(user["items"], 1)]
        console.print(Columns(names, column_first=True, padding=(0, 3)))


def _short(title: str) -> str:
    return escape(shorten(title, 60, placeholder="…"))


def _locations(console: Console, outcome: Outcome, config: Config) -> None:
    root = config.paths.root
    folder = local_folder(root) or root
    run = f"{folder}/runs/{outcome.run_id}"
    locations = {"Tables": f"{folder}/tables", "Run": run}
    if "evaluate" in outcome.records:
        locations["Report"] = f"{run}/report.html"
    uri = tracking_uri(config.tracking, root)
    if uri is not None:
        locations["MLflow"] = mask(uri)
    for name, location in locations.items():
        console.print(f"[bold]{name:<7}[/] {location}", soft_wrap=True)
    if tips := advice({stage: record.summary for stage, record in outcome.records.items()}):
        console.print("\nTry next:", style="bold")
        for text in tips:
            console.print(f"  {escape(text)}", soft_wrap=True)
    if "publish" not in outcome.records:
        return
    option = f" --root {quote(root)}"
    console.print("\nLook further:", style="bold")
    evaluated = ["show metrics"] if "evaluate" in outcome.records else []
    for words in (
        "show recommendations --limit 3", *evaluated, "path recommendations", "status",
    ):  # fmt: skip
        console.print(f"  {_program('recsys-spark')} {words}{option}", soft_wrap=True)
    if uri is not None:
        command = f"{_program('mlflow')} ui --backend-store-uri {quote(mask(uri))}"
        console.print(f"  {command}", soft_wrap=True)


def _program(name: str) -> str:
    """How to call a program of this environment, which may not be activated."""
    beside = Path(sys.argv[0]).with_name(name)
    return name if shutil.which(name) or not beside.exists() else str(beside)
