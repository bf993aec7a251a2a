"""The table of directions: complete, in line with the docs, and what `compare` judges by."""

import re
from pathlib import Path

import pytest

from recsys_spark.evaluation import DESCRIBED, compare
from recsys_spark.evaluation.directions import Direction, direction_of
from recsys_spark.kernels.metrics.beyond_accuracy import LIST_METRICS
from recsys_spark.kernels.metrics.exposure import EXPOSURE
from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS
from recsys_spark.kernels.metrics.list_overlap import AGREEMENT
from recsys_spark.kernels.metrics.ranking import METRICS

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
OTHERS = ("user_coverage", "exposure", "catalog_share", "rmse", "mae", "r2")


def test_directions_cover_every_metric_and_no_other():
    known = {*METRICS, *RANK_METRICS, *LIST_METRICS, *EXPOSURE, *AGREEMENT, *OTHERS}
    assert set(DESCRIBED) == known
    assert all(re.fullmatch(r"[A-Z].*\.", found.meaning) for found in DESCRIBED.values())
    assert direction_of("a_column_of_my_own") is Direction.NEITHER


def test_directions_are_those_of_the_docs():
    text = " ".join(DOCS.split())
    lower, neither = (
        set(re.findall(r"`(\w+)`", re.search(pattern, text).group()))
        for pattern in (r"Lower is better for .*?\.", r"`popularity_rank`, `exposure`.*? describe")
    )
    found = {name: described.direction for name, described in DESCRIBED.items()}
    assert {name for name, direction in found.items() if direction is Direction.LOWER} == lower
    assert {name for name, direction in found.items() if direction is Direction.NEITHER} == neither


def test_compare_calls_better_by_the_direction_of_the_metric(spark):
    """Three of four users have the higher value under `other`, one the same."""
    judged = {"ndcg": (0.75, 0.0), "percentile_rank": (0.0, 0.75), "miscalibration": (0.0, 0.75)}
    names = [*judged, "gini", "popularity_rank"]
    columns = ", ".join(f"{name} double" for name in names)
    schema = f"user_id int, model string, split string, segment string, k int, {columns}"
    one, other = (
        spark.createDataFrame(
            [(u, model, "test", "all", 10, *[0.2 + by * (u > 0)] * len(names)) for u in range(4)],
            schema,
        )
        for model, by in (("a", 0.0), ("b", 0.5))
    )
    rows = {row["metric"]: row for row in compare(one, other, resamples=20).collect()}
    for name, expected in (judged | {"gini": (0.0, 0.75)}).items():
        assert (rows[name]["better"], rows[name]["worse"]) == pytest.approx(expected)
    assert rows["popularity_rank"]["better"] is rows["popularity_rank"]["worse"] is None
    assert all(row["difference"] == pytest.approx(0.375) for row in rows.values())
