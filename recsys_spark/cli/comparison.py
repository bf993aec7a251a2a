"""What a person sees of two runs side by side."""

import json
from typing import Any

import pyarrow as pa

from recsys_spark.cli.show import as_csv, text_console
from recsys_spark.cli.tables import Column, print_columns
from recsys_spark.evaluation.directions import Direction, direction_of
from recsys_spark.evaluation.ranking import shown_cutoff
from recsys_spark.pipeline.compare import Side

_HEADS = ("one", "other", "difference", "95 %", "p", "p (Holm)", "better", "worse")


def render_comparison(rows: pa.Table, one: Side, other: Side, form: str) -> str:
    """The comparison as text for people (at one cut-off), as json or as csv (all of it)."""
    content = rows.to_pylist()
    if form == "json":
        return json.dumps(content, indent=2)
    if form == "csv":
        return as_csv(rows)
    return _as_text(content, one, other)


def _as_text(rows: list[dict[str, Any]], one: Side, other: Side) -> str:
    console = text_console()
    k = shown_cutoff({row["k"] for row in rows if row["k"] is not None})
    shown = [row for row in rows if row["k"] in (k, None)]
    console.print(f"one    {one.model} of run {one.run_id}", highlight=False)
    console.print(f"other  {other.model} of run {other.run_id}\n", highlight=False)
    names = Column("metric", [_name(row["metric"]) for row in shown])
    cells = zip(*map(_cells, shown), strict=True)
    print_columns(console, names, list(map(Column, _HEADS, cells)))
    users = max(row["users"] for row in shown)
    console.print(
        f"\nFirst {k} of the lists of {users:,} users. p: that users would differ so much by "
        "chance, by exchanging the two at random; Holm: corrected for all metrics and cut-offs. "
        "better, worse: shares of users with a better or worse value of the other; ↓: lower is "
        "better.",
        style="dim",
    )
    return console.export_text().rstrip("\n")


def _cells(row: dict[str, Any]) -> list[str]:
    interval = "" if row["ci_low"] is None else f"{row['ci_low']:+.4f} {row['ci_high']:+.4f}"
    return [
        f"{row['one']:.4f}",
        f"{row['other']:.4f}",
        f"{row['difference']:+.4f}",
        interval,
        f"{row['p_value']:.4f}",
        f"{row['p_holm']:.4f}",
        *("" if row[name] is None else f"{row[name]:.1%}" for name in ("better", "worse")),
    ]


def _name(metric: str) -> str:
    return f"{metric} ↓" if direction_of(metric) is Direction.LOWER else metric
