"""`recsys-spark`: one command a stage, and a few to look around."""

import sys
import traceback
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer
from rich.console import Console

import recsys_spark
from recsys_spark import yaml12
from recsys_spark.cli.options import (
    CONFIGURATION,
    DEBUG,
    LISTS,
    NEW_RUN,
    OUTPUT,
    RESUMABLE,
    Group,
    Invocation,
    State,
    add_command,
    stop_status,
)
from recsys_spark.config import mask
from recsys_spark.errors import ConfigError, ExitCode, RecsysError
from recsys_spark.runtime.log import JsonSink
from recsys_spark.settings import documented_defaults

app = typer.Typer(
    name="recsys-spark",
    cls=Group,
    help="Raw user-item events in, a checked table of per-user top-N recommendations out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The groups of the help.
_STAGES, _SEARCH, _RESULTS, _SETUP = "Stages", "Experiments", "Results", "Setup"


class ShowFormat(StrEnum):
    """How rows are written to standard output."""

    table = "table"
    json = "json"
    csv = "csv"


class StatusFormat(StrEnum):
    """How the status is written to standard output."""

    table = "table"
    json = "json"


class ExportForm(StrEnum):
    """What lists are written as."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"
    sqlite = "sqlite"
    postgres = "postgres"
    redis = "redis"


Version = Annotated[
    str | None, typer.Option("--run-id", metavar="RUN", help="This version, not the current one.")
]
TableName = Annotated[str, typer.Argument(help="Name of the table, such as recommendations.")]
Form = Annotated[ShowFormat, typer.Option("--format", help="Form.")]

_STAGE_HELP = {
    "run": "All stages in order, in one session.",
    "update": "Lists of today's interactions by the newest model: ingest, fold-in, recommend, "
    "publish.",
    "ingest": "Check the source's rows, index the ids, write interactions and rejects.",
    "split": "Choose the rows to train on, to validate and to test.",
    "train": "Train the factors of users and items.",
    "evaluate": "Measure the model and the baselines on the held-out rows.",
    "refit": "Fit the evaluated model on all interactions, for the lists.",
    "fold-in": "Give users who came after training their factors, for recommend to use.",
    "recommend": "Write every user's top-N list.",
    "publish": "Let readers see the run's tables.",
}
_REPEATED_HELP = {
    "tune": "Search the settings of the delivered model and of its parts (keys under tune); trials "
    "made before are not made again.",
    "backtest": "Train and evaluate on several splits, by time or in folds (keys under backtest).",
}


def _add_stage_command(name: str) -> None:
    own = LISTS if name == "recommend" else {}

    @add_command(app, name, _STAGES, own, RESUMABLE, CONFIGURATION, OUTPUT, help=_STAGE_HELP[name])
    def command(call: Invocation) -> None:
        _do_stages(name, call)


def _do_stages(name: str, call: Invocation) -> None:
    # Heavy imports wait until the configuration is known to be right, and there is an input.
    from recsys_spark.pipeline.run_choice import Options, refuse_early
    from recsys_spark.pipeline.stage_graph import COMMANDS

    stages = COMMANDS.get(name, (name.replace("-", "_"),))
    options = Options(call.run_id, call.day, call.resume, call.debug)
    refuse_early(call.config, stages, options)
    from recsys_spark.cli.summary import print_summary
    from recsys_spark.pipeline.runner import run_stages

    outcome = run_stages(call.config, stages, options, call.log)
    stop_status(call.log)
    if outcome.unchanged:
        call.log.info(f"run {outcome.run_id} was finished before; nothing was changed")
    if not call.quiet:
        print_summary(outcome, call.config)


for _name in _STAGE_HELP:
    _add_stage_command(_name)


def _add_repeated_command(name: str) -> None:
    @add_command(app, name, _SEARCH, NEW_RUN, CONFIGURATION, OUTPUT, help=_REPEATED_HELP[name])
    def command(call: Invocation) -> None:
        from recsys_spark.cli.trials import repeat
        from recsys_spark.pipeline.run_choice import Options

        options = Options(call.run_id, call.day, debug=call.debug)
        tell = repeat(name, call.config, options, call.log)
        stop_status(call.log)
        if not call.quiet:
            tell()


for _name in _REPEATED_HELP:
    _add_repeated_command(_name)


@add_command(app, "generate", _SETUP, CONFIGURATION, OUTPUT)
def generate(call: Invocation) -> None:
    """Write a synthetic data set with planted tastes (keys under generate)."""
    from recsys_spark.pipeline.generate import generate as make
    from recsys_spark.pipeline.sessions import session

    with call.log.bound(stage="generate"), session(call.config, call.log, call.debug) as spark:
        folders = make(spark, call.config, call.log)
    stop_status(call.log)
    if not call.quiet:
        for part, folder in folders.items():
            print(f"{part:<12} {folder}")


@app.command("warm", rich_help_panel=_SETUP)
def warm() -> None:
    """Make later commands start sooner, once for an installation: takes about a minute.

    Compiles the numeric code, and keeps an archive of Spark's classes (200 MB) in the user's cache.
    """
    from recsys_spark.kernels.precompile import warm as compile_kernels
    from recsys_spark.runtime.jvm import make_class_archive
    from recsys_spark.runtime.session import require_java

    print("compiling the numeric code, unless it is", file=sys.stderr, flush=True)
    compile_kernels()
    print("keeping Spark's classes: a run of a small example", file=sys.stderr, flush=True)
    print(f"classes of Spark  {make_class_archive(require_java()) or 'no place to keep them'}")


@add_command(app, "show", _RESULTS, CONFIGURATION)
def show(
    call: Invocation,
    table: TableName,
    user: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only this user; may be repeated.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Only rows with this value, such as model=walks or segment=activity=cold; several "
            "values of a column are alternatives.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Rows of the table.")] = 10,
    format_: Form = ShowFormat.table,
    run_id: Version = None,
) -> None:
    """Print rows of a table's current version; of metrics the best-known ones first."""
    from recsys_spark.cli.filters import parse_filters
    from recsys_spark.cli.show import show_table

    filters = parse_filters(where or [], user or [])
    wanted = max(limit, len(user or []))
    print(show_table(call.config, call.log, table, run_id, filters, wanted, format_.value))


@add_command(app, "path", _RESULTS, CONFIGURATION)
def path(
    call: Invocation,
    table: TableName,
    run_id: Version = None,
) -> None:
    """Print the folder of a table's current version, and nothing else."""
    from recsys_spark.cli.show import table_path

    print(table_path(call.config, call.log, table, run_id))


@add_command(app, "export", _RESULTS, CONFIGURATION)
def export(
    call: Invocation,
    form: Annotated[ExportForm, typer.Argument(help="Form of the files, or kind of the store.")],
    target: Annotated[
        str,
        typer.Argument(
            help="Folder or URI (files), file (sqlite), URL (postgres, redis), or env:NAME of a "
            "variable that holds it."
        ),
    ],
    table: Annotated[
        str,
        typer.Option(
            metavar="TABLE",
            help="recommendations or another table of lists, such as similar_items.",
        ),
    ] = "recommendations",
    run_id: Version = None,
    connections: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Connections of executors at once (postgres, redis)."
        ),
    ] = 8,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="What keys begin with (redis).")
    ] = "recsys",
    ttl_days: Annotated[
        int, typer.Option(min=1, metavar="N", help="Days until keys end (redis).")
    ] = 7,
) -> None:
    """Deliver a table of lists to other systems; a repeated command does nothing."""
    from recsys_spark.export import Options
    from recsys_spark.pipeline.export import export_lists

    options = Options(connections, prefix, ttl_days)
    made = export_lists(call.config, call.log, table, form.value, target, run_id, options)
    stop_status(call.log)
    state = "were there already" if made.unchanged else f"written in {made.seconds:.1f} s"
    print(f"{made.lists:,} lists of {table}, run {made.run_id}, {state}: {made.location}")


@add_command(app, "serve", _RESULTS, CONFIGURATION, DEBUG)
def serve(
    call: Invocation,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0: any free one.")
    ] = 8080,
    run_id: Version = None,
) -> None:
    """Show users' history and lists on a local web page, until Ctrl-C."""
    from recsys_spark.cli.serve import serve_tables

    serve_tables(call.config, call.log, host, port, run_id)


@add_command(app, "compare", _SEARCH, CONFIGURATION)
def compare(
    call: Invocation,
    one: Annotated[str, typer.Argument(help="A run id, as `recsys-spark status` lists them.")],
    other: Annotated[
        str | None, typer.Argument(help="Another; default: the same, for another model of it.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Which model of the first run; default: the delivered."),
    ] = None,
    other_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Which model of the other; likewise.")
    ] = None,
    format_: Form = ShowFormat.table,
) -> None:
    """Compare two runs, or two models of one, user by user, with paired tests."""
    from recsys_spark.cli.comparison import render_comparison
    from recsys_spark.pipeline.compare import Side, compare_runs

    sides = Side(one, model), Side(other or one, other_model)
    if sides[0] == sides[1]:
        raise ConfigError("Both are the same model of the same run: name another run or model.")
    rows, sides = compare_runs(call.config, call.log, *sides)
    stop_status(call.log)
    print(render_comparison(rows, *sides, format_.value))


@add_command(app, "status", _RESULTS, CONFIGURATION)
def status(
    call: Invocation,
    format_: Annotated[StatusFormat, typer.Option("--format", help="Form.")] = StatusFormat.table,
) -> None:
    """Print what is published, what is newer, and how the latest runs ended."""
    from recsys_spark.cli.status import status_text

    print(status_text(call.config, call.log, format_.value))


@add_command(app, "init", _SETUP)
def init(
    call: Invocation,
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="Events: a CSV, JSON lines or Parquet file.")
    ],
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="The configuration to write.")
    ] = Path("recsys.yaml"),
) -> None:
    """Write a small configuration for a file of events, guessed from its first lines."""
    from recsys_spark.cli.guess import configuration, first_file, write_configuration

    found = write_configuration(source, output)
    file = first_file(source)
    print(f"Guessed from the first lines of {file}, in {output}; correct what is wrong:\n")
    print(configuration(source, found))
    print(f"Then: recsys-spark run --config {quote(str(output))}")


@add_command(app, "config", _SETUP, CONFIGURATION)
def config_command(
    call: Invocation,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Every key with its default and meaning.")
    ] = False,
) -> None:
    """Print the effective configuration, secrets masked."""
    if defaults:
        print(documented_defaults(), end="")
        return
    print(yaml12.dump(call.config.masked()), end="")


@add_command(app, "doctor", _SETUP, CONFIGURATION, DEBUG)
def doctor(
    call: Invocation,
    plan: Annotated[
        bool, typer.Option("--plan", help="What training would need of memory, without training.")
    ] = False,
) -> None:
    """Check Java, Python, packages, BLAS and memory, on the driver and on the executors."""
    from recsys_spark.cli.doctor import diagnose, show_plan

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
    stop_status(State.log)
    if any(isinstance(sink, JsonSink) for sink in State.log.sinks):
        State.log._emit("error", message, {"exit_code": int(code)})
    else:
        Console(stderr=True, highlight=False).print(
            f"[bold red]error[/] [default]{_escaped(message)}[/]", soft_wrap=True
        )
    if State.debug:
        traceback.print_exc()
    return int(code)


def _escaped(message: str) -> str:
    from rich.markup import escape

    return escape(message)


def _unexpected(error: Exception) -> int:
    from recsys_spark.runtime.failures import describe, keep_trace

    message, code = describe(error)
    where = keep_trace(State.root)
    hint = f" The stack trace is in {where}." if where else ""
    return _fail(f"{message}{hint} --debug shows more.", code)


if __name__ == "__main__":
    sys.exit(main())
