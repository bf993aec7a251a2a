"""The fold-in stage: users who came after training get factors, and lists of their own."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.stage_graph import STAGES
from tests.pipeline.pipeline_runs import run_in, write_source

TRAINED = STAGES[:3]
# 1001 takes over what user 3 does, 1002 has one known item, 1003 none, 3 has one more row.
LATER = [
    f"1002,7,4,{1_600_500_000}\n",
    f"1003,900,4,{1_600_500_000}\n",
    f"3,901,4,{1_600_500_000}\n",
]
SETTINGS = ["train.refit=true", "objective.item_unobserved_exponent=0.5", "recommend.n=3"]


def later_rows(source):
    own = [line for line in source.read_text().splitlines(keepends=True) if line.startswith("3,")]
    return [line.replace("3,", "1001,", 1) for line in own] + LATER


@pytest.fixture(scope="module")
def nights(spark, tmp_path_factory):
    """Monday trains on everything that is there; Tuesday brings users, and is not trained on."""
    folder = tmp_path_factory.mktemp("nights")
    source = write_source(folder)
    monday = run_in(folder, *SETTINGS, stages=TRAINED, run_id="monday")
    more = later_rows(source)
    with source.open("a") as file:
        file.writelines(more)
    outcomes = {"monday": monday}
    for stage in ("ingest", "fold_in", "recommend", "publish"):
        outcomes[stage] = run_in(folder, *SETTINGS, stages=(stage,), run_id="tuesday")
    return folder / "root", outcomes


def rows(root, table, run_id):
    return pq.read_table(root / "tables" / table / "versions" / run_id).to_pylist()


def test_users_without_factors_get_them_where_an_item_is_known(nights):
    root, outcomes = nights
    index = {row["id"]: row["index"] for row in rows(root, "user_ids", "tuesday")}
    folded = {row["id"]: row["factors"] for row in rows(root, "folded_users", "tuesday")}
    assert set(folded) == {index[1001], index[1002]}
    assert all(len(factors) == 4 for factors in folded.values())
    summary = outcomes["fold_in"].records["fold_in"].summary
    assert summary == {"users": 2, "without_known_items": 1}


def test_folded_vector_solves_the_objective_of_the_model(nights):
    """With the weights by frequency, and the penalty, of Monday's training rows."""
    root, outcomes = nights
    spec = outcomes["monday"].records["train"].summary["spec"]
    item_ids = {row["id"]: row["index"] for row in rows(root, "item_ids", "tuesday")}
    version = "tuesday.refit"  # of the model of Monday, on all of its interactions
    factors = sorted((row["id"], row["factors"]) for row in rows(root, "item_factors", version))
    ids, Y = [row[0] for row in factors], np.array([row[1] for row in factors])
    trained = [row["item"] for row in rows(root, "interactions", "monday")]
    c = np.array([trained.count(item) for item in ids]) ** 0.5
    w = spec["unobserved_weight"] * c / c.mean()
    y = Y[ids.index(item_ids["7"])]
    L = spec["regularization"] * (1 + spec["beta"] * len(Y))
    left = (w[:, None] * Y).T @ Y + np.outer(y, y) + L * np.eye(4)
    user = {row["id"]: row["index"] for row in rows(root, "user_ids", "tuesday")}[1002]
    (found,) = (r["factors"] for r in rows(root, "folded_users", "tuesday") if r["id"] == user)
    np.testing.assert_allclose(found, np.linalg.solve(left, y), rtol=1e-4)


def test_lists_of_folded_users_leave_out_seen_items(nights):
    root, _ = nights
    lists = {row["user_id"]: row for row in rows(root, "recommendations", "tuesday")}
    sources = {user: row["source"] for user, row in lists.items() if user >= 1000}
    assert sources == {1001: "fold_in", 1002: "fold_in", 1003: "popular"}
    known = {row["source"] for user, row in lists.items() if user < 1000}
    assert "model" in known
    assert not any("fold_in" in source for source in known)
    assert {row["model_version"] for row in lists.values()} == {"tuesday.refit"}
    assert "7" not in [entry["item_id"] for entry in lists[1002]["recommendations"]]
    assert "901" not in [entry["item_id"] for entry in lists[3]["recommendations"]]


def test_fold_in_lineage_is_the_older_model_and_the_newer_interactions(nights):
    _, outcomes = nights
    lineage = outcomes["recommend"].records["recommend"].lineage
    expected = {"ingest": "tuesday", "split": "monday", "train": "monday", "refit": "tuesday"}
    assert lineage == {**expected, "fold_in": "tuesday", "recommend": "tuesday"}
    published = outcomes["publish"].records["publish"].summary["tables"]
    assert published["folded_users"] == published["interactions"] == "tuesday"
    assert published["user_factors"] == "tuesday.refit"


def test_finished_fold_in_is_skipped(nights):
    root, _ = nights
    again = run_in(root.parent, *SETTINGS, stages=("fold_in",), run_id="tuesday")
    assert again.unchanged


def test_fold_in_uses_the_objective_of_the_model(nights):
    root, _ = nights
    settings = ("train.refit=true", "objective.preset=hu2008")
    other = run_in(root.parent, *settings, stages=("fold_in",), run_id="other")
    assert other.records["fold_in"].lineage["train"] == "monday"
    assert rows(root, "folded_users", "other") == rows(root, "folded_users", "tuesday")


def test_without_new_users_the_table_is_empty(run, table_rows):
    run("split.method=random", stages=TRAINED, run_id="night")
    outcome = run("recommend.n=2", stages=("fold_in",), run_id="night")
    assert outcome.records["fold_in"].summary["users"] == 0
    assert table_rows("folded_users", "night") == []


def test_run_continues_from_its_own_training_beside_a_fold_in(run):
    """All stages after a fold-in of the same run: recommend is planned, and made, from train."""
    run(stages=TRAINED, run_id="night")
    run(stages=("fold_in",), run_id="night")
    assert "fold_in" not in run(run_id="night").records["recommend"].lineage
    assert run(run_id="night").unchanged


def test_without_a_model_the_cure_is_named(run):
    with pytest.raises(ConfigError, match="recsys-spark train"):
        run(stages=("fold_in",))


@pytest.fixture
def table_rows(tmp_path):
    return lambda table, run_id: rows(tmp_path / "root", table, run_id)
