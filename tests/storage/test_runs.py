"""The record of runs: what is done, what is newest, how it ended."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from recsys_spark.errors import ConfigError, ExitCode
from recsys_spark.storage import runs as module
from recsys_spark.storage.runs import Runs, StageRecord
from recsys_spark.storage.store import LocalStore


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(LocalStore(tmp_path))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the second that `now` gives."""
    return lambda second: monkeypatch.setattr(
        module, "now", lambda: f"2024-01-01T00:00:{second:02}.000+00:00"
    )


def record(run_id: str, stage: str = "train", finished_at: str = "2024-01-01") -> StageRecord:
    return StageRecord(stage, run_id, "abcd", {stage: run_id}, finished_at, 1.5, {"rows": 3})


def test_a_stage_is_done_once_its_record_is_there(runs: Runs) -> None:
    assert runs.stage("night-1", "train") is None
    runs.finish_stage(record("night-1"))
    assert runs.stage("night-1", "train") == record("night-1")
    assert runs.stage("night-1", "split") is None


def test_the_newest_record_is_the_last_to_finish_not_the_last_by_name(runs: Runs) -> None:
    assert runs.newest("train") is None
    runs.finish_stage(record("night-9", finished_at="2024-01-01T00:00:00"))
    runs.finish_stage(record("night-1", finished_at="2024-01-02T00:00:00"))
    runs.finish_stage(record("night-5", "split", finished_at="2024-01-03T00:00:00"))
    assert runs.newest("train") == runs.stage("night-1", "train")
    assert runs.newest("train", "split") == runs.stage("night-5", "split")
    assert runs.newest("train", "evaluate") == runs.stage("night-1", "train")


def test_strange_files_among_the_runs_are_skipped(runs: Runs, tmp_path: Path) -> None:
    runs.finish_stage(record("night-1-abcd"))
    runs.set_status("night-1-abcd", "failed", "train", ExitCode.FAILED)
    (tmp_path / "runs" / ".DS_Store").write_text("")
    (tmp_path / "runs" / "notes abcd.txt").write_text("")
    (tmp_path / "runs" / "notes-abcd.txt").write_text("")
    assert runs.newest("train") == record("night-1-abcd")
    assert runs.unfinished("abcd") == "night-1-abcd"


def test_status_has_state_stage_code_and_reason(runs: Runs, tmp_path: Path) -> None:
    assert runs.status("night-1") is None
    runs.set_status("night-1", "failed", "ingest", ExitCode.CONTRACT, "no header")
    status = runs.status("night-1")
    assert status is not None
    assert status.pop("updated_at")
    assert status == {
        "run_id": "night-1",
        "state": "failed",
        "stage": "ingest",
        "exit_code": 3,
        "reason": "no header",
    }
    runs.set_status("night-1", "done", "publish", ExitCode.DONE)
    assert json.loads((tmp_path / "runs/night-1/_STATUS.json").read_text())["exit_code"] == 0


def test_unfinished_is_the_latest_of_the_same_configuration(
    runs: Runs, clock: Callable[[int], None]
) -> None:
    assert runs.unfinished("abcd") is None
    for second, (run_id, state) in enumerate(
        [
            ("2024-01-02-abcd", "failed"),
            ("2024-01-01-abcd", "running"),
            ("2024-01-03-abcd", "done"),
            ("2024-01-04-ffff", "failed"),
        ]
    ):
        clock(second)
        runs.set_status(run_id, state, "train", None)
    assert runs.unfinished("abcd") == "2024-01-01-abcd"
    clock(9)
    runs.set_status("2024-01-01-abcd", "done", "publish", ExitCode.DONE)
    assert runs.unfinished("abcd") == "2024-01-02-abcd"
    assert runs.unfinished("0000") is None


def test_events_are_appended_in_order(runs: Runs, tmp_path: Path) -> None:
    runs.append_events("night-1", [{"msg": "one"}, {"msg": "two", "path": Path("x")}])
    runs.append_events("night-1", [{"msg": "ärger"}])
    lines = (tmp_path / "runs/night-1/events.jsonl").read_text().splitlines()
    assert [json.loads(line)["msg"] for line in lines] == ["one", "two", "ärger"]


def test_the_configuration_is_kept_as_yaml(runs: Runs, tmp_path: Path) -> None:
    content = {"paths": {"root": "ö"}, "evaluate": {"k": [5, 10]}}
    runs.write_config("night-1", content)
    assert yaml.safe_load((tmp_path / "runs/night-1/config.yaml").read_text()) == content


def test_unsafe_run_ids_are_refused(runs: Runs) -> None:
    for run_id in ("../up", "a/b", "", ".hidden"):
        with pytest.raises(ConfigError, match="run id"):
            runs.path(run_id)


def test_now_is_in_utc_and_sorts() -> None:
    first, second = module.now(), module.now()
    assert first < second
    assert first.endswith("+00:00")
    assert len(first) == len("2024-01-01T00:00:00.000000+00:00")
