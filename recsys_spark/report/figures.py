"""Figures as SVG text, readable on light and dark pages."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
Points = Sequence[Sequence[float]]

_GREY = "#7f8790"
_COLOURS = ("#2f7ed8", "#e67e22", "#27ae60", "#8e44ad", "#c0392b", "#16a085", "#b8860b")
_DIVERGING = "PuOr"
_LABELS = 40  # characters that fit below a histogram
_WIDE = 100  # times the least value, from which on an axis is logarithmic


def loss_figure(losses: Sequence[Row]) -> str:
    """The loss and its three terms by iteration."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _canvas()
    steps = [row["iteration"] for row in losses]
    terms = ("total", "observed", "unobserved", "regularization")
    for term, colour in zip(terms, _COLOURS, strict=False):
        values = [row[term] for row in losses]
        axes.plot(steps, values, marker="o", markersize=4, color=colour, label=term)
    if all(row[term] > 0 for row in losses for term in terms):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _finished(figure, axes, "iteration", "loss")


def metric_figure(metrics: Sequence[Row], metric: str) -> str:
    """One ranking metric by cut-off, a line a model, its interval shaded."""
    figure, axes = _canvas()
    rows = [row for row in metrics if row["metric"] == metric and row["k"]]
    for model, colour in coloured(row["model"] for row in rows):
        own = sorted((row for row in rows if row["model"] == model), key=lambda row: row["k"])
        ks = [row["k"] for row in own]
        axes.plot(ks, [row["value"] for row in own], marker="o", markersize=4, color=colour,
                  label=_words(model))  # fmt: skip
        if all(row["ci_low"] is not None for row in own):
            low, high = ([row[end] for row in own] for end in ("ci_low", "ci_high"))
            axes.fill_between(ks, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xticks(sorted({row["k"] for row in rows}))
    axes.set_ylim(bottom=0)
    return _finished(figure, axes, "k", f"{metric}@k")


def histogram_figure(bins: Points, x: str, y: str, dates: bool = False) -> str:
    """Counts by bin, rows from, to, count; dates: from and to are days since 1970.

    Where both ends of all bins are equal they are values, each with a bar of its own.
    """
    figure, axes = _canvas(3.0, 4.8)
    low, high, counts = (list(column) for column in zip(*bins, strict=True))
    if dates:
        ends = [max(end, start + 1) for start, end in zip(low, high, strict=True)]
        _bars(axes, low, ends, counts)
        _date_axis(axes)
    elif low == high:
        labels = [f"{value:,.6g}" for value in low]
        axes.bar(range(len(low)), counts, width=0.8, color=_COLOURS[0])
        crowded = sum(map(len, labels)) > _LABELS
        axes.set_xticks(range(len(low)), labels, rotation=90 if crowded else 0)
    else:
        _bars(axes, low, high, counts)
        if low[0] > 0 and high[-1] / low[0] >= _WIDE:
            axes.set_xscale("log")
    return _finished(figure, axes, x, y)


def segment_figure(segments: Sequence[Row], metric: str, k: int, lines: int | None = None) -> str:
    """One metric of every segment with its interval, a dot a model; lines: to make room for."""
    rows = [row for row in segments if row["metric"] == metric]
    names = list(dict.fromkeys(row["segment"] for row in rows))
    figure, axes = _canvas(height=1.2 + 0.32 * max(lines or 0, len(names)))
    models = coloured(row["model"] for row in rows)
    for at, (model, colour) in enumerate(models):
        own = {row["segment"]: row for row in rows if row["model"] == model}
        shift = 0.5 * (at / max(len(models) - 1, 1) - 0.5)
        ys = [names.index(name) + shift for name in own]
        xs = [row["value"] for row in own.values()]
        axes.plot(xs, ys, "o", markersize=4, color=colour, label=_words(model))
        for y, row in zip(ys, own.values(), strict=True):
            if row["ci_low"] is not None:
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=1)
    sizes = {row["segment"]: row["users"] for row in rows}
    axes.set_yticks(range(len(names)), [f"{name} ({sizes[name]:,})" for name in names])
    axes.invert_yaxis()
    return _finished(figure, axes, f"{metric}@{k}", "")


def curve_figure(
    curves: Mapping[str, Points], x: str, y: str, height: float = 3.4, width: float = 6.4
) -> str:
    """Shares against shares, from 0 to 1, beside the diagonal of equal ones."""
    figure, axes = _canvas(height, width)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    for name, colour in coloured(name for name, points in curves.items() if points):
        xs, ys = zip(*curves[name], strict=True)
        axes.plot(xs, ys, color=colour, label=_words(name))
    return _finished(figure, axes, x, y)


def error_figure(segments: Sequence[Row]) -> str:
    """RMSE and MAE by true rating."""
    rows = [row for row in segments if row["segment"].startswith("value=")]
    names = sorted({row["segment"].removeprefix("value=") for row in rows}, key=_number)
    figure, axes = _canvas()
    for at, metric in enumerate(("rmse", "mae")):
        own = {r["segment"].removeprefix("value="): r for r in rows if r["metric"] == metric}
        positions = [names.index(name) + 0.4 * at - 0.2 for name in own]
        heights = [row["value"] for row in own.values()]
        axes.bar(positions, heights, width=0.38, color=_COLOURS[at], label=metric)
    axes.set_xticks(range(len(names)), names)
    return _finished(figure, axes, "true rating", "error")


def prediction_figure(ratings: Sequence[Row]) -> str:
    """How predicted ratings are spread for each true one: rows true, low, median, high."""
    figure, axes = _canvas()
    for at, row in enumerate(ratings):
        axes.plot([at, at], [row["low"], row["high"]], color=_COLOURS[0], linewidth=5, alpha=0.4)
        axes.plot(at, row["median"], "o", color=_COLOURS[0], label=None if at else "predicted")
    numbers = [_number(row["true"]) for row in ratings]
    axes.plot(range(len(ratings)), numbers, "x", color=_COLOURS[1], label="true")
    axes.set_xticks(range(len(ratings)), [row["true"] for row in ratings])
    return _finished(figure, axes, "true rating", "middle four fifths of the predictions")


def sets_figure(patterns: Sequence[Row], sizes: Mapping[str, int]) -> str:
    """What lists have in common: a bar for each combination of sets, dots for who is in it.

    patterns: members and count, the items of users that these sets and no others hold.
    """
    names = list(sizes)
    figure = _figure(sets_height(len(names)))
    grid = figure.add_gridspec(2, 1, height_ratios=[2.4, 0.3 * len(names)])
    bars, dots = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    positions = range(len(patterns))
    bars.bar(positions, [pattern["count"] for pattern in patterns], width=0.6, color=_COLOURS[0])
    for at, pattern in enumerate(patterns):
        inside = [y for y, name in enumerate(names) if name in pattern["members"]]
        dots.plot([at] * len(names), range(len(names)), "o", markersize=4, color=_GREY, alpha=0.2)
        dots.plot([at] * len(inside), inside, "o-", markersize=5, color=_COLOURS[0])
    dots.set_yticks(range(len(names)), [f"{_words(name)} ({sizes[name]:,})" for name in names])
    dots.set_xlim(bars.get_xlim())
    dots.invert_yaxis()
    for axes in (bars, dots):
        axes.set_xticks([])
    _style(dots, "", "")
    return _finished(figure, bars, "", "items of lists")


def sets_height(sets: int) -> float:
    """Height of `sets_figure`, for what stands beside it."""
    return 2.4 + 0.25 * sets


def factor_figure(items: Sequence[str], values: Points, directions: Sequence[str]) -> str:
    """Items by directions of the factors, as a heat map."""
    figure, axes = _canvas(1 + 0.2 * len(items), 10.0)
    reach = max(abs(value) for row in values for value in row) or 1.0
    shown = axes.imshow(values, cmap=_DIVERGING, aspect="auto", vmin=-reach, vmax=reach)
    bar = figure.colorbar(shown, ax=axes, fraction=0.03, pad=0.01)
    bar.set_label("standard deviations", color=_GREY)
    bar.ax.tick_params(colors=_GREY)
    bar.outline.set_visible(False)
    axes.set_yticks(range(len(items)), items, fontsize=7)
    axes.set_xticks(range(len(directions)), directions)
    return _finished(figure, axes, "direction", "", grid=False)


def time_figure(seconds: Mapping[str, float]) -> str:
    """Seconds of each stage."""
    figure, axes = _canvas(height=0.9 + 0.3 * len(seconds))
    axes.barh(list(seconds), list(seconds.values()), height=0.6, color=_COLOURS[0])
    axes.invert_yaxis()
    return _finished(figure, axes, "seconds", "")


def coloured(models: Any) -> list[tuple[str, str]]:
    """The models in the order of all figures, the trained one first, each with its colour."""
    names = sorted(set(models), key=lambda name: (name != "model", name))
    return [(name, _COLOURS[at % len(_COLOURS)]) for at, name in enumerate(names)]


def _bars(
    axes: "Axes", low: Sequence[float], high: Sequence[float], counts: Sequence[float]
) -> None:
    widths = [end - start for start, end in zip(low, high, strict=True)]
    axes.bar(low, counts, widths, align="edge", color=_COLOURS[0])


def _date_axis(axes: "Axes") -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set_color(_GREY)


def _canvas(height: float = 3.4, width: float = 6.4) -> "tuple[Figure, Axes]":
    figure = _figure(height, width)
    return figure, figure.subplots()


def _figure(height: float, width: float = 6.4) -> "Figure":
    # The object interface of matplotlib needs no display and keeps no global state.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _finished(figure: "Figure", axes: "Axes", x: str, y: str, grid: bool = True) -> str:
    _style(axes, x, y)
    if grid:
        axes.grid(alpha=0.25, color=_GREY)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        look = {"frameon": False, "labelcolor": _GREY, "fontsize": 8, "ncols": min(len(labels), 3)}
        figure.legend(handles, labels, loc="outside upper center", **look)
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    text = target.getvalue()
    return text[text.index("<svg") :]


def _style(axes: "Axes", x: str, y: str) -> None:
    axes.set_xlabel(x, color=_GREY)
    axes.set_ylabel(y, color=_GREY)
    axes.tick_params(colors=_GREY, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_GREY)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(text: str) -> float:
    """Of a rating, or of the beginning of a range."""
    return float(text.split(" ")[0])
