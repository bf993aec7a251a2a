"""Wiring of compare: two runs, or two models of one, on the users that both were measured on."""

from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import WALS, Config
from recsys_spark.errors import ConfigError, similar_name
from recsys_spark.evaluation.comparison import compare, corrected
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.pipeline.sessions import lazy_session
from recsys_spark.runtime.log import Log
from recsys_spark.schema import PER_USER_KEY, metric_names
from recsys_spark.storage.runs import Runs, StageRecord
from recsys_spark.storage.store import open_store
from recsys_spark.storage.tables import Tables

_LEAST = 10_000  # exchanges: with fewer, nothing is significant after Holm over sixty metrics
_TABLE = "metrics_per_user"


@dataclass(frozen=True)
class Side:
    """A run and the model of it that is compared; None: the one whose lists it delivers."""

    run_id: str
    model: str | None = None


def compare_runs(
    config: Config, log: Log, one: Side, other: Side
) -> tuple[pa.Table, tuple[Side, Side]]:
    """The rows of `evaluation.compare` for every metric that both have, for all users.

    Holm's correction is for all of them together. Also the sides, with the names of their models.
    Raises ConfigError for a run that was not evaluated, a model that it did not measure, or the
    same model of the same run.
    """
    with lazy_session(config, log, read_only=True) as spark:
        store = open_store(config.paths.root, spark)
        runs, tables = Runs(store), Tables(store, spark)
        records = [_record(runs, side) for side in (one, other)]
        one, other = (_named(*pair) for pair in zip((one, other), records, strict=True))
        if one == other:
            raise ConfigError(
                f"Both are {one.model} of run {one.run_id}: name another run or model."
            )
        _warn_of_other_rows(runs, log, records)
        log.progress("comparing user by user")
        resamples = max(config.evaluate.resamples, _LEAST)
        ours, theirs = _in_common(
            *(
                _of_model(tables.read(_TABLE, record.lineage["evaluate"]), side)
                for record, side in zip(records, (one, other), strict=True)
            )
        )
        return corrected(compare(ours, theirs, resamples).toArrow()), (one, other)


def _named(side: Side, record: StageRecord) -> Side:
    named = replace(side, model=side.model or record.summary.get("delivered", WALS))
    kept = record.summary.get("kept")
    if kept is not None and named.model not in kept:
        raise ConfigError(
            f"Run {side.run_id} kept the metrics of users for {', '.join(kept) or 'no model'}, not "
            f"for {named.model}: evaluate it with evaluate.per_user: all."
        )
    return named


def _in_common(one: DataFrame, other: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Both with the metrics that both have."""
    shared = [name for name in metric_names(one) if name in other.columns]
    columns = [*PER_USER_KEY, *shared]
    return one.select(*columns), other.select(*columns)


def _record(runs: Runs, side: Side) -> StageRecord:
    record = runs.stage(side.run_id, "evaluate")
    if record is None:
        known = runs.ids()
        problem = f"No run {side.run_id}{similar_name(side.run_id, known)}"
        if side.run_id in known:
            problem = f"Run {side.run_id} was not evaluated"
        raise ConfigError(f"{problem}: `recsys-spark status` lists the runs.")
    models = sorted({row["model"] for row in record.summary["metrics"]})
    if side.model is not None and side.model not in models:
        raise ConfigError(
            f"Run {side.run_id} did not measure {side.model}{similar_name(side.model, models)}; it "
            f"has {', '.join(models)}."
        )
    return record


def _warn_of_other_rows(runs: Runs, log: Log, records: list[StageRecord]) -> None:
    splits = [runs.stage(record.lineage["split"], "split") for record in records]
    if splits[0] and splits[1] and splits[0].fingerprint != splits[1].fingerprint:
        log.warning(
            "the runs were measured on other held-out rows: users are paired, but what differs may "
            "be the rows"
        )


def _of_model(per_user: DataFrame, side: Side) -> DataFrame:
    """The rows of a model, whatever the part of the truth is called."""
    return per_user.where((F.col("model") == side.model) & (F.col("segment") == ALL))
