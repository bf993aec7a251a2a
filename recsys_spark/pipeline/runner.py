"""One command: open the session, choose the run, do the stages, leave the record."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from recsys_spark.config import Config, mask
from recsys_spark.errors import ContractError, ExitCode, RecsysError
from recsys_spark.pipeline.context import Run, StageFunction, is_done
from recsys_spark.pipeline.evaluate import evaluate
from recsys_spark.pipeline.fold_in import fold_in
from recsys_spark.pipeline.ingest import ingest
from recsys_spark.pipeline.inputs import file_fingerprints, open_all
from recsys_spark.pipeline.publish import publish
from recsys_spark.pipeline.recommend import recommend
from recsys_spark.pipeline.refit import refit
from recsys_spark.pipeline.run_choice import Options, choose_run
from recsys_spark.pipeline.sessions import Session, lazy_session
from recsys_spark.pipeline.split import split
from recsys_spark.pipeline.train import train
from recsys_spark.pipeline.upstream import Step, described, newer
from recsys_spark.report.page import draw_figures, draw_seconds, render_report
from recsys_spark.runtime.failures import describe
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.signals import terminable
from recsys_spark.runtime.tracking import NullTracker, Tracker, open_tracker, preload
from recsys_spark.spark_internals import active_context
from recsys_spark.storage.runs import Runs, StageRecord
from recsys_spark.storage.store import open_store
from recsys_spark.storage.tables import Tables
from recsys_spark.workers import start_workers

_FUNCTIONS: dict[str, StageFunction] = {
    "ingest": lambda run: ingest(run, open_all(run.spark, run.config)),
    "split": split,
    "train": train,
    "evaluate": evaluate,
    "refit": refit,
    "fold_in": fold_in,
    "recommend": recommend,
    "publish": publish,
}


@dataclass(frozen=True)
class Outcome:
    """What a command did. unchanged: every stage was done before."""

    run_id: str
    records: dict[str, StageRecord]
    unchanged: bool


def run_stages(
    config: Config,
    stages: Sequence[str],
    options: Options,
    log: Log,
    session: Session | None = None,
) -> Outcome:
    """Do the stages in order, in one session, as one run.

    session: opens the session, if it outlasts these stages; None: it does not.
    """
    with nullcontext(session) if session else lazy_session(config, log, options.debug) as spark:
        store = open_store(config.paths.root, spark)
        runs = Runs(store)
        files = file_fingerprints(spark, config, stages)
        run_id, steps = choose_run(runs, config, stages, options, files)
        tables, trial = Tables(store, spark), options.trial_of is not None
        run = Run(config, run_id, spark, tables, runs, log, NullTracker(), trial=trial)
        unchanged = all(is_done(runs, tables, run_id, s.stage, s.fingerprint) for s in steps)
        with nullcontext() if unchanged else _recorded(run, stages):
            _say_what_is_left_out(log, stages, steps)
            if "ingest" in files:
                run.tracker.dataset("events", _events(config), files["ingest"])
            records = _do_all(run, steps, report=not unchanged)
        if "publish" in records:
            _warn_of_newer(runs, records["publish"], log)
        return Outcome(run_id, records, unchanged)


def _say_what_is_left_out(log: Log, stages: Sequence[str], steps: Sequence[Step]) -> None:
    if "evaluate" in set(stages) - {step.stage for step in steps}:
        log.info(
            "split.method: none holds no rows out: evaluate and refit are skipped, training has "
            "all interactions"
        )


def _do_all(run: Run, steps: Sequence[Step], report: bool) -> dict[str, StageRecord]:
    """The records of all stages, and the run's report, which is drawn while later stages go on."""
    records, drawn = dict[str, StageRecord](), None
    with ThreadPoolExecutor(1) as beside:
        for step in steps:
            records[step.stage] = _do(run, step)
            if step.stage == "evaluate" and report:
                drawn = beside.submit(draw_figures, run.records())
        found = run.records() if report else {}
        if "evaluate" in found:  # there are metrics to show
            figures = drawn.result() if drawn else draw_figures(found)
            _write_report(run.runs, run.run_id, found, figures, run.tracker)
    return records


def _events(config: Config) -> str:
    predefined = config.split.predefined.train if config.split.method == "predefined" else None
    return str(predefined or config.ingest.source.path)


def _do(run: Run, step: Step) -> StageRecord:
    with run.log.bound(stage=step.stage):
        if step.built_on:
            run.log.info(f"builds on {step.sources()}")
        run.lineage = dict(step.made_in(run.run_id))
        return run.do(step.stage, _FUNCTIONS[step.stage], step.fingerprint)


def _warn_of_newer(runs: Runs, published: StageRecord, log: Log) -> None:
    """Say what was made after the lists that readers see now."""
    lists = runs.stage(published.lineage["recommend"], "recommend")
    found = newer(runs, lists) if lists else []
    if found:
        log.warning(
            f"newer than what is published, and not in it: {' and '.join(map(described, found))}; "
            "`recsys-spark update` makes and publishes lists of the newest interactions"
        )


@contextmanager
def _recorded(run: Run, stages: Sequence[str]) -> Iterator[None]:
    """Keep configuration, events and state with the run, however it ends."""
    events: list[dict[str, Any]] = []
    run.log.sinks.append(events.append)
    run.runs.write_config(run.run_id, run.config.masked())
    run.log.context["run_id"] = run.run_id
    state, code, reason = "failed", ExitCode.FAILED, ""
    try:
        with terminable():
            run.log.info(f"run {run.run_id}")
            _open(run.session, run.config, stages)
            run.tracker = open_tracker(
                run.config.tracking, run.config.paths.root, run.run_id, run.log
            )
            run.tracker.finish("RUNNING")
            run.tracker.params(run.config.chosen())
            yield
        state, code = "done", ExitCode.DONE
    except KeyboardInterrupt:
        state, reason = "killed", "interrupted"
        raise
    except Exception as error:
        text, code = describe(error)
        reason = str(mask(text))
        run.log.debug(traceback.format_exc())
        if code == ExitCode.CONTRACT and not isinstance(error, RecsysError):
            raise ContractError(text) from error  # what Spark says of a damaged file
        raise
    finally:
        run.log.sinks.remove(events.append)
        run.runs.append_events(run.run_id, events)
        stage = stages[-1] if state == "done" else run.stage or stages[0]
        run.runs.set_status(run.run_id, state, stage, code, reason)
        run.tracker.finish({"done": "FINISHED", "killed": "KILLED"}.get(state, "FAILED"))


def _open(session: Session, config: Config, stages: Sequence[str]) -> None:
    """Load tracking and, except for stages that only swap pointers, open the session at once."""
    with ThreadPoolExecutor(1) as beside:
        beside.submit(preload, config.tracking, config.paths.root)
        if set(stages) != {"publish"}:
            fresh = active_context() is None
            spark = session()
            if fresh:
                start_workers(spark)


def _write_report(
    runs: Runs,
    run_id: str,
    records: Mapping[str, StageRecord],
    drawn: Mapping[str, str],
    tracker: Tracker,
) -> None:
    """Everything known of the run on one page."""
    figures = {**drawn, **draw_seconds(records)}
    page = render_report(run_id, records, figures)
    runs.store.replace(runs.path(run_id, "report.html"), page)
    tracker.artifact("report.html", page)
    for name, figure in figures.items():
        tracker.artifact(f"figures/{name}.svg", figure)
    for name in ("metrics.json", "metrics.csv", "config.yaml"):
        text = runs.store.read(runs.path(run_id, name))
        if text:
            tracker.artifact(name, text)
