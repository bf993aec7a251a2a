"""What a person sees of many runs: the trials of a search, the splits of a backtest."""

from collections.abc import Callable
from shlex import quote
from typing import Any

from rich.console import Console
from rich.table import Table

from recsys_spark.config import Config
from recsys_spark.evaluation.ranking import shown_cutoff
from recsys_spark.pipeline.backtest import Backtested, backtest
from recsys_spark.pipeline.choice import Options
from recsys_spark.pipeline.tune import Tuned, tune
from recsys_spark.report.page import model_names
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.store import local_folder


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
    keys = list(dict.fromkeys(key for trial in tuned.trials for key in trial.settings))
    name = f"{config.tune.metric}@{config.tune.k}"
    table = Table(box=None, title="Trials", title_justify="left", title_style="bold")
    for column in ("trial", *keys, name, "s"):
        table.add_column(column, justify="right", overflow="fold")
    for trial in sorted(tuned.trials, key=lambda trial: -trial.value):
        settings = [str(trial.settings[key]) for key in keys]
        table.add_row(str(trial.number), *settings, f"{trial.value:.4f}", f"{trial.seconds:.1f}")
    console.print(table)
    best = f"{local_folder(config.paths.root) or config.paths.root}/{tuned.best}"
    console.print(f"\n[bold]Best settings[/] {best}", soft_wrap=True)
    console.print("They are the last file that a run takes: add to its command", style="dim")
    console.print(f"  --config {quote(best)}", soft_wrap=True)


def print_backtest(repeated: Backtested, config: Config) -> None:
    """Means over the splits at one cut-off, with what they vary between them."""
    console = Console(highlight=False)
    k = shown_cutoff(config.evaluate.k)
    rows = [row for row in repeated.rows if row["k"] in (k, None)]
    models = model_names(rows)
    title = f"Mean and standard deviation over {len(repeated.runs)} splits, first {k}"
    table = Table(box=None, title=title, title_justify="left", title_style="bold")
    table.add_column("metric")
    for model in models:
        table.add_column(model, justify="right")
    cells = {(row["metric"], row["model"]): row for row in rows}
    for metric in dict.fromkeys(row["metric"] for row in rows):
        table.add_row(metric, *(_spread(cells.get((metric, model))) for model in models))
    console.print(table)
    for name, run_id in repeated.runs.items():
        console.print(f"[bold]{name}[/]  run {run_id}", soft_wrap=True)


def _spread(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['mean']:.4f}" + (f" ± {row['deviation']:.4f}" if row["deviation"] else "")
