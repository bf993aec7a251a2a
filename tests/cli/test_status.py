"""What `status` says of a root: sizes, ages, the metric, and what is newer than published."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys_spark.cli import main
from recsys_spark.cli.status import _ago, _size, read_status
from recsys_spark.errors import ExitCode
from recsys_spark.storage.local import local_tables
from recsys_spark.storage.runs import Runs, StageRecord
from recsys_spark.storage.tables import Manifest

NDCG = {"model": "model", "metric": "ndcg", "k": 10, "split": "test", "users": 40, "value": 0.25}
SUMMARIES = {
    "ingest": {"interactions": 1200},
    "train": {"preset": "ials"},
    "evaluate": {
        "k": 10,
        "split": "test",
        "metrics": [NDCG | {"model": "popularity", "value": 0.9}, NDCG | {"k": 5}, NDCG],
    },
    "recommend": {"users": 40},
}


def finish(root: Path, run_id: str, stage: str, ago: int, **lineage: str) -> None:
    """The record of a stage that finished so many seconds ago."""
    when = datetime.now(UTC) - timedelta(seconds=ago)
    made = {**lineage, stage: run_id}
    record = StageRecord(
        stage, run_id, f"{stage}-{run_id}", made, when.isoformat(), 1.0, SUMMARIES[stage]
    )
    Runs(local_tables(str(root)).store).finish_stage(record)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a published run and one that failed behind a newer ingest."""
    tables = local_tables(str(tmp_path))
    created = (datetime.now(UTC) - timedelta(hours=3)).isoformat(timespec="seconds")
    for table, version in (("recommendations", "night"), ("user_factors", "night.refit")):
        manifest = Manifest(table, version, 40, 2, 123_456, "{}", "", {}, "0.1.0", created)
        path = f"{tables.path(table, version)}/_manifest.json"
        tables.store.replace(path, json.dumps(asdict(manifest)))
        tables.activate(table, version)
    tables.store.replace("tables/checkpoints/versions/x/part", "")
    lineage = {"ingest": "night", "train": "night"}
    for ago, stage in ((400, "ingest"), (300, "train"), (200, "evaluate"), (100, "recommend")):
        finish(tmp_path, "night", stage, ago, **lineage)
    finish(tmp_path, "today", "ingest", 50)
    runs = Runs(tables.store)
    runs.set_status("night", "done", "publish", ExitCode.DONE)
    runs.set_status("today", "failed", "fold_in", ExitCode.FAILED, "no room left")
    return tmp_path


def test_status_has_sizes_ages_the_metric_and_what_is_newer(root: Path) -> None:
    found = read_status(local_tables(str(root)))
    published = found["published"]
    assert (published["run_id"], published["lists"]) == ("night", 40)
    assert 0 <= published["age_seconds"] < 60
    metric = published["metric"]
    assert (metric["metric"], metric["k"], metric["model"]) == ("ndcg", 10, "model")
    assert (metric["value"], metric["run_id"]) == (0.25, "night")
    assert [later["text"].split(", read")[0] for later in found["newer"]] == [
        "ingest of run today, 1,200 interactions"
    ]
    tables = {row["table"]: row for row in found["tables"]}
    assert tables["checkpoints"] == {"table": "checkpoints", "version": None}
    assert tables["user_factors"]["version"] == "night.refit"
    assert (tables["recommendations"]["rows"], tables["recommendations"]["bytes"]) == (40, 123_456)
    assert tables["recommendations"]["age_seconds"] == pytest.approx(3 * 3600, abs=60)
    today, night = found["runs"]
    assert (today["run_id"], today["state"], today["metric"]) == ("today", "failed", None)
    assert (night["bytes"], night["metric"]["value"]) == (2 * 123_456, 0.25)


def test_status_is_printed_for_people_and_for_programs(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["status", "--root", str(root)]
    assert main(words) == 0
    text = capsys.readouterr().out
    for part in (
        "Published: 40 lists of run night",
        "ndcg@10 0.2500",
        "Newer, not published: ingest of run today, 1,200 interactions",
        "123.5 kB",
        "3 hours ago",
        "no room left",
        "not published",
    ):
        assert part in text
    assert main([*words, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["published"]["run_id"] == "night"


def test_status_of_an_empty_root_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--root", str(tmp_path / "root")]) == 0
    assert "start with `recsys-spark run`" in capsys.readouterr().out
    assert main(["status", "--root", str(tmp_path / "root"), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["published"], found["tables"], found["runs"]) == (None, [], [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (10**16, "10000.0 TB")],
)
def test_sizes_for_people(number: int, text: str) -> None:
    assert _size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s ago"), (119, "119 s ago"), (120, "2 minutes ago"), (7200, "2 hours ago"),
     (3 * 86_400, "3 days ago")],
)  # fmt: skip
def test_ages_for_people(seconds: int, text: str) -> None:
    assert _ago(seconds) == text
