"""What a run reports arrives in MLflow, and a dead server costs seconds, never the run."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from recsys_spark.config import Tracking
from recsys_spark.errors import ConfigError, TransientError
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.tracking import NullTracker, Tracker, open_tracker, tracking_uri

DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("MAX_RETRIES", "TIMEOUT", "BACKOFF_FACTOR"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "1")  # put back what opening may set
        monkeypatch.delenv(f"MLFLOW_HTTP_REQUEST_{name}")


@pytest.fixture
def events() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def log(events: list[dict[str, Any]]) -> Log:
    return Log([events.append])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for the module: creating it is what takes time."""
    return tmp_path_factory.mktemp("tracked")


def opened(root: Path, run_id: str, log: Log) -> Tracker:
    return open_tracker(Tracking(), str(root), run_id, log)


def runs_of(root: Path, run_id: str) -> list[Any]:
    client = MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")
    experiment = client.get_experiment_by_name("recsys_spark")
    assert experiment is not None
    found = client.search_runs(
        [experiment.experiment_id], f"tags.`recsys_spark.run_id` = '{run_id}'"
    )
    return list(found)


def test_everything_arrives(root: Path, log: Log, events: list[dict[str, Any]]) -> None:
    tracker = opened(root, "night-1", log)
    tracker.params({"objective.rank": 64, "split.method": "per_user"})
    for step, loss in enumerate((9.0, 4.0)):
        tracker.metrics({"loss": loss}, step)
    tracker.metrics({"model.ndcg@10": 0.25})
    tracker.tags({"lineage.ingest": "night-1"})
    tracker.artifact("config.yaml", "paths: {root: ö}\n")
    tracker.dataset("events", "s3a://me:secret@shop/ratings.csv", "0123456789abcdef" * 4)
    tracker.finish("FINISHED")
    assert events == []

    client = MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")
    (run,) = runs_of(root, "night-1")
    assert run.info.run_name == "night-1"
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= set(run.data.tags)
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("events", ("0123456789abcdef" * 4)[:36])
    assert "shop/ratings.csv" in used.dataset.source
    assert "secret" not in used.dataset.source
    assert run.data.params == {"objective.rank": "64", "split.method": "per_user"}
    assert run.data.metrics == {"loss": 4.0, "model.ndcg_at_10": 0.25}
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 9.0), (1, 4.0)]
    assert run.data.tags["lineage.ingest"] == "night-1"
    artifact = run.info.artifact_uri.removeprefix("file://") + "/config.yaml"
    assert Path(artifact).is_relative_to(root)
    assert Path(artifact).read_text(encoding="utf-8") == "paths: {root: ö}\n"


def test_another_stage_continues_the_same_run_and_keeps_its_params(
    root: Path, log: Log, events: list[dict[str, Any]]
) -> None:
    first = opened(root, "night-2", log)
    first.params({"rank": 64})
    first.finish("RUNNING")
    second = opened(root, "night-2", log)
    second.params({"rank": 128, "k": "5, 10"})
    second.metrics({"seconds": 1.5})
    second.finish("FINISHED")
    opened(root, "night-3", log).params({"rank": 1})
    (run,) = runs_of(root, "night-2")
    assert run.data.params == {"rank": "64", "k": "5, 10"}
    assert run.data.metrics == {"seconds": 1.5}
    assert len(runs_of(root, "night-3")) == 1
    assert events == []


def test_an_experiment_that_was_there_opens_in_the_view_of_models(root: Path, log: Log) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")
    kinds = {"old": {}, "chosen": {"mlflow.experimentKind": "finetuning"}}
    for name, tags in kinds.items():
        client.create_experiment(name, tags=tags)
        open_tracker(Tracking(experiment=name), str(root), "night-1", log)
    found = [client.get_experiment_by_name(name).tags["mlflow.experimentKind"] for name in kinds]
    assert found == ["custom_model_development", "finetuning"]


def test_many_params_and_metrics_arrive(root: Path, log: Log, events: list[dict[str, Any]]) -> None:
    tracker = opened(root, "night-4", log)
    tracker.params({f"key{n}": n for n in range(150)})
    tracker.metrics({f"figure{n}": n for n in range(1100)})
    (run,) = runs_of(root, "night-4")
    assert events == []
    assert len(run.data.params) == 150
    assert len(run.data.metrics) == 1100


def test_a_dead_server_costs_seconds_and_one_warning(
    tmp_path: Path, log: Log, events: list[dict[str, Any]]
) -> None:
    started = time.monotonic()
    tracker = open_tracker(Tracking(uri=DEAD), str(tmp_path), "night-1", log)
    for step in range(20):
        tracker.metrics({"loss": 1.0}, step)
    tracker.params({"rank": 64})
    tracker.artifact("a.txt", "text")
    tracker.finish("FINISHED")
    assert time.monotonic() - started < 15
    assert [event["level"] for event in events] == ["warning"]
    assert DEAD in events[0]["msg"]


def test_a_dead_server_fails_a_run_that_requires_it(tmp_path: Path, log: Log) -> None:
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9.*tracking\.required"):
        open_tracker(Tracking(uri=DEAD, required=True), str(tmp_path), "night-1", log)


FOLDERS = ["file:/tmp/mlruns", "file:///tmp/mlruns", "File:/tmp", "mlruns", "./mlruns", "/tmp/m"]
SERVED = [
    "databricks",
    "databricks://profile",
    "databricks-uc",
    "databricks-uc://profile",
    "uc",
    "http://host:5000",
    "https://me:secret@host",
    "sqlite:///a.db",
    "postgresql://host/db",
    "mysql+pymysql://host/db",
    "dagshub://of-a-plugin",
]


@pytest.mark.parametrize("uri", FOLDERS)
def test_a_plain_folder_is_refused_in_the_configuration(uri: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///"):
        Tracking(uri=uri)


@pytest.mark.parametrize("uri", FOLDERS)
def test_a_plain_folder_in_the_environment_turns_tracking_off_with_a_warning(
    uri: str, log: Log, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tracker = open_tracker(Tracking(), "root", "night-1", log)
    assert isinstance(tracker, NullTracker)
    assert [event["level"] for event in events] == ["warning"]
    assert uri in events[0]["msg"]
    with pytest.raises(ConfigError, match=r"tracking\.required"):
        open_tracker(Tracking(required=True), "root", "night-1", log)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert tracking_uri(Tracking(), "root") == uri


@pytest.mark.parametrize("uri", SERVED)
def test_addresses_of_every_kind_are_left_to_mlflow(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(Tracking(uri=uri), "root") == uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking_uri(Tracking(), "root") == uri


@pytest.mark.parametrize("uri", ["databricks", "gopher://host"])
def test_a_store_that_mlflow_cannot_open_costs_a_warning(
    uri: str, log: Log, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("HOME", "/nowhere")  # no credentials
    open_tracker(Tracking(), "root", "night-1", log).metrics({"loss": 1.0})
    assert [event["level"] for event in events] == ["warning"]


def test_the_store_is_configured_or_the_environments_or_under_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(Tracking(), "data") == f"sqlite:///{tmp_path}/data/mlflow.db"
    assert tracking_uri(Tracking(), f"file://{tmp_path}/x") == f"sqlite:///{tmp_path}/x/mlflow.db"
    assert tracking_uri(Tracking(), "s3a://b/x") == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert tracking_uri(Tracking(), "data") == "http://environment"
    assert tracking_uri(Tracking(uri="http://configured"), "data") == "http://configured"


def test_tracking_nothing_loads_no_mlflow(
    tmp_path: Path, process_environment: dict[str, str]
) -> None:
    code = """
import sys
from recsys_spark.config import Tracking
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.tracking import open_tracker
tracker = open_tracker(Tracking(backend="none"), sys.argv[1], "night-1", Log([]))
tracker.params({"a": 1})
tracker.metrics({"loss": 1.0}, 1)
tracker.tags({"a": "b"})
tracker.artifact("a.txt", "text")
tracker.finish("FINISHED")
assert "mlflow" not in sys.modules
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, env=process_environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_tracking_nothing_accepts_everything(tmp_path: Path, log: Log) -> None:
    tracker = open_tracker(Tracking(backend="none"), str(tmp_path), "night-1", log)
    assert isinstance(tracker, NullTracker)
