"""Wiring of backtest: the same settings, trained and measured on several splits."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import mean, stdev
from typing import Any

from pyspark.sql import functions as F

from recsys_spark.config import Config, Split, needs_validation, without_times
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.pipeline.run_choice import Options
from recsys_spark.pipeline.runner import run_stages
from recsys_spark.pipeline.sessions import lazy_session
from recsys_spark.pipeline.stage_graph import default_run_id
from recsys_spark.runtime.log import Log
from recsys_spark.storage.runs import Runs
from recsys_spark.storage.store import open_store
from recsys_spark.storage.tables import Tables

_STAGES = ("split", "train", "evaluate")


@dataclass(frozen=True)
class Backtested:
    """runs: one a split, by what it was tested on. rows: model, metric, k with the mean over the
    splits, the standard deviation between them, the smallest and the largest value."""

    run_id: str
    runs: dict[str, str]
    rows: list[dict[str, Any]]


def backtest(config: Config, options: Options, log: Log) -> Backtested:
    """Ingest once; then split, train and evaluate for each origin of time, or each fold.

    Each is a run of its own, which `show`, `compare` and the report know; those finished before are
    not done again. Raises ConfigError if time windows are wanted of rows without times.
    """
    _refuse_early(config)
    day = options.logical_date or datetime.now(UTC).date()
    run_id = options.run_id or f"{default_run_id(config, day)}-{config.digest('backtest')}"
    with lazy_session(config, log, options.debug) as spark:
        run_stages(config, ("ingest",), Options(run_id, debug=options.debug), log, spark)
        store = open_store(config.paths.root, spark)
        interactions = Tables(store, spark).read("interactions", run_id)
        row = interactions.agg(F.max("timestamp").alias("newest")).first()
        newest = row["newest"] if row else None
        found, runs = [], {}
        for number, (name, split) in enumerate(_splits(config, newest), start=1):
            log.info(f"backtest: {name}")
            own = f"{run_id}-{number}"
            changed = config.model_copy(update={"split": split})
            named = Options(own, debug=options.debug, trial_of=run_id)
            outcome = run_stages(changed, _STAGES, named, log, spark)
            found += outcome.records["evaluate"].summary["metrics"]
            runs[name] = own
        rows = _spread(found)
        path = Runs(store).path(run_id, "backtest.json")
        store.replace(path, json.dumps({"runs": runs, "metrics": rows}, indent=2))
    return Backtested(run_id, runs, rows)


def _refuse_early(config: Config) -> None:
    """Raise ConfigError for what the configuration lacks."""
    cure = without_times(config.split, config.ingest)
    if config.backtest.method == "rolling" and cure is not None:
        raise ConfigError(
            f"backtest.method: rolling needs the time of every event, and {cure}, or set "
            "backtest.method: folds."
        )
    for key in needs_validation(config.train, config.evaluate):
        raise ConfigError(
            f"{key} needs validation rows, and no split of backtest has any; remove it."
        )


def _splits(config: Config, newest: datetime | None) -> Iterator[tuple[str, Split]]:
    """The name of each test part, and the split that makes it; oldest first."""
    wanted, seed = config.backtest, config.split.seed
    if wanted.method == "folds":
        for fold in range(wanted.folds):
            keys = {"method": "k_fold", "folds": wanted.folds, "fold": fold, "seed": seed}
            yield f"fold {fold + 1} of {wanted.folds}", Split.model_validate(keys)
        return
    if newest is None:
        raise ContractError(
            "backtest.method: rolling needs the time of every event, and no row has one: complete "
            "them, or set backtest.method: folds."
        )
    last = newest + timedelta(seconds=1)  # the window's end is left out
    for back in range(wanted.origins, 0, -1):
        until = last - timedelta(days=back * wanted.days)
        keys = {
            "method": "time_window",
            "train_until": until,
            "test_days": wanted.days,
            "drop_cold": config.split.drop_cold,
        }
        yield f"{wanted.days:g} days from {until:%Y-%m-%d %H:%M}", Split.model_validate(keys)


def _spread(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    values: dict[tuple[Any, ...], list[float]] = {}
    for row in metrics:
        key = tuple(row[name] for name in ("split", "model", "metric", "k"))
        values.setdefault(key, []).append(row["value"])
    return [
        dict(zip(("split", "model", "metric", "k"), key, strict=True))
        | {
            "mean": mean(some),
            "deviation": stdev(some) if len(some) > 1 else None,
            "least": min(some),
            "most": max(some),
            "splits": len(some),
        }
        for key, some in values.items()
    ]
