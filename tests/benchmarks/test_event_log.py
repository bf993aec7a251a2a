"""What an interval of Spark's event log adds up to."""

import json

import pytest
from event_log import read_events, usage


def job(number, start, stop):
    return [
        {"Event": "SparkListenerJobStart", "Job ID": number, "Submission Time": start},
        {"Event": "SparkListenerJobEnd", "Job ID": number, "Completion Time": stop},
    ]


def task(stop, running, shuffled=0):
    return {
        "Event": "SparkListenerTaskEnd",
        "Task Info": {"Launch Time": stop - running, "Finish Time": stop},
        "Task Metrics": {
            "Executor Run Time": running,
            "Shuffle Write Metrics": {"Shuffle Bytes Written": shuffled},
        },
    }


def block(executor, name, memory=0, disk=0):
    info = {"Block Manager ID": {"Executor ID": executor}, "Block ID": name}
    info |= {"Memory Size": memory, "Disk Size": disk}
    return {"Event": "SparkListenerBlockUpdated", "Block Updated Info": info}


EVENTS = [
    *job(0, 1_000, 2_000),
    task(2_000, 900, shuffled=5),
    block("0", "broadcast_1_piece0", memory=70),  # at 2 s, of the first interval
    {"Event": "SparkListenerJobStart", "Job ID": 1, "Submission Time": 3_000},
    block("driver", "broadcast_2_piece0", memory=100),
    block("0", "broadcast_2_piece0", memory=100),
    block("0", "broadcast_2_piece0", memory=100),  # logged again
    block("1", "broadcast_2_piece0", disk=100),
    block("1", "broadcast_2", memory=9_999),  # put together from its pieces
    block("1", "broadcast_2_piece0"),  # released
    task(4_000, 800, shuffled=7),
    task(4_500, 1_200, shuffled=11),
    {"Event": "SparkListenerJobEnd", "Job ID": 1, "Completion Time": 5_000},
    *job(2, 4_500, 5_500),
    task(9_000, 100, shuffled=13),
]


def test_usage_of_an_interval():
    found = usage(EVENTS, 2.5, 6.0)
    assert found.seconds == 3.5
    assert (found.jobs, found.tasks) == (2, 2)
    assert found.task_seconds == pytest.approx(2.0)
    assert found.driver_seconds == pytest.approx(1.0)  # jobs from 3 to 5.5
    assert (found.shuffled, found.broadcast) == (18, 200)


def test_usage_of_an_interval_that_begins_inside_a_job():
    found = usage(EVENTS, 1.5, 2.5)
    assert (found.jobs, found.tasks, found.shuffled, found.broadcast) == (1, 1, 5, 70)
    assert found.driver_seconds == pytest.approx(0.5)


def test_usage_of_an_interval_without_events():
    found = usage(EVENTS, 6.0, 8.0)
    assert (found.jobs, found.tasks, found.shuffled, found.broadcast) == (0, 0, 0, 0)
    assert found.driver_seconds == found.seconds == 2.0


def test_read_events(tmp_path):
    (tmp_path / "app").write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    assert read_events(tmp_path) == EVENTS
