"""Several splits of the same rows, and what the metrics vary between them."""

import json
from statistics import mean

import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.backtest import backtest
from recsys_spark.pipeline.runner import Options
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config
from tests.pipeline.pipeline_runs import write_source


def repeated(folder, *settings):
    base = [
        f"paths.root={folder / 'root'}",
        f"ingest.source.path={folder / 'ratings.csv'}",
        "objective.rank=2",
        "objective.iterations=1",
        "evaluate.k=[5]",
        "evaluate.resamples=0",
        "evaluate.baselines=[popularity]",
        "tracking.backend=none",
    ]
    config = load_config(overrides=[*base, *settings])
    return backtest(config, Options(run_id="test"), Log([]))


@pytest.fixture
def folder(spark, tmp_path):
    write_source(tmp_path)
    return tmp_path


def split_of(folder, run_id):
    return json.loads((folder / "root/runs" / run_id / "stages/split.json").read_text())["summary"]


def metrics_of(folder, run_id):
    rows = json.loads((folder / "root/runs" / run_id / "metrics.json").read_text())
    return {(r["model"], r["metric"], r["k"]): r["value"] for r in rows if r["segment"] == "all"}


def test_windows_roll_to_the_end_of_the_data(folder):
    found = repeated(folder, "backtest.origins=2", "backtest.days=0.05")
    assert list(found.runs.values()) == ["test-1", "test-2"]
    parts = [split_of(folder, run_id)["rows"] for run_id in found.runs.values()]
    assert parts[0]["train"] < parts[1]["train"] == parts[0]["train"] + parts[0]["test"]
    assert split_of(folder, "test-2")["unused"] == 0
    by_run = [metrics_of(folder, run_id) for run_id in found.runs.values()]
    for row in found.rows:
        values = [metrics[row["model"], row["metric"], row["k"]] for metrics in by_run]
        assert row["mean"] == pytest.approx(mean(values))
        assert (row["least"], row["most"], row["splits"]) == (min(values), max(values), 2)
    assert json.loads((folder / "root/runs/test/backtest.json").read_text())["runs"] == found.runs


def test_every_row_is_tested_in_one_fold(folder):
    found = repeated(folder, "backtest.method=folds", "backtest.folds=2")
    parts = [split_of(folder, run_id)["rows"] for run_id in found.runs.values()]
    assert parts[0]["test"] == parts[1]["train"]
    assert parts[1]["test"] == parts[0]["train"]


def test_rows_without_times_cannot_be_rolled_over(folder):
    with pytest.raises(ConfigError, match=r"timestamp is null.*backtest\.method: folds"):
        repeated(folder, "ingest.source.columns.timestamp=null")


def test_splits_of_a_backtest_have_no_validation_rows(folder):
    with pytest.raises(ConfigError, match=r"early_stopping: ndcg needs validation rows"):
        repeated(folder, "train.early_stopping=ndcg", "split.validation_fraction=0.1")
