"""A train stage that is killed goes on from its last checkpoint; early stopping; warm starts."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.pipeline import train
from recsys_spark.pipeline.early_stopping import idle_sweeps
from recsys_spark.pipeline.stage_graph import STAGES

TRAIN = STAGES[:3]


def factors(root, run_id):
    tables = root / "tables"
    for side in ("user", "item"):
        table = pq.read_table(tables / f"{side}_factors" / "versions" / run_id).sort_by("id")
        yield np.stack(table["factors"].to_numpy())


def kill_after(monkeypatch, sweeps):
    """Interrupt the sweeps as a signal would, once so many are done and kept."""
    made = train.fit_factors

    def fit_factors(rows, spec, plan, on_sweep, *more):
        def killed(state):
            reason = on_sweep(state)
            if len(state.losses) == sweeps:
                raise KeyboardInterrupt
            return reason

        return made(rows, spec, plan, killed, *more)

    monkeypatch.setattr(train, "fit_factors", fit_factors)


def test_killed_training_resumes_to_the_same_factors(run, monkeypatch, tmp_path):
    root = tmp_path / "root"
    settings = ("solver.checkpoint_seconds=0", "objective.iterations=4")
    run(*settings, stages=TRAIN, run_id="whole")
    kill_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run(*settings, stages=TRAIN, run_id="killed")
    monkeypatch.undo()
    pointer = json.loads((root / "runs/killed/checkpoint.json").read_text())
    assert pointer["version"] == "killed.2"
    kept = root / "tables/checkpoints/versions"
    assert [folder.name for folder in kept.iterdir()] == ["killed.2"]
    outcome = run(*settings, stages=TRAIN, run_id="killed", resume=True)
    summary = outcome.records["train"].summary
    assert summary["started_from"] == "killed"
    assert [loss["iteration"] for loss in summary["losses"]] == [1, 2, 3, 4]
    for one, other in zip(factors(root, "killed"), factors(root, "whole"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list(kept.iterdir())
    assert not (root / "runs/killed/checkpoint.json").exists()


def test_killed_training_of_the_sharded_placement_resumes(run, monkeypatch, tmp_path):
    """From frames to frames; the tables are those of the replicated placement, but for rounding."""
    root = tmp_path / "root"
    settings = ("solver.checkpoint_seconds=0", "objective.iterations=2", "objective.rank=4")
    kill_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        run(*settings, "solver.placement=sharded", stages=TRAIN, run_id="killed")
    monkeypatch.undo()
    outcome = run(*settings, "solver.placement=sharded", stages=TRAIN, run_id="killed", resume=True)
    assert outcome.records["train"].summary["started_from"] == "killed"
    run(*settings, "solver.placement=replicated", stages=TRAIN, run_id="replicated")
    for one, other in zip(factors(root, "killed"), factors(root, "replicated"), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
    assert not (root / "runs/killed/scratch").exists()


def test_blocks_are_kept_in_the_run_s_area_while_the_stage_lasts(run, monkeypatch, tmp_path):
    made, seen = train.fit_factors, []

    def fit_factors(rows, spec, plan, on_sweep, *more):
        def look(state):
            seen.extend((tmp_path / "root/runs/one/scratch").glob("training-*/blocks-*/_SUCCESS"))
            return on_sweep(state)

        return made(rows, spec, plan, look, *more)

    monkeypatch.setattr(train, "fit_factors", fit_factors)
    run("objective.iterations=1", "solver.placement=replicated", stages=TRAIN, run_id="one")
    assert len(seen) == 1
    assert not (tmp_path / "root/runs/one/scratch").exists()


def test_a_broken_checkpoint_is_skipped(run, monkeypatch, tmp_path):
    settings = ("solver.checkpoint_seconds=0", "objective.iterations=3")
    kill_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        run(*settings, stages=TRAIN, run_id="killed")
    monkeypatch.undo()
    (tmp_path / "root/tables/checkpoints/versions/killed.1/_manifest.json").unlink()
    outcome = run(*settings, stages=TRAIN, run_id="killed", resume=True)
    assert outcome.records["train"].summary["started_from"] is None


def test_a_warm_start_begins_with_the_newest_model(run, tmp_path):
    first = run("objective.iterations=3", stages=TRAIN, run_id="monday")
    settings = ("train.warm_start=true", "objective.iterations=1")
    second = run(*settings, stages=TRAIN, run_id="tuesday")
    before, after = (x.records["train"].summary for x in (first, second))
    assert after["started_from"] == "monday"
    assert after["losses"][0]["total"] <= before["losses"][-1]["total"] * (1 + 1e-6)


@pytest.mark.parametrize("watched", ["loss", "ndcg"])
def test_training_stops_when_nothing_improves(run, watched):
    outcome = run(
        f"train.early_stopping={watched}",
        "train.tolerance=0.5",
        "train.patience=1",
        "split.validation_fraction=0.2",
        "objective.iterations=9",
        stages=TRAIN,
    )
    summary = outcome.records["train"].summary
    assert 2 <= len(summary["losses"]) < 9
    assert summary["stopped"].startswith(f"{watched} improved by less than 0.5 in 1 sweeps")


def test_the_sweep_that_training_ends_with_is_not_kept(run, monkeypatch):
    """What follows it is the writing of the tables, which a checkpoint would only delay."""
    kept = []
    monkeypatch.setattr(
        train.Checkpoints, "save", lambda self, state, watched: kept.append(len(state.losses))
    )
    early = ("train.early_stopping=loss", "train.tolerance=0.5", "train.patience=1")
    settings = ("solver.checkpoint_seconds=0", "objective.iterations=9")
    outcome = run(*settings, *early, stages=TRAIN)
    stopped = len(outcome.records["train"].summary["losses"])
    assert kept == list(range(1, stopped))


def test_ndcg_needs_validation_rows(run):
    with pytest.raises(ConfigError, match=r"split\.validation_fraction"):
        run("train.early_stopping=ndcg", stages=TRAIN)


@pytest.mark.parametrize(
    ("values", "idle"),
    [([5.0], 0), ([5.0, 4.0], 0), ([5.0, 4.9, 4.8], 2), ([5, 4.9, 4.4], 0), ([-0.1, -0.2], 0)],
)
def test_idle_sweeps(values, idle):
    assert idle_sweeps(values, 0.1) == idle
