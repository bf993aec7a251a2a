"""Stages wired together: splits, subsets, items, objectives, resuming, and dead servers."""

import gzip
import json
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.kernels.metrics.ranking import METRICS as RANKING_METRICS
from recsys_spark.pipeline import runner
from recsys_spark.pipeline.stage_graph import STAGES
from tests.pipeline.pipeline_runs import run_in, write_source


@pytest.fixture(scope="module")
def night_run(spark, tmp_path_factory, quick_figures):
    """A complete run with names, tracking, a secret and figures, for tests that only look."""
    quick_figures.undo()
    folder = tmp_path_factory.mktemp("night")
    write_source(folder)
    names = (f'{i},"Film, {i}",Drama|War\n' for i in range(1, 26))
    (folder / "items.csv").write_text("item_id,title,genres\n" + "".join(names))
    before = spark.sparkContext._jsc.getPersistentRDDs().size()
    outcome = run_in(
        folder,
        f"items.path={folder / 'items.csv'}",
        "items.columns.genres=genres",
        "evaluate.baselines=[popularity, recent_popularity, random, item_knn, user_knn, mllib]",
        "recommend.n=25",
        "tracking.backend=mlflow",
        "spark.conf.spark.my.password=hunter2",
        run_id="night",
    )
    left = spark.sparkContext._jsc.getPersistentRDDs().size() - before
    return SimpleNamespace(outcome=outcome, root=folder / "root", persisted=left)


@pytest.fixture
def table(tmp_path):
    def read(name, run_id):
        return pq.read_table(tmp_path / "root" / "tables" / name / "versions" / run_id)

    return read


@pytest.mark.parametrize(
    "settings",
    [
        ["split.method=random"],
        ["split.method=leave_last_out", "split.validation_last=1"],
        ["split.method=global_time", "split.validation_fraction=0.1"],
        ["split.method=time_window", "split.train_until=2020-09-13 17:00", "split.test_days=0.1"],
        ["split.method=k_fold", "split.folds=3", "split.fold=2"],
        ["split.method=user_holdout", "split.test_fraction=0.3"],
        ["split.drop_cold=true"],
    ],
    ids=lambda settings: settings[0],
)
def test_every_split_runs_through_to_metrics(run, settings):
    outcome = run(*settings, stages=STAGES[:4])
    rows = outcome.records["evaluate"].summary["metrics"]
    assert {row["model"] for row in rows} == {"model", "popularity"}
    assert all(0 <= row["value"] <= 1 for row in rows if row["metric"] in RANKING_METRICS)
    split = outcome.records["split"].summary
    ingested = outcome.records["ingest"].summary["interactions"]
    assert sum(split["rows"].values()) + split["dropped"] + split["unused"] == ingested


@pytest.mark.parametrize("preset", ["hu2008", "mllib", "explicit"])
def test_every_preset_runs_and_its_loss_falls(run, preset):
    outcome = run(f"objective.preset={preset}", "objective.iterations=3", stages=STAGES[:4])
    losses = [row["total"] for row in outcome.records["train"].summary["losses"]]
    assert losses == sorted(losses, reverse=True)
    names = {row["metric"] for row in outcome.records["evaluate"].summary["metrics"]}
    assert ("rmse" in names) == (preset == "explicit")
    ingested, said = (outcome.records[stage].summary for stage in ("ingest", "train"))
    assert said["values"].startswith("values 1 to 5 are used: confidence = ")
    stars = {low: count for low, _, count in ingested["histograms"]["values"]}
    assert list(stars) == [1, 2, 3, 4, 5]
    assert sum(stars.values()) == ingested["interactions"]


def test_values_that_training_does_not_use_are_reported(run):
    outcome = run(stages=STAGES[:3])
    rows = outcome.records["ingest"].summary["interactions"]
    said = f"values 1 to 5 are not used: each of {rows:,} rows counts as a like; "
    assert outcome.records["train"].summary["values"].startswith(said)


def test_a_source_that_is_cut_off_ends_in_words(run, source):
    packed = gzip.compress(source.read_bytes() * 200)
    path = source.with_name("ratings.csv.gz")
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ContractError, match=r"ratings\.csv\.gz cannot be read to its end"):
        run(f"ingest.source.path={path}", stages=["ingest"])


def test_events_are_weighed_by_their_type_before_they_are_combined(run, table, tmp_path):
    events = ["1,7,view", "1,7,view", "1,7,cart", "2,7,buy", "2,8,refund"]
    (tmp_path / "events.csv").write_text("user_id,item_id,kind\n" + "\n".join(events))
    outcome = run(
        f"ingest.source.path={tmp_path / 'events.csv'}",
        "ingest.source.columns={value: null, timestamp: null, event: kind}",
        "ingest.event_weights={view: 1, cart: 3, buy: 10}",
        "ingest.duplicates=sum",
        "ingest.thresholds.max_rejected_fraction=0.5",
        stages=["ingest"],
    )
    rows = table("interactions", outcome.run_id).to_pylist()
    found = {(row["user_id"], row["item_id"]): row["value"] for row in rows}
    assert found == {(1, "7"): 5.0, (2, "7"): 10.0}
    assert outcome.records["ingest"].summary["reasons"] == {"unknown_event": 1}


@pytest.mark.parametrize("w0", [1, 1000])
def test_a_weight_ratio_far_off_is_warned_about_before_training(run, tmp_path, w0):
    outcome = run(f"objective.unobserved_weight={w0}", stages=STAGES[:3])
    summary = outcome.records["train"].summary
    events = (tmp_path / "root/runs" / outcome.run_id / "events.jsonl").read_text().splitlines()
    warnings = [e["msg"] for e in map(json.loads, events) if e["level"] == "warning"]
    if w0 == 1:
        assert 0.3 < summary["weight_ratio"] < 1  # half of the cells are training rows
        assert warnings == []
    else:
        assert "lower objective.unobserved_weight" in warnings[0]


def test_a_subset_of_users_gets_lists_and_strangers_the_popular_one(run, table, tmp_path):
    subset = tmp_path / "users.csv"
    subset.write_text("user_id\n3\n4\n999\n")
    outcome = run(f"recommend.users.path={subset}", "recommend.n=3")
    rows = table("recommendations", outcome.run_id).to_pylist()
    assert {row["user_id"]: row["source"] for row in rows} == {
        3: "model",
        4: "model",
        999: "popular",
    }
    assert {len(row["recommendations"]) for row in rows} == {3}


def test_ids_keep_their_index_in_the_next_run(run, table, source):
    first = run(stages=("ingest",), run_id="monday")
    with source.open("a") as file:
        file.write("1000,77,5,1600000000\n")
    run(stages=("ingest",), run_id="tuesday")
    assert first.run_id == "monday"
    before, after = (
        {row["id"]: row["index"] for row in table("user_ids", name).to_pylist()}
        for name in ("monday", "tuesday")
    )
    assert after == {**before, 1000: len(before)}


def test_the_id_type_of_a_root_cannot_change(run):
    run(stages=("ingest",))
    with pytest.raises(Exception, match="user_id_type"):
        run("ingest.source.user_id_type=string", stages=("ingest",), run_id="other")


def test_a_killed_run_is_resumed_where_it_stopped(run, monkeypatch, tmp_path):
    def die(_run):
        raise KeyboardInterrupt

    monkeypatch.setitem(runner._FUNCTIONS, "evaluate", die)
    with pytest.raises(KeyboardInterrupt):
        run()
    (folder,) = (tmp_path / "root" / "runs").iterdir()
    assert json.loads((folder / "_STATUS.json").read_text())["state"] == "killed"
    monkeypatch.undo()
    trained = (folder / "stages" / "train.json").read_text()
    outcome = run(resume=True)
    assert outcome.run_id == folder.name
    assert (folder / "stages" / "train.json").read_text() == trained
    assert set(outcome.records) == set(STAGES) - {"refit"}


def test_tables_are_unpublished_before_publish(run, tmp_path):
    run(stages=STAGES[:6])
    assert not list((tmp_path / "root" / "tables").rglob("CURRENT.json"))


def test_a_dead_tracking_server_does_not_fail_the_run(run):
    outcome = run("tracking.backend=mlflow", "tracking.uri=http://127.0.0.1:9", stages=("ingest",))
    assert outcome.records["ingest"].summary["interactions"]


def test_unsafe_run_ids_are_refused(run):
    with pytest.raises(ConfigError, match="run id"):
        run(stages=("ingest",), run_id="../elsewhere")


def test_seen_items_are_not_recommended(night_run):
    tables = night_run.root / "tables"
    interactions = pq.read_table(tables / "interactions/versions/night").to_pylist()
    rows = pq.read_table(tables / "recommendations/versions/night").to_pylist()
    listed = [(r["user_id"], e["item_id"]) for r in rows for e in r["recommendations"]]
    assert listed
    assert not {(r["user_id"], r["item_id"]) for r in interactions} & set(listed)
    assert len(set(listed)) == len(listed)


def test_titles_and_genres_are_kept_and_shown_in_the_sample(night_run):
    items = pq.read_table(night_run.root / "tables/items/versions/night").to_pylist()
    assert items[0]["genres"] == ["Drama", "War"]
    sample = night_run.outcome.records["recommend"].summary["sample"]
    assert all(t.startswith("Film, ") and "[Drama, War]" in t for u in sample for t in u["items"])


def test_scratch_and_persisted_frames_are_dropped(night_run):
    assert night_run.persisted == 0
    assert not list((night_run.root / "runs").rglob("scratch"))


def test_the_run_is_mirrored_to_mlflow(night_run):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{night_run.root}/mlflow.db")
    experiment = client.get_experiment_by_name("recsys_spark")
    (mirrored,) = client.search_runs([experiment.experiment_id])
    assert mirrored.data.tags["recsys_spark.run_id"] == "night"
    assert mirrored.info.status == "FINISHED"
    assert mirrored.info.end_time > mirrored.info.start_time
    assert mirrored.data.params["rank"] == "4"
    assert {"objective.iterations", "ingest.source.path"} <= set(mirrored.data.params)
    (used,) = mirrored.inputs.dataset_inputs
    assert (used.dataset.name, len(used.dataset.digest) > 0) == ("events", True)
    measured = {name for name in mirrored.data.metrics if "ndcg" in name or "model." in name}
    assert "model.ndcg_at_5" in measured
    assert len(measured) < 20, "the rest is in the table of metrics"
    assert len(client.get_metric_history(mirrored.info.run_id, "loss.total")) == 2
    names = {artifact.path for artifact in client.list_artifacts(mirrored.info.run_id)}
    assert {"report.html", "config.yaml", "metrics.json", "metrics.csv", "figures"} <= names
    figures = client.list_artifacts(mirrored.info.run_id, "figures")
    assert {artifact.path for artifact in figures} >= {"figures/ndcg.svg", "figures/loss.svg"}


def test_secrets_stay_out_of_everything_written(night_run):
    for path in night_run.root.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path


def test_the_report_is_one_page_with_figures_and_lists(night_run):
    page = (night_run.root / "runs/night/report.html").read_text()
    assert page.count("<svg") == page.count("<figcaption>") == 12
    assert "Film, " in page
    assert "first 5, with 95 % intervals" in page
    for outside in ("src=", "<link", "<script", "@import", 'xlink:href="http'):
        assert outside not in page
