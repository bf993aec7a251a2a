"""The record of runs: which stage of which run is done, made from what, and how it ended."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from recsys_spark import yaml12
from recsys_spark.errors import ExitCode
from recsys_spark.storage.store import Store
from recsys_spark.storage.tables import check_name, is_safe


@dataclass(frozen=True)
class StageRecord:
    """A finished stage. lineage: the run that made each stage up to this one.

    trial: whether it was made to be measured only, and nothing is to build on it.
    """

    stage: str
    run_id: str
    fingerprint: str
    lineage: Mapping[str, str]
    finished_at: str
    seconds: float
    summary: Mapping[str, Any]
    trial: bool = False


class Runs:
    """The folder `runs/` under the root."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def path(self, run_id: str, name: str = "") -> str:
        """A file of the run's folder, relative to the root."""
        return f"runs/{check_name('run id', run_id)}/{name}"

    def stage(self, run_id: str, stage: str) -> StageRecord | None:
        """The record of a finished stage, or None."""
        text = self.store.read(self.path(run_id, f"stages/{stage}.json"))
        return StageRecord(**json.loads(text)) if text else None

    def finish_stage(self, record: StageRecord) -> None:
        """The stage's last act: from now on it is done."""
        path = self.path(record.run_id, f"stages/{record.stage}.json")
        self.store.replace(path, json.dumps(asdict(record), indent=2))

    def finished(self, *stages: str) -> list[StageRecord]:
        """The records of a stage, or of several, in all runs, the newest first."""
        records = (self.stage(run_id, stage) for run_id in self.ids() for stage in stages)
        found = [record for record in records if record]
        return sorted(found, key=lambda r: (r.finished_at, r.run_id), reverse=True)

    def newest(self, *stages: str) -> StageRecord | None:
        """The most recently finished of these, in any run that others build on."""
        return next((record for record in self.finished(*stages) if not record.trial), None)

    def ids(self) -> list[str]:
        """The runs; other files that may lie there, such as .DS_Store, are skipped."""
        return [name for name in self.store.list("runs") if is_safe(name)]

    def status(self, run_id: str) -> dict[str, Any] | None:
        """State, stage, exit code and reason of a run, or None if it never started."""
        text = self.store.read(self.path(run_id, "_STATUS.json"))
        return json.loads(text) if text else None

    def set_status(
        self, run_id: str, state: str, stage: str, code: ExitCode | None, reason: str = ""
    ) -> None:
        """Leave the state where schedulers of cluster mode, blind to exit codes, can read it."""
        content = {
            "run_id": run_id,
            "state": state,
            "stage": stage,
            "exit_code": code,
            "reason": reason,
            "updated_at": now(),
        }
        self.store.replace(self.path(run_id, "_STATUS.json"), json.dumps(content, indent=2))

    def unfinished(self, config_hash: str) -> str | None:
        """The latest run of this configuration that started and did not finish."""
        candidates = []
        for run_id in self.ids():
            status = self.status(run_id)
            if status and status["state"] != "done" and config_hash in run_id:
                candidates.append((status["updated_at"], run_id))
        return max(candidates)[1] if candidates else None

    def write_config(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Keep the effective configuration, secrets masked."""
        text = yaml12.dump(dict(config))
        self.store.replace(self.path(run_id, "config.yaml"), text)

    def append_events(self, run_id: str, events: list[dict[str, Any]]) -> None:
        """Add log events to the run's file, which object stores can only rewrite."""
        path = self.path(run_id, "events.jsonl")
        lines = [json.dumps(event, default=str) for event in events]
        self.store.replace(path, (self.store.read(path) or "") + "\n".join(lines) + "\n")


def now() -> str:
    """The time in UTC in a form that sorts, fine enough to tell two writes of a process apart."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
