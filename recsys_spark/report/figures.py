"""Figures as SVG text, readable on light and dark pages."""

import io
from typing import Any

_GREY = "#7f8790"
_COLOURS = ("#2f7ed8", "#e67e22", "#27ae60", "#8e44ad")


def loss_figure(losses: list[dict[str, float]]) -> str:
    """The loss and its three terms by iteration."""
    steps = [row["iteration"] for row in losses]
    terms = ("total", "observed", "unobserved", "regularization")
    series = {term: (steps, [row[term] for row in losses]) for term in terms}
    return _lines(series, "iteration", "loss", logarithmic=True)


def metric_figure(metrics: list[dict[str, Any]], metric: str) -> str:
    """One ranking metric by cut-off, a line a model."""
    rows = [row for row in metrics if row["metric"] == metric and row["k"]]
    series = {}
    for model in sorted({row["model"] for row in rows}, key=lambda name: (name != "model", name)):
        points = sorted((row["k"], row["value"]) for row in rows if row["model"] == model)
        series[model] = ([k for k, _ in points], [value for _, value in points])
    return _lines(series, "k", f"{metric}@k", logarithmic=False)


def _lines(
    series: dict[str, tuple[list[Any], list[Any]]], x: str, y: str, logarithmic: bool
) -> str:
    # The object interface of matplotlib needs no display and keeps no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for (name, (xs, ys)), colour in zip(series.items(), _COLOURS, strict=False):
        axes.plot(xs, ys, marker="o", markersize=4, color=colour, label=name)
    if logarithmic and all(min(ys) > 0 for _, ys in series.values()):
        axes.set_yscale("log")
    axes.set_xticks(sorted({value for xs, _ in series.values() for value in xs}))
    axes.set_xlabel(x, color=_GREY)
    axes.set_ylabel(y, color=_GREY)
    axes.tick_params(colors=_GREY, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_GREY)
    axes.grid(alpha=0.25, color=_GREY)
    axes.legend(frameon=False, labelcolor=_GREY)
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    text = target.getvalue()
    return text[text.index("<svg") :]
