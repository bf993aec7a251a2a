"""What commands have in common: their options, each declared once, and how a command is registered.

A command's function takes an `Invocation`, made of the shared options, and its own parameters.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.runtime.log import JsonSink, Log, TextSink
from recsys_spark.settings import load_config


class LogFormat(StrEnum):
    """How progress is written to standard error."""

    text = "text"
    json = "json"


@dataclass(frozen=True)
class Invocation:
    """The shared options of a command, read and checked."""

    config: Config
    log: Log
    run_id: str | None = None
    day: date | None = None
    resume: bool = False
    quiet: bool = False
    debug: bool = False


class State:
    """What the error handler needs of the command that failed."""

    log = Log([])
    debug = False
    root = ""


ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file; later files override earlier ones.",
        rich_help_panel="Configuration",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one key, such as recommend.n=20.",
        rich_help_panel="Configuration",
    ),
]
Root = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        envvar="RECSYS_ROOT",
        help="Folder or URI of tables and runs (paths.root).",
        rich_help_panel="Configuration",
    ),
]
RunId = Annotated[
    str | None, typer.Option(metavar="RUN", help="Name of the run; default: date and settings.")
]
LogicalDate = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Day that the run is for, YYYY-MM-DD; default: today (UTC)."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with the latest unfinished run of these settings, whatever its day."
    ),
]
LogFormatOption = Annotated[
    LogFormat, typer.Option(help="Lines for people, or JSON.", rich_help_panel="Output")
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Only warnings and errors.", rich_help_panel="Output"),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", help="Show stack traces and Spark's messages.", rich_help_panel="Output"
    ),
]

ChangedSince = Annotated[
    str | None,
    typer.Option(
        metavar="RUN",
        help="Make new lists only for users with other interactions than in the lists of this run, "
        "or `published`; others keep theirs (recommend.changed_since).",
    ),
]

Options = dict[str, tuple[Any, Any]]
CONFIGURATION: Options = {
    "files": (ConfigFiles, None),
    "overrides": (Overrides, None),
    "root": (Root, None),
}
DEBUG: Options = {"debug": (Debug, False)}
OUTPUT: Options = {
    "log_format": (LogFormatOption, LogFormat.text),
    "quiet": (Quiet, False),
    **DEBUG,
}
NEW_RUN: Options = {"run_id": (RunId, None), "logical_date": (LogicalDate, None)}
RESUMABLE: Options = {**NEW_RUN, "resume": (Resume, False)}
LISTS: Options = {"changed_since": (ChangedSince, None)}
_KEYS = {"root": "paths.root", "changed_since": "recommend.changed_since"}  # short for --set


class _PlainFlags:
    """Flags are shown without a type."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class Command(_PlainFlags, TyperCommand):
    """A command."""


class Group(_PlainFlags, TyperGroup):
    """The program."""


def add_command(
    app: typer.Typer, name: str, panel: str, *shared: Options, help: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command that has its own parameters and the shared options."""
    options: Options = {key: option for group in shared for key, option in group.items()}

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[1:]

        def command(**given: Any) -> None:
            values = {parameter.name: given.pop(parameter.name) for parameter in own}
            function(prepare(**given), **values)

        command.__doc__ = function.__doc__
        command.__signature__ = _signature(own, options)  # type: ignore[attr-defined]
        app.command(name, cls=Command, help=help, rich_help_panel=panel)(command)
        return function

    return register


def _signature(own: list[inspect.Parameter], options: Options) -> inspect.Signature:
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, keyword, annotation=kind, default=default)
        for name, (kind, default) in options.items()
    ]
    return inspect.Signature([*(p.replace(kind=keyword) for p in own), *added])


def prepare(
    files: Sequence[Path] | None = None,
    overrides: Sequence[str] | None = None,
    run_id: str | None = None,
    logical_date: str | None = None,
    resume: bool = False,
    log_format: LogFormat = LogFormat.text,
    quiet: bool = False,
    debug: bool = False,
    **keys: str | None,
) -> Invocation:
    """Read the configuration: files, then options that stand for a key, then `--set`."""
    sink = JsonSink() if log_format is LogFormat.json else TextSink(quiet, debug)
    log = Log([sink], quiet)
    State.log, State.debug = log, debug
    own = [f"{_KEYS[name]}={value}" for name, value in keys.items() if value]
    config = load_config(files or [], [*own, *(overrides or [])])
    State.root = config.paths.root
    return Invocation(config, log, run_id, _parse_date(logical_date), resume, quiet, debug)


def stop_status(log: Log) -> None:
    """Take the moving line of a terminal away."""
    for sink in log.sinks:
        if isinstance(sink, TextSink):
            sink.stop()


def _parse_date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise ConfigError(f"--logical-date is {text!r}; write it as 2026-01-31.") from None
