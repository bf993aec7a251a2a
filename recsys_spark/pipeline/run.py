"""A run: its tables, its lineage, and the rule by which a stage is done.

A stage is done if its record exists under the run id with the same fingerprint, which covers the
stage's settings, its input and everything upstream. Versions are written once: the same run id
with another fingerprint is refused, never overwritten.
"""

import hashlib
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.runs import Runs, StageRecord, now
from recsys_spark.runtime.slices import Slices
from recsys_spark.runtime.tables import Check, Manifest, Tables
from recsys_spark.runtime.tracking import Tracker

# What `run` does in order. A stage that is not among them, fold_in, is asked for by name.
STAGES = ("ingest", "split", "train", "evaluate", "recommend", "publish")
TABLES = {
    "ingest": ("interactions", "rejects", "user_ids", "item_ids", "items"),
    "split": ("train", "validation", "test", "fold_in", "negatives"),
    "train": ("user_factors", "item_factors"),
    "evaluate": ("metrics", "metrics_per_user", "lists_per_user", "places_per_user"),
    "fold_in": ("folded_users",),
    "recommend": (
        "recommendations",
        "similar_items",
        "similar_users",
        "group_recommendations",
    ),
}
# What each stage builds on; of several, on the first that the run has, or the newest of all.
_UPSTREAM = {
    "split": ("ingest",),
    "train": ("split",),
    "evaluate": ("train",),
    "fold_in": ("train",),
    "recommend": ("fold_in", "train"),
    "publish": ("recommend",),
}
_SECTIONS = {
    "ingest": ("ingest", "items"),
    "split": ("split",),
    "train": (
        "objective",
        "train",
        "evaluate.min_relevant_value",  # of the validation rows that early stopping looks at
        "solver.method",
        "solver.cg_steps",
        "solver.subspace_block",
    ),
    "evaluate": ("evaluate",),
    "fold_in": (),
    "recommend": ("recommend",),
    "publish": (),
}
_STAGE_OF = {table: stage for stage, tables in TABLES.items() for table in tables}
Summary = dict[str, Any]


@dataclass
class Run:
    """What the stages of one run share. lineage: the run that made each stage's tables.

    fingerprint: of the stage that is being done.
    """

    config: Config
    run_id: str
    spark: SparkSession
    tables: Tables
    runs: Runs
    log: Log
    tracker: Tracker
    lineage: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""

    def read(self, table: str) -> DataFrame:
        """The version of a table that this run builds on."""
        return self.tables.read(table, self.lineage[_STAGE_OF[table]])

    def has(self, table: str) -> bool:
        """Whether the run that this one builds on wrote the (optional) table."""
        made = self.lineage.get(_STAGE_OF[table])
        return made is not None and self.tables.manifest(table, made) is not None

    def write(
        self, frame: DataFrame, table: str, schema: StructType, check: Check | None = None
    ) -> Manifest:
        """Write this run's version of a table. check: of what is on disk, before it is sealed."""
        return self.tables.write(frame, table, self.run_id, schema, *self._made_from(), check)

    def slices(self, table: str) -> Slices:
        """This run's version of a table, in slices; `seal` it when they are complete."""
        return self.tables.slices(table, self.run_id, self.fingerprint)

    def seal(self, table: str, schema: StructType, check: Check) -> Manifest:
        """Declare what is on disk of this run's version complete, if `check` does not raise."""
        return self.tables.seal(table, self.run_id, schema, *self._made_from(), check)

    def _made_from(self) -> tuple[dict[str, str], str]:
        return dict(self.lineage), self.config.digest()

    def keep(self, frame: DataFrame, name: str) -> DataFrame:
        """Write an intermediate frame to the run's scratch folder and read it back.

        Cuts the plan; what is read back is the same however often tasks are repeated.
        """
        self.runs.store.delete(self.runs.path(self.run_id, f"scratch/{name}"))
        frame.write.mode("errorifexists").parquet(self.scratch(name))
        return self.spark.read.schema(frame.schema).parquet(self.scratch(name))

    def scratch(self, name: str) -> str:
        """The address of a folder that lasts as long as the stage, or until a killed one is done.

        Every host sees it, as it sees the tables.
        """
        return self.runs.store.uri(self.runs.path(self.run_id, f"scratch/{name}"))

    def drop_scratch(self) -> None:
        """Delete the scratch folders."""
        self.runs.store.delete(self.runs.path(self.run_id, "scratch"))


StageFunction = Callable[[Run], Summary]


def execute(
    run: Run, stage: str, function: StageFunction, wanted: Mapping[str, str]
) -> StageRecord:
    """Do a stage unless it is done with its wanted fingerprint, and return its record.

    wanted: what `plan` made of the command's stages.
    """
    upstream = upstream_record(run.runs, run.run_id, stage, wanted)
    run.lineage = dict(upstream.lineage) if upstream else {}
    with run.log.bound(stage=stage):
        if upstream and upstream.run_id != run.run_id:
            run.log.info(f"builds on run {upstream.run_id}")
        done = run.runs.stage(run.run_id, stage)
        if done and done.fingerprint == wanted[stage]:
            run.log.info(f"already done in {done.seconds:.1f} s; unchanged")
            return done
        return _perform(run, stage, function, wanted[stage])


def plan(
    runs: Runs, config: Config, run_id: str, stages: Sequence[str], files: Mapping[str, str]
) -> dict[str, str]:
    """The fingerprint that each stage will have. files: of what each stage reads beside tables.

    Raises ConfigError if a stage has nothing upstream to build on.
    """
    wanted: dict[str, str] = {}
    for stage in stages:
        planned = next((wanted[name] for name in _UPSTREAM.get(stage, ()) if name in wanted), None)
        record = None if planned else upstream_record(runs, run_id, stage)
        upstream = planned or (record.fingerprint if record else "")
        wanted[stage] = fingerprint(config, stage, upstream + files.get(stage, ""))
    return wanted


def conflicts(runs: Runs, run_id: str, wanted: Mapping[str, str]) -> list[str]:
    """Stages that the run id already holds with another fingerprint."""
    records = {stage: runs.stage(run_id, stage) for stage in wanted}
    return [s for s, record in records.items() if record and record.fingerprint != wanted[s]]


def is_done(runs: Runs, run_id: str, wanted: Mapping[str, str]) -> bool:
    """Whether every stage is done with the wanted fingerprint."""
    records = [(runs.stage(run_id, stage), print_) for stage, print_ in wanted.items()]
    return all(record is not None and record.fingerprint == print_ for record, print_ in records)


def fingerprint(config: Config, stage: str, source: str) -> str:
    """Hash of what decides a stage's tables."""
    settings = config.digest(*_SECTIONS[stage]) if _SECTIONS[stage] else ""
    return hashlib.sha256(f"{stage}|{settings}|{source}".encode()).hexdigest()[:16]


def default_run_id(config: Config, logical_date: date) -> str:
    """Date and hash of the settings that decide the result: a retry finds what is done."""
    sections = [section for stage in STAGES for section in _SECTIONS[stage]]
    return f"{logical_date.isoformat()}-{config.digest(*sections)}"


def upstream_record(
    runs: Runs, run_id: str, stage: str, command: Container[str] = ()
) -> StageRecord | None:
    """The record that a stage builds on: of the same run, else the newest. None for the first.

    command: the stages that are done together; what they have made goes before anything else.
    """
    if stage not in _UPSTREAM:
        return None
    needed = [name for name in _UPSTREAM[stage] if name in command] or _UPSTREAM[stage]
    own = (runs.stage(run_id, name) for name in needed)
    record = next((found for found in own if found), None) or runs.newest(*needed)
    if record is None:
        raise ConfigError(
            f"{stage} needs what {needed[-1]} makes, and no run under {runs.store.uri('')} has "
            f"done it: start with `recsys-spark {needed[-1]}` or `recsys-spark run`."
        )
    return _with_interactions(runs, run_id, record) if stage == "fold_in" else record


def _with_interactions(runs: Runs, run_id: str, trained: StageRecord) -> StageRecord:
    """The record of a model, beside the run's interactions or the newest in place of its own."""
    ingested = runs.stage(run_id, "ingest") or runs.newest("ingest")
    assert ingested is not None
    both = hashlib.sha256(f"{trained.fingerprint}|{ingested.fingerprint}".encode()).hexdigest()
    lineage = {**trained.lineage, "ingest": ingested.run_id}
    return replace(trained, fingerprint=both, lineage=lineage)


def _perform(run: Run, stage: str, function: StageFunction, wanted: str) -> StageRecord:
    run.runs.set_status(run.run_id, "running", stage, None)
    run.lineage, run.fingerprint = {**run.lineage, stage: run.run_id}, wanted
    started = time.monotonic()
    try:
        summary = function(run)
    finally:
        run.drop_scratch()
    seconds = round(time.monotonic() - started, 3)
    record = StageRecord(stage, run.run_id, wanted, run.lineage, now(), seconds, summary)
    run.runs.finish_stage(record)
    run.tracker.metrics({f"seconds.{stage}": seconds})
    run.tracker.tags(_version_tags(run.lineage))
    return record


def _version_tags(lineage: Mapping[str, str]) -> dict[str, str]:
    return {f"lineage.{stage}": run_id for stage, run_id in lineage.items()}
