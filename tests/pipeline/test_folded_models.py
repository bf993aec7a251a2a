"""Users who came after training, where another model than the main one is delivered."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys_spark.pipeline.stage_graph import COMMANDS
from tests.pipeline.pipeline_runs import run_in, write_source

MODELS = (
    "models.twin={kind: wals}",
    "models.deep={kind: wals, objective: {rank: 5, regularization: 0.01, seed: 3}}",
    "models.spark={kind: mllib, rank: 3}",
    "models.near={kind: item_knn, neighbours: 5}",
    "models.mix={kind: blend, parts: {deep: 1.0, near: 0.5}}",
    "train.refit=true",
    "recommend.n=4",
    "recommend.backfill=false",
)


def table(folder, name, version):
    return pq.read_table(folder / "root/tables" / name / "versions" / version).to_pylist()


@pytest.fixture(scope="module")
def updated(spark, tmp_path_factory):
    """A run, then another user, and an update."""
    folder = tmp_path_factory.mktemp("updated")
    source = write_source(folder)
    run_in(folder, *MODELS, "recommend.model=mix", run_id="monday")
    with source.open("a") as file:
        file.writelines(f"1001,{item},4,{1_600_500_000}\n" for item in (1, 2, 3, 4))
    settings = (*MODELS, "recommend.model=mix")
    run_in(folder, *settings, stages=COMMANDS["update"], run_id="tuesday")
    return folder


def delivered(folder, model):
    """Lists of another model, from what the update has folded in."""
    settings = (*MODELS, f"recommend.model={model}")
    events = []
    for stage in ("ingest", "fold_in", "recommend"):
        run_in(folder, *settings, stages=(stage,), run_id=_run_of(model), sinks=[events.append])
    return {r["user_id"]: r for r in table(folder, "recommendations", _run_of(model))}, events


def factors(folder, table_name, version, model):
    return {
        r["id"]: r["factors"] for r in table(folder, table_name, version) if r["model"] == model
    }


def test_folded_factors_solve_the_equation_of_their_model(updated):
    """With the items' factors of the refit, and the model's own settings."""
    record = json.loads((updated / "root/runs/monday/stages/refit.json").read_text())
    index = {row["id"]: row["index"] for row in table(updated, "user_ids", "tuesday")}
    rows = table(updated, "interactions", "tuesday")
    own = [row["item"] for row in rows if row["user"] == index[1001]]
    for name in ("twin", "deep"):
        spec = record["summary"]["model_specs"][name]
        found = factors(updated, "folded_model_users", "tuesday", name)
        items = factors(updated, "model_item_factors", "monday.refit", name)
        assert set(found) == {index[1001]}
        Y, rated = np.array(list(items.values())), np.array([items[item] for item in own])
        size = (len(own) + spec["beta"] * len(Y)) ** spec["nu"]
        left = spec["unobserved_weight"] * Y.T @ Y + rated.T @ rated
        left += spec["regularization"] * size * np.eye(len(left))
        expected = np.linalg.solve(left, rated.sum(axis=0))
        np.testing.assert_allclose(found[index[1001]], expected, rtol=1e-4, atol=1e-5)


def test_a_blend_scores_new_users_by_folded_factors_and_their_history(updated):
    index = {row["id"]: row["index"] for row in table(updated, "user_ids", "tuesday")}
    items = {row["id"]: row["index"] for row in table(updated, "item_ids", "tuesday")}
    x = factors(updated, "folded_model_users", "tuesday", "deep")[index[1001]]
    Y = factors(updated, "model_item_factors", "monday.refit", "deep")
    own = [
        row["item"]
        for row in table(updated, "interactions", "tuesday")
        if row["user"] == index[1001]
    ]
    near = dict.fromkeys(items.values(), 0.0)
    for row in table(updated, "item_neighbours", "monday.refit"):
        if row["item"] in own:
            for item, weight in zip(row["neighbours"], row["weights"], strict=True):
                near[item] += weight
    scores = {
        name: float(np.dot(x, Y[at])) + 0.5 * near[at]
        for name, at in items.items()
        if at not in own
    }
    lists = {row["user_id"]: row for row in table(updated, "recommendations", "tuesday")}
    assert lists[1001]["source"] == "mix"
    found = {entry["item_id"]: entry["score"] for entry in lists[1001]["recommendations"]}
    assert found == pytest.approx({name: scores[name] for name in found}, rel=1e-4)
    assert sorted(found.values()) == pytest.approx(sorted(scores.values())[-4:], rel=1e-4)
    assert any(near.values())


def test_new_users_are_served_by_each_kind_that_can(updated):
    for name, source in (("deep", "deep"), ("model", "fold_in"), ("near", "near")):
        lists, _ = delivered(updated, name)
        assert lists[1001]["source"] == source
        assert lists[1001]["recommendations"]


def test_models_that_cannot_serve_new_users_are_refused(updated):
    lists, events = delivered(updated, "spark")
    assert lists[1001]["source"] == "popular"
    assert any("stay unknown to spark, of kind: mllib" in event["msg"] for event in events)
    chained, _ = delivered(updated, "[spark, near]")
    assert chained[1001]["source"] == "near"


def test_users_held_out_whole_are_measured_by_folded_factors(spark, tmp_path):
    write_source(tmp_path)
    settings = ("split.method=user_holdout", "models.twin={kind: wals}", "train.refit=false")
    run_in(tmp_path, *settings, stages=("ingest", "split", "train", "evaluate"), run_id="night")
    rows = table(tmp_path, "metrics_per_user", "night")
    by_model = {
        name: {
            (row["user_id"], row["segment"], row["k"]): (row["ndcg"], row["recall"])
            for row in rows
            if row["model"] == name
        }
        for name in ("model", "twin")
    }
    assert by_model["twin"] == by_model["model"]
    assert any(ndcg for ndcg, _ in by_model["twin"].values())


def _run_of(model):
    return "by-" + model.strip("[]").replace(", ", "-")
