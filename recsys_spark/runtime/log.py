"""One stream of events, shown to people or machines and kept with the run.

Events go to standard error, so that standard output carries results alone. Field names are those
of Spark's structured logs: ts, level, logger, msg, context.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.text import Text

from recsys_spark.storage.runs import now

Event = dict[str, Any]
Sink = Callable[[Event], None]
LogFormat = Literal["text", "json"]
_COLOURS = {"warning": "yellow", "error": "red"}


class Log:
    """Where stages say what happened; `context` (run id, stage) is added to every event.

    quiet: whether only warnings and errors are wanted, of Spark as well.
    """

    def __init__(self, sinks: list[Sink], quiet: bool = False) -> None:
        self.sinks, self.quiet = sinks, quiet
        self.context: dict[str, Any] = {}

    def info(self, message: str, **context: Any) -> None:
        """Something happened that a person wants to see."""
        self._emit("info", message, context)

    def warning(self, message: str, **context: Any) -> None:
        """Something that deserves a look, though work goes on."""
        self._emit("warning", message, context)

    def progress(self, message: str, **context: Any) -> None:
        """A step of long work: replaces the previous one on a terminal, a line elsewhere."""
        self._emit("progress", message, context)

    def debug(self, message: str, **context: Any) -> None:
        """Detail for the log file, such as a stack trace."""
        self._emit("debug", message, context)

    @contextmanager
    def bound(self, **context: Any) -> Iterator[None]:
        """Add the context to every event inside."""
        before = dict(self.context)
        self.context |= context
        try:
            yield
        finally:
            self.context = before

    def _emit(self, level: str, message: str, context: Mapping[str, Any]) -> None:
        event = {
            "ts": now(),
            "level": level,
            "logger": "recsys_spark",
            "msg": message,
            "context": {**self.context, **context},
        }
        for sink in self.sinks:
            sink(event)


class JsonSink:
    """A JSON object a line on standard error."""

    def __call__(self, event: Event) -> None:
        print(json.dumps(event, default=str), file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Moving:
    """What a stage does, and for how long the stage has been at work."""

    text: str
    since: float

    def __rich__(self) -> Text:
        minutes, seconds = divmod(int(time.monotonic() - self.since), 60)
        return Text(f"{self.text}  {minutes}:{seconds:02}")


class TextSink:
    """Lines for people; on a terminal a moving last line while a stage works."""

    def __init__(self, quiet: bool, debug: bool) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.hidden = {"info", "progress"} if quiet else set()
        self.hidden |= set() if debug else {"debug"}
        self._status: Status | None = None
        self._begun = ("", 0.0)

    def __call__(self, event: Event) -> None:
        if event["level"] in self.hidden:
            return
        stage = event["context"].get("stage", "")
        if event["level"] == "progress" and self.console.is_terminal:
            self._move(stage, f"{stage:<9} {event['msg']}")
            return
        self.stop()
        colour = _COLOURS.get(event["level"], "default")
        text = f"[bold]{stage:<9}[/] [{colour}]{escape(event['msg'])}[/]"
        self.console.print(text, soft_wrap=True)

    def _move(self, stage: str, text: str) -> None:
        if self._begun[0] != stage or not self._begun[1]:
            self._begun = (stage, time.monotonic())
        moving = Moving(text, self._begun[1])
        if self._status is None:
            self._status = self.console.status(moving)
            self._status.start()
        self._status.update(moving)

    def stop(self) -> None:
        """Take the moving line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None
