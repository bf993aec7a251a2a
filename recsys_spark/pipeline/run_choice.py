"""The run that a command's stages are done in.

A repeated command finds what is done, a stage alone goes on with the run that it builds on, and no
run holds two versions of a stage.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime

from pyspark.sql import SparkSession

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.inputs import file_fingerprints
from recsys_spark.pipeline.stage_graph import default_run_id
from recsys_spark.pipeline.upstream import Step, plan
from recsys_spark.storage.runs import Runs, StageRecord
from recsys_spark.storage.store import open_store


@dataclass(frozen=True)
class Options:
    """What a command line adds to the configuration.

    trial_of: the run whose interactions are split and measured, and not built on by others.
    """

    run_id: str | None = None
    logical_date: date | None = None
    resume: bool = False
    debug: bool = False
    trial_of: str | None = None


class _NeedsSessionError(Exception):
    """What is asked lies on another file system."""


def refuse_early(config: Config, stages: Sequence[str], options: Options) -> None:
    """Raise the ConfigError of a command that has no input, as far as local files show it.

    It spares the imports and the session that doing the stages takes.
    """

    def no_session() -> SparkSession:
        raise _NeedsSessionError

    with suppress(_NeedsSessionError):
        files = file_fingerprints(no_session, config, stages)
        runs = Runs(open_store(config.paths.root, no_session))
        choose_run(runs, config, stages, options, files)


def choose_run(
    runs: Runs,
    config: Config,
    stages: Sequence[str],
    options: Options,
    files: Mapping[str, str],
) -> tuple[str, list[Step]]:
    """The run id, and the stages to do under it."""
    if options.run_id:
        named = {options.run_id, options.trial_of}
        steps = plan(runs, config, stages, files, named.__contains__)
        if others := conflicts(runs, options.run_id, steps):
            raise ConfigError(
                f"Run {options.run_id} already holds {', '.join(others)} made from other input "
                "or settings. Versions are never overwritten: give another --run-id."
            )
        return options.run_id, steps
    today = datetime.now(UTC).date()
    default = default_run_id(config, options.logical_date or today)
    if options.logical_date is not None:
        day = options.logical_date.isoformat()
        steps = plan(runs, config, stages, files, lambda run_id: run_id.startswith(day))
        return _first_suitable(runs, steps, default, lambda r: r.run_id.startswith(day)), steps
    resumed = runs.unfinished(default[len(today.isoformat()) :]) if options.resume else None
    steps = plan(runs, config, stages, files, lambda run_id: run_id == resumed)
    if resumed and is_suitable(runs, resumed, steps):
        return resumed, steps
    made_today = today.isoformat()
    return _first_suitable(
        runs, steps, default, lambda r: r.finished_at.startswith(made_today)
    ), steps


def _first_suitable(
    runs: Runs, steps: list[Step], default: str, of_day: Callable[[StageRecord], bool]
) -> str:
    """A run of the day that the stages go on with, or a new one."""
    ids = candidates(steps, default, of_day)
    return next(run_id for run_id in ids if is_suitable(runs, run_id, steps, of_day))


def candidates(
    steps: Sequence[Step], default: str, continued: Callable[[StageRecord], bool]
) -> Iterator[str]:
    """Run ids to try in turn: that of the newest stage built on, then the default and counters."""
    built_on = (record for step in steps for record in step.built_on)
    newest = max(built_on, key=lambda record: record.finished_at, default=None)
    if newest is not None and continued(newest):
        yield newest.run_id
    yield default
    attempt = 2
    while True:
        yield f"{default}-{attempt}"
        attempt += 1


def conflicts(runs: Runs, run_id: str, steps: Sequence[Step]) -> list[str]:
    """Stages that the run id already holds with another fingerprint."""
    held = ((step, runs.stage(run_id, step.stage)) for step in steps)
    return [s.stage for s, record in held if record and record.fingerprint != s.fingerprint]


def is_suitable(
    runs: Runs,
    run_id: str,
    steps: Sequence[Step],
    of_day: Callable[[StageRecord], bool] = lambda _: True,
) -> bool:
    """Whether the stages can be done as this run without mixing it with others.

    It has to hold nothing else under their names, neither among themselves nor upstream; and what
    the command ends with, if it is done already, has to be the newest of its day, or the next
    command would build on another.
    """
    upstream = {name: made for step in steps for name, made in step.lineage.items() if made}
    mixed = (made != run_id and runs.stage(run_id, name) for name, made in upstream.items())
    last = steps[-1].stage
    done = runs.stage(run_id, last)
    others = (r for r in runs.finished(last) if of_day(r) and not r.trial)
    stale = done and last != "publish" and next(others, done) != done
    return not (conflicts(runs, run_id, steps) or any(mixed) or stale)
