"""What a person sees of many runs: the trials of a search, the splits of a backtest."""

from collections.abc import Callable, Mapping, Sequence
from shlex import quote
from typing import Any

from rich.console import Console
from rich.table import Table

from recsys_spark.cli.tables import Column, fits, print_columns
from recsys_spark.config import Config, Scalar
from recsys_spark.evaluation.ranking import shown_cutoff
from recsys_spark.pipeline.backtest import Backtested, backtest
from recsys_spark.pipeline.run_choice import Options
from recsys_spark.pipeline.tune import Trial, Tuned, tune
from recsys_spark.report.page import model_names
from recsys_spark.runtime.log import Log
from recsys_spark.storage.store import local_folder


def repeat(name: str, config: Config, options: Options, log: Log) -> Callable[[], None]:
    """Do a command of many runs; what it returns prints the outcome."""
    if name == "tune":
        tuned = tune(config, options, log)
        return lambda: print_trials(tuned, config)
    repeated = backtest(config, options, log)
    return lambda: print_backtest(repeated, config)


def print_trials(tuned: Tuned, config: Config) -> None:
    """Every trial, the best first, and how to run with the best settings."""
    console = Console(highlight=False)
    trials = sorted(tuned.trials, key=lambda trial: -trial.value)
    keys = list(dict.fromkeys(key for trial in tuned.trials for key in trial.settings))
    varied = [key for key in keys if len({repr(t.settings.get(key)) for t in trials}) > 1]
    heads, metric = short_names(varied), f"{config.tune.metric}@{config.tune.k}"
    table = trial_table(trials, heads, metric)
    if not fits(console, table):
        table = narrow_table(trials, heads, metric)
    console.print(table)
    for key, head in heads.items():
        if head != key:
            console.print(f"{head}: {key}", style="dim", soft_wrap=True)
    if same := [f"{key} {_setting(trials[0].settings[key])}" for key in keys if key not in heads]:
        console.print(f"The same in all trials: {', '.join(same)}", style="dim", soft_wrap=True)
    best = f"{local_folder(config.paths.root) or config.paths.root}/{tuned.best}"
    console.print(f"\n[bold]Best settings[/] {best}", soft_wrap=True)
    console.print("They are the last file that a run takes: add to its command", style="dim")
    console.print(f"  --config {quote(best)}", soft_wrap=True)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The fewest last parts of dotted keys by which each differs from the others, by key."""
    return {key: _short_name(key, [other for other in keys if other != key]) for key in keys}


def _short_name(key: str, others: Sequence[str]) -> str:
    parts = key.split(".")
    names = [".".join(parts[at:]) for at in reversed(range(len(parts)))]
    ends = (f".{other}" for other in others)
    taken = {name for end in ends for name in names if end.endswith(f".{name}")}
    return next((name for name in names if name not in taken), key)


def trial_table(trials: Sequence[Trial], heads: Mapping[str, str], metric: str) -> Table:
    """A column a setting. heads: names of columns, by key."""
    table = _trials("trial", metric, "s", *(head.replace("_", "_\n") for head in heads.values()))
    for trial in trials:
        settings = (_setting(trial.settings.get(key)) for key in heads)
        table.add_row(*_figures(trial), *settings)
    return table


def narrow_table(trials: Sequence[Trial], heads: Mapping[str, str], metric: str) -> Table:
    """The settings of a trial in one column, which breaks between them."""
    table = _trials("trial", metric, "s")
    table.add_column("settings", overflow="fold")
    for trial in trials:
        settings = (f"{head}={_setting(trial.settings.get(key))}" for key, head in heads.items())
        table.add_row(*_figures(trial), ", ".join(settings))
    return table


def _trials(*columns: str) -> Table:
    table = Table(box=None, title="Trials", title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _figures(trial: Trial) -> tuple[str, str, str]:
    return str(trial.number), f"{trial.value:.4f}", f"{trial.seconds:.1f}"


def _setting(value: Scalar | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def print_backtest(repeated: Backtested, config: Config) -> None:
    """Means over the splits at one cut-off, with what they vary between them."""
    console = Console(highlight=False)
    k = shown_cutoff(config.evaluate.k)
    rows = [row for row in repeated.rows if row["k"] in (k, None)]
    title = f"Mean and standard deviation over {len(repeated.runs)} splits, first {k}"
    cells = {(row["metric"], row["model"]): row for row in rows}
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    columns = [
        Column(model, [_spread(cells.get((metric, model))) for metric in metrics])
        for model in model_names(rows)
    ]
    print_columns(console, Column("metric", metrics), columns, title, ", further models")
    for name, run_id in repeated.runs.items():
        console.print(f"[bold]{name}[/]  run {run_id}", soft_wrap=True)


def _spread(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['mean']:.4f}" + (f" ± {row['deviation']:.4f}" if row["deviation"] else "")
