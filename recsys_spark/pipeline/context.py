"""A run: its tables, its lineage, and the rule by which a stage is done.

A stage is done if its record exists under the run id with the same fingerprint, which covers the
stage's settings, its input and everything upstream. Versions are written once: the same run id
with another fingerprint is refused, never overwritten.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.stage_graph import STAGE_OF, STAGES, refit_version
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.tracking import Tracker
from recsys_spark.storage.partial_versions import Slices
from recsys_spark.storage.runs import Runs, StageRecord, now
from recsys_spark.storage.tables import Check, Manifest, Tables
from recsys_spark.workers import TaskRows

Summary = dict[str, Any]
# Writes a frame to the run's scratch folder under a name and reads it back: `Run.keep`.
Keep = Callable[[DataFrame, str], DataFrame]


@dataclass(frozen=True)
class Workspace:
    """What the parts of a stage share beside frames and settings; tables are for the stage alone.

    keep, scratch: `Run.keep` and `Run.scratch`. fingerprint: of the stage.
    """

    spark: SparkSession
    log: Log
    tracker: Tracker
    keep: Keep
    scratch: Callable[[str], str]
    fingerprint: str

    def training_blocks(self, name: str = "") -> str:
        """Where blocks of training rows are spilled, which the same stage finds when it is redone.

        name: of what is trained, where a stage trains more than one model.
        """
        return self.scratch(f"training-{self.fingerprint}{name and '-'}{name}")


@dataclass
class Run:
    """What the stages of one run share. lineage: the run that made each stage's tables.

    session: opens the session at its first call.
    stage, fingerprint: of the stage that is being done, or was done last. trial: whether the run is
    made to be measured only, so that no other builds on it.
    """

    config: Config
    run_id: str
    session: Callable[[], SparkSession]
    tables: Tables
    runs: Runs
    log: Log
    tracker: Tracker
    lineage: dict[str, str] = field(default_factory=dict)
    stage: str = ""
    fingerprint: str = ""
    trial: bool = False

    @property
    def spark(self) -> SparkSession:
        """The session, which is opened when it is first needed."""
        return self.session()

    @property
    def workspace(self) -> Workspace:
        """For the parts of the stage that is being done."""
        return Workspace(
            self.spark, self.log, self.tracker, self.keep, self.scratch, self.fingerprint
        )

    def version(self, table: str) -> str | None:
        """The version of a table that this run builds on; None: no stage upstream writes it.

        Of the factors the refitted ones, where the model was refitted.
        """
        stage = STAGE_OF[table]
        if stage == "train" and "refit" in self.lineage:
            return refit_version(self.lineage["refit"])
        return self.lineage.get(stage)

    def read(self, table: str) -> DataFrame:
        """The version of a table that this run builds on."""
        version = self.version(table)
        assert version is not None, f"{table} is not upstream"
        return self.tables.read(table, version)

    def rows(self, table: str) -> int:
        """How many rows the version has that this run builds on; from its manifest."""
        return self.tables.version(table, self.version(table)).rows

    def find(self, table: str) -> DataFrame | None:
        """The same; None where the run that this one builds on did not write the table."""
        return self.read(table) if self.has(table) else None

    def has(self, table: str) -> bool:
        """Whether the run that this one builds on wrote the (optional) table."""
        version = self.version(table)
        return version is not None and self.tables.manifest(table, version) is not None

    def factors(self, version: str) -> tuple[DataFrame, DataFrame]:
        """Columns id, factors, of users and of items."""
        return self.tables.read("user_factors", version), self.tables.read("item_factors", version)

    def upstream(self, stage: str) -> StageRecord:
        """The record of a stage that this run builds on."""
        record = self.runs.stage(self.lineage[stage], stage)
        assert record is not None, f"{stage} is not upstream"
        return record

    def noted(self, stage: str, key: str) -> Any:
        """What a stage that this run builds on has in its summary.

        Raises ConfigError where it was made before the stage noted it.
        """
        record = self.upstream(stage)
        if key not in record.summary:
            raise ConfigError(
                f"{stage} of run {record.run_id} was made by an older version, which did not note "
                f"its {key}: run {stage} again."
            )
        return record.summary[key]

    def write(
        self,
        rows: DataFrame | TaskRows,
        table: str,
        schema: StructType,
        check: Check | None = None,
        version: str | None = None,
    ) -> Manifest:
        """Write this run's version of a table. check: of what is on disk, before the commit."""
        name = version or self.run_id
        return self.tables.write(rows, table, name, schema, *self._made_from(), check)

    def slices(self, table: str) -> Slices:
        """This run's version of a table, in slices; `commit` it when they are complete."""
        return self.tables.slices(table, self.run_id, self.fingerprint)

    def commit(self, table: str, schema: StructType, check: Check) -> Manifest:
        """Declare what is on disk of this run's version complete, if `check` does not raise."""
        return self.tables.commit(table, self.run_id, schema, *self._made_from(), check)

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

    def do(self, stage: str, function: "StageFunction", wanted: str) -> StageRecord:
        """Do a stage unless it is done with the wanted fingerprint, and return its record."""
        done = self.runs.stage(self.run_id, stage)
        if done and is_done(self.runs, self.tables, self.run_id, stage, wanted):
            self.log.info(f"already done in {done.seconds:.1f} s; unchanged")
            return done
        self.runs.set_status(self.run_id, "running", stage, None)
        self.stage, self.fingerprint = stage, wanted
        started = time.monotonic()
        try:
            summary = function(self)
        finally:
            self.drop_scratch()
        seconds = round(time.monotonic() - started, 3)
        made = self.run_id, wanted, self.lineage, now(), seconds
        record = StageRecord(stage, *made, summary, self.trial)
        self.runs.finish_stage(record)
        self.tracker.metrics({f"seconds.{stage}": seconds})
        self.tracker.tags({f"lineage.{name}": run_id for name, run_id in self.lineage.items()})
        return record

    def records(self) -> dict[str, StageRecord]:
        """Of the run's stages, and of those of other runs that it builds on."""
        made = {stage: self.lineage.get(stage, self.run_id) for stage in STAGES}
        found = {stage: self.runs.stage(run_id, stage) for stage, run_id in made.items()}
        return {stage: record for stage, record in found.items() if record}


StageFunction = Callable[[Run], Summary]


def is_done(runs: Runs, tables: Tables, run_id: str, stage: str, wanted: str) -> bool:
    """Whether the stage's record has the wanted fingerprint, and readers see what it published."""
    record = runs.stage(run_id, stage)
    if record is None or record.fingerprint != wanted:
        return False
    return stage != "publish" or tables.current("recommendations") == record.lineage["recommend"]
