"""What Spark's event log says of an interval: jobs, tasks, bytes shuffled and broadcast.

The log must be one plain file (`SETTINGS`). Times are seconds since 1970.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Event = dict[str, Any]

SETTINGS = {
    "spark.eventLog.enabled": "true",
    "spark.eventLog.rolling.enabled": "false",
    "spark.eventLog.compress": "false",
    "spark.eventLog.logBlockUpdates.enabled": "true",  # the only trace of bytes broadcast
}
_MS = 1e-3


@dataclass(frozen=True)
class Usage:
    """Of an interval. seconds: its length. task_seconds: summed over tasks, at work in executors.
    driver_seconds: in which no job ran. shuffled, broadcast: bytes written for shuffles, and bytes
    of broadcasts that executors received.
    """

    seconds: float
    jobs: int
    tasks: int
    task_seconds: float
    driver_seconds: float
    shuffled: int
    broadcast: int


def read_events(folder: Path) -> list[Event]:
    """The events of the only application that logged to a folder."""
    (file,) = folder.iterdir()
    return [json.loads(line) for line in file.read_text().splitlines()]


def usage(events: Sequence[Event], start: float, stop: float) -> Usage:
    """What happened between two moments; a job or a task counts where it ended."""
    jobs = [span for span in _jobs(events) if start < span[1] <= stop]
    ended = [e for e in events if e["Event"] == "SparkListenerTaskEnd"]
    tasks = [e for e in ended if start < e["Task Info"]["Finish Time"] * _MS <= stop]
    metrics = [task["Task Metrics"] for task in tasks if task.get("Task Metrics")]
    return Usage(
        seconds=stop - start,
        jobs=len(jobs),
        tasks=len(tasks),
        task_seconds=sum(m["Executor Run Time"] for m in metrics) * _MS,
        driver_seconds=stop - start - _covered(jobs, start),
        shuffled=sum(m["Shuffle Write Metrics"]["Shuffle Bytes Written"] for m in metrics),
        broadcast=sum(size for moment, size in _received(events) if start < moment <= stop),
    )


def _jobs(events: Iterable[Event]) -> Iterator[tuple[float, float]]:
    """When each job began and ended."""
    begun = {}
    for event in events:
        if event["Event"] == "SparkListenerJobStart":
            begun[event["Job ID"]] = event["Submission Time"] * _MS
        elif event["Event"] == "SparkListenerJobEnd":
            yield begun[event["Job ID"]], event["Completion Time"] * _MS


def _covered(spans: Iterable[tuple[float, float]], start: float) -> float:
    """Seconds in which at least one of the spans ran, from `start` on."""
    total, until = 0.0, start
    for begun, ended in sorted(spans):
        total += max(0.0, ended - max(begun, until))
        until = max(until, ended)
    return total


def _received(events: Iterable[Event]) -> Iterator[tuple[float, int]]:
    """Pieces of broadcasts that reached an executor: when, about, and bytes.

    Block updates have no time of their own: that of the event before them is taken.
    """
    now, seen = 0.0, set()
    for event in events:
        now = max(now, _moment(event))
        info = event.get("Block Updated Info")
        if info is None or info["Block Manager ID"]["Executor ID"] == "driver":
            continue
        size = info["Memory Size"] + info["Disk Size"]
        name = info["Block Manager ID"]["Executor ID"], info["Block ID"]
        if size and "_piece" in name[1] and name not in seen:
            seen.add(name)
            yield now, size


def _moment(event: Event) -> float:
    """The latest time in an event; 0 without one."""
    inner = {**event, **event.get("Task Info", {}), **event.get("Stage Info", {})}
    names = ("Submission Time", "Completion Time", "Launch Time", "Finish Time", "Timestamp")
    return max((inner[name] * _MS for name in names if inner.get(name)), default=0.0)
