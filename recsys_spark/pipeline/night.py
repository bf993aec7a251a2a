"""One command: open the session, choose the run, do the stages, leave the record."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from pyspark import SparkContext
from pyspark.sql import SparkSession

from recsys_spark.config import Config, mask
from recsys_spark.errors import ConfigError, ExitCode
from recsys_spark.pipeline.evaluate import evaluate
from recsys_spark.pipeline.fold_in import fold_in
from recsys_spark.pipeline.ingest import ingest
from recsys_spark.pipeline.publish import publish
from recsys_spark.pipeline.recommend import recommend
from recsys_spark.pipeline.run import (
    STAGES,
    Run,
    StageFunction,
    conflicts,
    default_run_id,
    execute,
    is_done,
    plan,
)
from recsys_spark.pipeline.split import split
from recsys_spark.pipeline.train import train
from recsys_spark.report.page import draw_figures, render_report
from recsys_spark.runtime.failures import describe
from recsys_spark.runtime.given import open_given, together
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.runs import Runs, StageRecord
from recsys_spark.runtime.session import open_session
from recsys_spark.runtime.signals import terminable
from recsys_spark.runtime.source import RawSource, fingerprint, open_source
from recsys_spark.runtime.store import is_local, open_store
from recsys_spark.runtime.tables import Tables
from recsys_spark.runtime.tracking import NullTracker, open_tracker

_FUNCTIONS: dict[str, StageFunction] = {
    "split": split,
    "train": train,
    "evaluate": evaluate,
    "fold_in": fold_in,
    "recommend": recommend,
    "publish": publish,
}


# Settings that name tables, beside the events, by the stage that reads them.
_POLICY = ("allow", "allow_in_segment", "deny", "available", "blocked", "new_items")
_FILES = {
    "ingest": ("items",),
    "evaluate": ("evaluate.users",),
    "recommend": (
        "recommend.users",
        "recommend.segments",
        "recommend.groups",
        *(f"recommend.policy.{name}" for name in _POLICY),
    ),
}


@dataclass(frozen=True)
class Options:
    """What a command line adds to the configuration."""

    run_id: str | None = None
    logical_date: date | None = None
    resume: bool = False
    debug: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a command did. unchanged: every stage was done before."""

    run_id: str
    records: dict[str, StageRecord]
    unchanged: bool


def run_stages(config: Config, stages: Sequence[str], options: Options, log: Log) -> Outcome:
    """Do the stages in order, in one session, as one run."""
    with session(config, log, options.debug) as spark:
        store = open_store(config.paths.root, lambda: spark)
        runs = Runs(store)
        source = _open(spark, config) if "ingest" in stages else None
        files = _files(spark, config, stages, source)
        run_id, wanted = _choose_run(runs, config, stages, options, files)
        tables = Tables(store, spark)
        run = Run(config, run_id, spark, tables, runs, log, NullTracker())
        if is_done(runs, run_id, wanted):
            records = {s: execute(run, s, _function(s, source), wanted) for s in stages}
            return Outcome(run_id, records, unchanged=True)
        with _recorded(run, stages[-1]):
            records = {s: execute(run, s, _function(s, source), wanted) for s in stages}
            _write_report(run)
        return Outcome(run_id, records, unchanged=False)


def _open(spark: SparkSession, config: Config) -> RawSource:
    """The events: of ingest.source, or of both files of a given split."""
    if config.split.method != "given":
        return open_source(spark, config.ingest.source)
    return together(open_given(spark, config.split.given, config.ingest.source))


def _files(
    spark: SparkSession, config: Config, stages: Sequence[str], source: RawSource | None
) -> dict[str, str]:
    """Fingerprints of the files that stages read: the events, and the tables of the settings."""
    found = {"ingest": source.fingerprint} if source else {}
    for stage in stages:
        for key in _FILES.get(stage, ()):
            path = attrgetter(key)(config).path
            if path is not None:
                found[stage] = found.get(stage, "") + fingerprint(spark, f"{key}.path", path)
    return found


@contextmanager
def session(config: Config, log: Log, debug: bool = False) -> Iterator[SparkSession]:
    """A session that is stopped afterwards, unless it was there before."""
    existing = SparkContext._active_spark_context
    log_file = None
    if is_local(config.paths.root) and not debug:
        log_file = Path(config.paths.root.removeprefix("file://")) / "logs" / "spark.log"
    log.progress("starting Spark")
    spark = open_session(config.spark, log_file)
    try:
        yield spark
    finally:
        if existing is None:
            spark.stop()


def _function(stage: str, source: RawSource | None) -> StageFunction:
    if stage == "ingest":
        assert source is not None
        return partial(ingest, source=source)
    return _FUNCTIONS[stage]


def _choose_run(
    runs: Runs,
    config: Config,
    stages: Sequence[str],
    options: Options,
    files: Mapping[str, str],
) -> tuple[str, dict[str, str]]:
    """The run id, and the fingerprint each stage will have under it."""
    if options.run_id:
        wanted = plan(runs, config, options.run_id, stages, files)
        if others := conflicts(runs, options.run_id, wanted):
            raise ConfigError(
                f"Run {options.run_id} already holds {', '.join(others)} made from other input "
                "or settings. Versions are never overwritten: give another --run-id."
            )
        return options.run_id, wanted
    today = options.logical_date or datetime.now(UTC).date()
    default = default_run_id(config, today)
    if options.resume and options.logical_date is None:
        default = runs.unfinished(default.removeprefix(today.isoformat())) or default
    attempt, run_id = 1, default
    while conflicts(runs, run_id, wanted := plan(runs, config, run_id, stages, files)):
        attempt += 1
        run_id = f"{default}-{attempt}"
    return run_id, wanted


@contextmanager
def _recorded(run: Run, last: str) -> Iterator[None]:
    """Keep configuration, events and state with the run, however it ends."""
    events: list[dict[str, Any]] = []
    run.log.sinks.append(events.append)
    run.runs.write_config(run.run_id, run.config.masked())
    run.log.context["run_id"] = run.run_id
    state, code, reason = "failed", ExitCode.FAILED, ""
    try:
        with terminable():
            run.tracker = open_tracker(
                run.config.tracking, run.config.paths.root, run.run_id, run.log
            )
            run.tracker.finish("RUNNING")
            run.log.info(f"run {run.run_id}")
            yield
        state, code = "done", ExitCode.DONE
    except KeyboardInterrupt:
        state, reason = "killed", "interrupted"
        raise
    except Exception as error:
        text, code = describe(error)
        reason = str(mask(text))
        run.log.debug(traceback.format_exc())
        raise
    finally:
        run.log.sinks.remove(events.append)
        run.runs.append_events(run.run_id, events)
        run.runs.set_status(run.run_id, state, last, code, reason)
        run.tracker.finish("FINISHED" if state == "done" else "FAILED")


def _write_report(run: Run) -> None:
    """Everything known of the run on one page, once there are metrics to show."""
    found = {stage: run.runs.stage(run.lineage.get(stage, run.run_id), stage) for stage in STAGES}
    records = {stage: record for stage, record in found.items() if record}
    if "evaluate" not in records:
        return
    figures = draw_figures(records)
    page = render_report(run.run_id, records, figures)
    run.runs.store.replace(run.runs.path(run.run_id, "report.html"), page)
    run.tracker.artifact("report.html", page)
    for name, figure in figures.items():
        run.tracker.artifact(f"figures/{name}.svg", figure)
    for name in ("metrics.json", "config.yaml"):
        text = run.runs.store.read(run.runs.path(run.run_id, name))
        if text:
            run.tracker.artifact(name, text)
