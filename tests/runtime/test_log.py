"""Events for machines and for people, and nothing on standard output."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from recsys_spark.runtime.log import JsonSink, Log, Moving, TextSink

FIELDS = {"ts", "level", "logger", "msg", "context"}


def say_everything(log: Log) -> None:
    log.debug("a detail")
    log.progress("half way")
    log.info("done")
    log.warning("look here")


def test_json_lines_have_sparks_field_names(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log([JsonSink()])
    log.context["run_id"] = "night-1"
    with log.bound(stage="train"):
        log.info('a "quoted"\nmessage', sweep=3, path=Path("x"))
    log.warning("after")
    out, err = capsys.readouterr()
    assert out == ""
    first, second = (json.loads(line) for line in err.splitlines())
    assert set(first) == FIELDS
    assert (first["level"], first["logger"]) == ("info", "recsys_spark")
    assert first["msg"] == 'a "quoted"\nmessage'
    assert first["context"] == {"run_id": "night-1", "stage": "train", "sweep": 3, "path": "x"}
    assert second["context"] == {"run_id": "night-1"}


def test_context_ends_with_its_block_even_after_an_error() -> None:
    events: list[dict[str, Any]] = []
    log = Log([events.append])

    def fail() -> None:
        with log.bound(stage="train"), log.bound(sweep=1):
            log.info("inside")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    log.info("outside")
    assert [event["context"] for event in events] == [{"stage": "train", "sweep": 1}, {}]


def test_every_sink_hears_every_event() -> None:
    one: list[dict[str, Any]] = []
    two: list[dict[str, Any]] = []
    say_everything(Log([one.append, two.append]))
    assert one == two
    assert [event["level"] for event in one] == ["debug", "progress", "info", "warning"]


@pytest.mark.parametrize(
    ("quiet", "debug", "shown"),
    [
        (False, False, ["half way", "done", "look here"]),
        (True, False, ["look here"]),
        (False, True, ["a detail", "half way", "done", "look here"]),
    ],
)
def test_text_shows_what_was_asked_for(
    capsys: pytest.CaptureFixture[str], quiet: bool, debug: bool, shown: list[str]
) -> None:
    say_everything(Log([TextSink(quiet=quiet, debug=debug)]))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.strip() for line in err.splitlines()] == shown


def test_text_off_a_terminal_is_plain_and_one_line_an_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = Log([TextSink(quiet=False, debug=False)])
    message = "rows [bold]as they are[/] " + "and more words " * 20 + "the end"
    with log.bound(stage="ingest"):
        log.info(message)
        log.progress("50% of it")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["ingest", message],
        ["ingest", "50% of it"],
    ]


def test_moving_line_shows_how_long_the_stage_has_worked() -> None:
    assert Moving("train  iteration 3", time.monotonic() - 75).__rich__().plain.endswith("  1:15")
