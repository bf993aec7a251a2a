"""What a run prints at its end, on lines of any length."""

import io

import pyarrow as pa
import pytest
from rich.console import Console

from recsys_spark.cli.comparison import render_comparison
from recsys_spark.cli.summary import _losses, _metrics
from recsys_spark.pipeline.compare import Side

MODELS = ("model", "popularity", "recent_popularity", "random", "item_knn", "walks", "far_walks")
METRICS = ("ndcg", "recall", "percentile_rank", "normalized_average_popularity")


def value(model, metric):
    return (1 + MODELS.index(model)) / 10 + METRICS.index(metric) / 1000


def row(model, metric):
    found = value(model, metric)
    return {
        "split": "test", "model": model, "metric": metric, "k": 10, "value": found,
        "ci_low": found - 0.05, "ci_high": found + 0.05,
    }  # fmt: skip


SUMMARY = {
    "metrics": [row(model, metric) for model in MODELS for metric in METRICS],
    "k": 10,
    "delivered": "walks",
}


def printed(width, show, *given):
    console = Console(width=width, record=True, file=io.StringIO(), highlight=False)
    show(console, *given)
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_metrics_of_every_model_are_whole(width):
    lines = printed(width, _metrics, SUMMARY)
    assert max(len(line.rstrip()) for line in lines) <= width
    assert lines[0] == "Ranking of the test rows, first 10"
    below = lines.count("Ranking of the test rows, first 10, further models")
    assert (below == 0) == (width >= 120)
    for metric in METRICS:
        words = [word for line in lines if line.startswith(metric) for word in line.split()]
        figures = {f"{value(model, metric):.4f}" for model in MODELS}
        walks = value("walks", metric)
        assert figures | {f"{walks - 0.05:.3f}-{walks + 0.05:.3f}"} <= set(words)
    first = next(line for line in lines if line.startswith("ndcg")).split()
    assert first[1:3] == ["0.6000", "0.550-0.650"], "the delivered model and its interval lead"


@pytest.mark.parametrize("width", [40, 80])
def test_losses_are_whole(width):
    terms = dict.fromkeys(("total", "observed", "unobserved", "regularization"), 1234567.0)
    losses = {"losses": [{"iteration": 1, "seconds": 2.0, **terms}]}
    lines = printed(width, _losses, losses)
    assert lines[0].rstrip() == "Loss"
    assert max(len(line.rstrip()) for line in lines) <= width
    assert sum(line.count("1,234,567.0") for line in lines) == 4


@pytest.mark.parametrize("width", [60, 80, 120])
def test_comparisons_are_whole(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    figures = {
        "one": 0.1, "other": 0.2, "difference": 0.1, "ci_low": 0.05, "ci_high": 0.15,
        "p_value": 0.01, "p_holm": 0.02, "better": 0.5, "worse": 0.25,
    }  # fmt: skip
    rows = [{"metric": metric, "k": 10, "users": 7, **figures} for metric in METRICS]
    text = render_comparison(pa.Table.from_pylist(rows), Side("a"), Side("b"), "table")
    lines = [line for line in text.splitlines() if line.startswith("percentile_rank")]
    shown = " ".join(lines).split()
    wanted = ["0.1000", "0.2000", "+0.1000", "+0.0500", "+0.1500", "0.0100", "0.0200"]
    wanted += ["50.0%", "25.0%"]
    assert [word for word in shown if word in wanted] == wanted
