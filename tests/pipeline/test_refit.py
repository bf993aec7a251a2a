"""Lists come from the evaluated recipe fitted on all interactions, and the metrics do not."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys_spark.pipeline.stage_graph import STAGES
from tests.pipeline.pipeline_runs import run_in, write_source

# An objective with statistics of the training rows, and a training that ends early.
SETTINGS = (
    "train.refit=true",
    "objective.item_unobserved_exponent=0.5",
    "objective.iterations=6",
    "split.validation_fraction=0.1",
    "train.early_stopping=loss",
    "train.tolerance=0.5",
    "train.patience=1",
    "recommend.n=5",
    "recommend.explain=2",
)


def rows(folder, table, version):
    return pq.read_table(folder / "root/tables" / table / "versions" / version).to_pylist()


def factors(folder, side, version):
    return {row["id"]: np.array(row["factors"]) for row in rows(folder, f"{side}_factors", version)}


def listed_users(folder):
    """How many users with held-out rows have not got every item."""
    counts = Counter(row["user"] for row in rows(folder, "interactions", "night"))
    return sum(counts[user] < 25 for user in {row["user"] for row in rows(folder, "test", "night")})


@pytest.fixture(scope="module")
def whole(spark, tmp_path_factory):
    """All stages as one run; its folder and outcome."""
    folder = tmp_path_factory.mktemp("whole")
    write_source(folder)
    return folder, run_in(folder, *SETTINGS, run_id="night")


def test_the_refit_is_of_all_rows_with_the_sweeps_that_training_did(whole):
    folder, outcome = whole
    ingest, train, refit = (outcome.records[s].summary for s in ("ingest", "train", "refit"))
    assert refit["rows"] == ingest["interactions"] > train["rows"] == refit["evaluated_rows"]
    assert 2 <= refit["sweeps"] == len(train["losses"]) < 6
    assert refit["spec"]["iterations"] == refit["sweeps"]
    assert refit["started_from"] == "night"
    assert (refit["stopped"], refit["k"]) == (None, 10)
    assert refit["compared_users"] == listed_users(folder)
    assert 0 < refit["overlap"] < 1


def test_users_solve_the_equation_of_all_their_rows(whole):
    folder, outcome = whole
    spec = outcome.records["refit"].summary["spec"]
    users, items = (factors(folder, side, "night.refit") for side in ("user", "item"))
    interactions = rows(folder, "interactions", "night")
    ids = sorted(items)
    Y = np.array([items[item] for item in ids])
    c = np.array([sum(row["item"] == item for row in interactions) for item in ids]) ** 0.5
    w = spec["unobserved_weight"] * c / c.mean()
    user = interactions[0]["user"]
    own = Y[[ids.index(row["item"]) for row in interactions if row["user"] == user]]
    L = spec["regularization"] * (len(own) + spec["beta"] * len(Y)) ** spec["nu"]
    left = (w[:, None] * Y).T @ Y + own.T @ own + L * np.eye(4)
    np.testing.assert_allclose(users[user], np.linalg.solve(left, own.sum(axis=0)), rtol=1e-3)


def test_lists_scores_and_explanations_are_those_of_the_refit(whole):
    folder, _ = whole
    users, items = (factors(folder, side, "night.refit") for side in ("user", "item"))
    index = {
        side: {row["id"]: row["index"] for row in rows(folder, f"{side}_ids", "night")}
        for side in ("user", "item")
    }
    lists = rows(folder, "recommendations", "night")
    assert {row["model_version"] for row in lists} == {"night.refit"}
    row = next(row for row in lists if row["source"] == "model")
    user = users[index["user"][row["user_id"]]]
    for entry in row["recommendations"]:
        score = user @ items[index["item"][entry["item_id"]]]
        assert entry["score"] == pytest.approx(score, rel=1e-4)
        assert len(entry["because"]) == 2


def test_the_published_factors_are_those_that_made_the_lists(whole):
    _, outcome = whole
    published = outcome.records["publish"].summary["tables"]
    assert published["user_factors"] == published["item_factors"] == "night.refit"
    assert published["train"] == published["metrics"] == published["recommendations"] == "night"


def test_metrics_are_those_of_the_evaluated_model(whole):
    """A run without the refit measures the same."""
    folder, outcome = whole
    plain = run_in(folder, *SETTINGS, "train.refit=false", run_id="plain")
    assert "refit" not in plain.records
    assert (
        plain.records["evaluate"].summary["metrics"]
        == outcome.records["evaluate"].summary["metrics"]
    )
    assert plain.records["publish"].summary["tables"]["user_factors"] == "plain"
    lists = rows(folder, "recommendations", "plain")
    assert {row["model_version"] for row in lists} == {"plain"}


def test_recommend_alone_does_the_refit_and_gives_the_same_lists(whole, tmp_path):
    folder, _ = whole
    write_source(tmp_path)
    run_in(tmp_path, *SETTINGS, stages=STAGES[:3], run_id="night")
    outcome = run_in(tmp_path, *SETTINGS, stages=("recommend",), run_id="night")
    assert list(outcome.records) == ["refit", "recommend"]
    found, expected = (
        sorted(rows(place, "recommendations", "night"), key=lambda row: row["user_id"])
        for place in (tmp_path, folder)
    )
    assert found == expected
    assert run_in(tmp_path, *SETTINGS, run_id="night", stages=STAGES[:3]).unchanged


def test_users_held_out_whole_are_refitted_with_all_they_have(run, tmp_path):
    settings = ("split.method=user_holdout", "split.test_fraction=0.3", "train.refit=true")
    outcome = run(*settings, run_id="night")
    refit = outcome.records["refit"].summary
    assert refit["users"] == 30 > outcome.records["train"].summary["users"]
    assert refit["compared_users"] == listed_users(tmp_path) > 0
    assert 0 < refit["overlap"] <= 1
    lists = rows(tmp_path, "recommendations", "night")
    assert {row["source"] for row in lists if row["recommendations"]} <= {"model", "model+popular"}


def test_without_a_split_everything_trains_and_nothing_is_evaluated(run, tmp_path):
    outcome = run("split.method=none", "train.refit=true", run_id="lists")
    assert list(outcome.records) == ["ingest", "split", "train", "recommend", "publish"]
    said = (tmp_path / "root/runs/lists/events.jsonl").read_text()
    assert "evaluate and refit are skipped" in said
    every = outcome.records["ingest"].summary["interactions"]
    split = outcome.records["split"].summary
    assert split["rows"] == {"train": every, "validation": 0, "test": 0}
    assert not any([*split["cold"].values(), split["in_both"], split["dropped"], split["unused"]])
    assert outcome.records["train"].summary["rows"] == every
    lists = rows(tmp_path, "recommendations", "lists")
    assert {row["model_version"] for row in lists} == {"lists"}
