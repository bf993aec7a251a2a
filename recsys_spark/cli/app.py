"""`recsys-spark`: one command a stage, and a few to look around."""

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

import recsys_spark
from recsys_spark.config import Config, mask
from recsys_spark.errors import ConfigError, ExitCode, RecsysError
from recsys_spark.runtime.log import JsonSink, Log, TextSink
from recsys_spark.settings import documented_defaults, load_config

app = typer.Typer(
    name="recsys-spark",
    help="Raw user-item events in, a checked table of per-user top-N recommendations out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class LogFormat(StrEnum):
    """How progress is written to standard error."""

    text = "text"
    json = "json"


class ShowFormat(StrEnum):
    """How rows are written to standard output."""

    table = "table"
    json = "json"
    csv = "csv"


class ExportForm(StrEnum):
    """What lists are written as."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"
    sqlite = "sqlite"
    postgres = "postgres"
    redis = "redis"


ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", help="Configuration file; later files override earlier ones."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override one key: key.path=value.")
]
RunId = Annotated[str | None, typer.Option(help="Name of the run; default: date and settings.")]
LogicalDate = Annotated[
    str | None, typer.Option(help="Day that the run is for, YYYY-MM-DD; default: today (UTC).")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with the latest unfinished run of these settings, whatever its day."
    ),
]
LogFormatOption = Annotated[LogFormat, typer.Option(help="Lines for people, or JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show stack traces and Spark's messages.")]

_STAGE_HELP = {
    "ingest": "Check the source's rows, index the ids, write interactions and rejects.",
    "split": "Choose the rows to train on, to validate and to test.",
    "train": "Train the factors of users and items.",
    "evaluate": "Measure the model and the baselines on the held-out rows.",
    "fold-in": "Give users who came after training their factors, for recommend to use.",
    "recommend": "Write every user's top-N list.",
    "publish": "Let readers see the run's tables.",
    "run": "All stages in order, in one session.",
}
_REPEATED_HELP = {
    "tune": "Search the objective's settings (keys under tune); trials made before are not made "
    "again.",
    "backtest": "Train and evaluate on several splits, by time or in folds (keys under backtest).",
}


@dataclass(frozen=True)
class _Invocation:
    config: Config
    log: Log


def _prepare(
    files: list[Path] | None,
    overrides: list[str] | None,
    log_format: LogFormat = LogFormat.text,
    quiet: bool = False,
    debug: bool = False,
) -> _Invocation:
    sink = JsonSink() if log_format is LogFormat.json else TextSink(quiet, debug)
    log = Log([sink])
    _State.log, _State.debug = log, debug
    config = load_config(files or [], overrides or [])
    _State.root = config.paths.root
    return _Invocation(config, log)


class _State:
    """What the error handler needs of the command that failed."""

    log = Log([])
    debug = False
    root = ""


def _add_stage_command(name: str) -> None:
    @app.command(name, help=_STAGE_HELP[name])
    def command(
        config: ConfigFiles = None,
        set_: Overrides = None,
        run_id: RunId = None,
        logical_date: LogicalDate = None,
        resume: Resume = False,
        log_format: LogFormatOption = LogFormat.text,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        call = _prepare(config, set_, log_format, quiet, debug)
        _do_stages(name, call, run_id, logical_date, resume, quiet, debug)


def _do_stages(
    name: str,
    call: _Invocation,
    run_id: str | None,
    logical_date: str | None,
    resume: bool,
    quiet: bool,
    debug: bool,
) -> None:
    day = _parse_date(logical_date)
    # Heavy imports wait until the configuration is known to be right.
    from recsys_spark.cli.summary import print_summary
    from recsys_spark.pipeline.night import Options, run_stages
    from recsys_spark.pipeline.run import STAGES

    stages = STAGES if name == "run" else (name.replace("-", "_"),)
    options = Options(run_id, day, resume, debug)
    outcome = run_stages(call.config, stages, options, call.log)
    _stop_status(call.log)
    if outcome.unchanged:
        call.log.info(f"run {outcome.run_id} was finished before; nothing was changed")
    if not quiet:
        print_summary(outcome, call.config)


def _add_recommend_command(name: str) -> None:
    @app.command(name, help=_STAGE_HELP[name])
    def command(
        changed_since: Annotated[
            str | None,
            typer.Option(
                help="Make new lists only for users with other interactions than in the lists of "
                "this run, or `published`; others keep theirs (recommend.changed_since)."
            ),
        ] = None,
        config: ConfigFiles = None,
        set_: Overrides = None,
        run_id: RunId = None,
        logical_date: LogicalDate = None,
        resume: Resume = False,
        log_format: LogFormatOption = LogFormat.text,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        own = [] if changed_since is None else [f"recommend.changed_since={changed_since}"]
        call = _prepare(config, [*(set_ or []), *own], log_format, quiet, debug)
        _do_stages(name, call, run_id, logical_date, resume, quiet, debug)


def _stop_status(log: Log) -> None:
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


for _name in _STAGE_HELP:
    (_add_recommend_command if _name == "recommend" else _add_stage_command)(_name)


def _add_repeated_command(name: str) -> None:
    @app.command(name, help=_REPEATED_HELP[name])
    def command(
        config: ConfigFiles = None,
        set_: Overrides = None,
        run_id: RunId = None,
        logical_date: LogicalDate = None,
        log_format: LogFormatOption = LogFormat.text,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        call = _prepare(config, set_, log_format, quiet, debug)
        day = _parse_date(logical_date)
        from recsys_spark.cli.repeated import repeat
        from recsys_spark.pipeline.night import Options

        tell = repeat(name, call.config, Options(run_id, day, debug=debug), call.log)
        _stop_status(call.log)
        if not quiet:
            tell()


for _name in _REPEATED_HELP:
    _add_repeated_command(_name)


@app.command()
def generate(
    config: ConfigFiles = None,
    set_: Overrides = None,
    log_format: LogFormatOption = LogFormat.text,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a synthetic data set with planted tastes (keys under generate)."""
    call = _prepare(config, set_, log_format, quiet, debug)
    from recsys_spark.pipeline.generate import generate as make
    from recsys_spark.pipeline.night import session

    with call.log.bound(stage="generate"), session(call.config, call.log, debug) as spark:
        folders = make(spark, call.config, call.log)
    _stop_status(call.log)
    if not quiet:
        for part, folder in folders.items():
            print(f"{part:<12} {folder}")


@app.command()
def show(
    table: Annotated[str, typer.Argument(help="Name of the table, such as recommendations.")],
    user: Annotated[list[str] | None, typer.Option(help="Only this user; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows of the table.")] = 10,
    format_: Annotated[ShowFormat, typer.Option("--format", help="Form.")] = ShowFormat.table,
    run_id: Annotated[str | None, typer.Option(help="This version, not the current one.")] = None,
    config: ConfigFiles = None,
    set_: Overrides = None,
) -> None:
    """Print rows of a table's current version."""
    call = _prepare(config, set_)
    from recsys_spark.cli.show import show_table

    users = user or []
    wanted = max(limit, len(users)) if users else limit
    print(show_table(call.config, call.log, table, run_id, users, wanted, format_.value))


@app.command()
def path(
    table: Annotated[str, typer.Argument(help="Name of the table, such as recommendations.")],
    run_id: Annotated[str | None, typer.Option(help="This version, not the current one.")] = None,
    config: ConfigFiles = None,
    set_: Overrides = None,
) -> None:
    """Print the folder of a table's current version, and nothing else."""
    call = _prepare(config, set_, quiet=True)
    from recsys_spark.cli.show import table_path

    print(table_path(call.config, call.log, table, run_id))


@app.command()
def export(
    form: Annotated[ExportForm, typer.Argument(help="Form of the files, or kind of the store.")],
    target: Annotated[
        str,
        typer.Argument(
            help="Folder or URI (files), file (sqlite), URL (postgres, redis), or env:NAME of a "
            "variable that holds it."
        ),
    ],
    table: Annotated[
        str, typer.Option(help="recommendations or another table of lists, such as similar_items.")
    ] = ("recommendations"),
    run_id: Annotated[str | None, typer.Option(help="This version, not the current one.")] = None,
    connections: Annotated[
        int, typer.Option(min=1, help="Connections of executors at once (postgres, redis).")
    ] = 8,
    prefix: Annotated[str, typer.Option(help="What keys begin with (redis).")] = "recsys",
    ttl_days: Annotated[int, typer.Option(min=1, help="Days until keys end (redis).")] = 7,
    config: ConfigFiles = None,
    set_: Overrides = None,
) -> None:
    """Deliver a table of lists to other systems; a repeated command does nothing."""
    call = _prepare(config, set_)
    from recsys_spark.pipeline.export import export_lists
    from recsys_spark.runtime.delivery import Options

    options = Options(connections, prefix, ttl_days)
    made = export_lists(call.config, call.log, table, form.value, target, run_id, options)
    _stop_status(call.log)
    state = "were there already" if made.unchanged else f"written in {made.seconds:.1f} s"
    print(f"{made.lists:,} lists of {table}, run {made.run_id}, {state}: {made.place}")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8080,
    run_id: Annotated[str | None, typer.Option(help="This version, not the current one.")] = None,
    config: ConfigFiles = None,
    set_: Overrides = None,
    debug: Debug = False,
) -> None:
    """Show users' history and lists on a local web page, until Ctrl-C."""
    call = _prepare(config, set_, debug=debug)
    from recsys_spark.cli.serve import serve_tables

    serve_tables(call.config, call.log, host, port, run_id)


@app.command()
def compare(
    one: Annotated[str, typer.Argument(help="A run id, as `recsys-spark status` lists them.")],
    other: Annotated[
        str | None, typer.Argument(help="Another; default: the same, for another model of it.")
    ] = None,
    model: Annotated[str, typer.Option(help="Which model of the first run.")] = "model",
    other_model: Annotated[str, typer.Option(help="Which model of the other.")] = "model",
    format_: Annotated[ShowFormat, typer.Option("--format", help="Form.")] = ShowFormat.table,
    config: ConfigFiles = None,
    set_: Overrides = None,
) -> None:
    """Compare two runs, or two models of one, user by user, with paired tests."""
    call = _prepare(config, set_)
    from recsys_spark.cli.comparing import render_comparison
    from recsys_spark.pipeline.compare import Side, compare_runs

    sides = Side(one, model), Side(other or one, other_model)
    if sides[0] == sides[1]:
        raise ConfigError("Both are the same model of the same run: name another run or model.")
    rows = compare_runs(call.config, call.log, *sides)
    _stop_status(call.log)
    print(render_comparison(rows, *sides, format_.value))


@app.command()
def status(config: ConfigFiles = None, set_: Overrides = None) -> None:
    """Print what is published and how the latest runs ended."""
    call = _prepare(config, set_)
    from recsys_spark.cli.show import runs_text

    print(runs_text(call.config, call.log))


@app.command("config")
def config_command(
    config: ConfigFiles = None,
    set_: Overrides = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Every key with its default and meaning.")
    ] = False,
) -> None:
    """Print the effective configuration, secrets masked."""
    if defaults:
        print(documented_defaults(), end="")
        return
    call = _prepare(config, set_)
    print(yaml.safe_dump(call.config.masked(), sort_keys=False, allow_unicode=True), end="")


@app.command()
def doctor(
    config: ConfigFiles = None,
    set_: Overrides = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="What training would need of memory, without training.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Check Java, Python, packages, BLAS and memory, on the driver and on the executors."""
    call = _prepare(config, set_, debug=debug)
    from recsys_spark.cli.diagnosis import diagnose, show_plan

    if plan:
        show_plan(call.config, call.log)
        return
    problems = diagnose(call.config, call.log)
    if problems:
        raise RecsysError("\n".join(problems))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"recsys-spark {recsys_spark.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors become one readable paragraph."""
    command: Any = typer.main.get_command(app)
    return _guarded(
        lambda: command.main(args=argv, prog_name="recsys-spark", standalone_mode=False)
    )


def _guarded(call: Callable[[], object]) -> int:
    try:
        result = call()
        return result if isinstance(result, int) else ExitCode.DONE
    except RecsysError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("Interrupted; a started run is kept as killed and can be resumed.", 130)
    except Exception as error:
        if hasattr(error, "format_message"):  # the argument parser's usage errors
            return _fail(f"{error.format_message()} (--help shows the usage)", 2)
        return _unexpected(error)


def _fail(text: str, code: int) -> int:
    message = str(mask(text))
    _stop_status(_State.log)
    if any(isinstance(sink, JsonSink) for sink in _State.log.sinks):
        _State.log._emit("error", message, {"exit_code": int(code)})
    else:
        Console(stderr=True, highlight=False).print(
            f"[bold red]error[/] [default]{_escaped(message)}[/]", soft_wrap=True
        )
    if _State.debug:
        traceback.print_exc()
    return int(code)


def _escaped(message: str) -> str:
    from rich.markup import escape

    return escape(message)


def _unexpected(error: Exception) -> int:
    from recsys_spark.runtime.failures import describe, keep_trace

    message, code = describe(error)
    where = keep_trace(_State.root)
    hint = f" The stack trace is in {where}." if where else ""
    return _fail(f"{message}{hint} --debug shows more.", code)


if __name__ == "__main__":
    sys.exit(main())
