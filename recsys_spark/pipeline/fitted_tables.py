"""The model that a run builds on: what train, or refit after it, has written and noted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.kernels.als.spec import SIDES, WalsSpec, restored_spec
from recsys_spark.pipeline.context import Run
from recsys_spark.pipeline.stage_graph import refit_version
from recsys_spark.schema import FACTORS, RATINGS

FOLDED = "folded_model_users"
_OF_MODELS = (*(f"model_{side}_factors" for side in SIDES), "item_neighbours", "item_scores")
Scores = tuple[DataFrame, DataFrame]  # factors of users and of items


@dataclass(frozen=True)
class FittedTables:
    """The weighted ALS and the other models, as one stage has fitted them.

    stage, run_id: which one. spec: the objective, whatever the configuration says now. rows: those
    of `schema.RATINGS` that everything was fitted on. scores: factors of users and items, columns
    id, factors. settings, specs: of the other models, by name. tables: theirs, by the name of the
    table. folded: factors of users who came later, by the other models; None: there are none.
    """

    stage: str
    run_id: str
    spec: WalsSpec
    rows: DataFrame
    scores: Scores
    settings: Mapping[str, Any]
    specs: Mapping[str, WalsSpec]
    tables: Mapping[str, DataFrame]
    folded: DataFrame | None

    def of_model(self, name: str, table: str) -> DataFrame:
        """The rows of one of the other models."""
        return self.tables[table].where(F.col("model") == name)

    def factors_of(self, name: str) -> Scores:
        """The factors of one of the other models, columns id and factors."""
        tables = (self.of_model(name, f"model_{side}_factors") for side in SIDES)
        users, items = (table.select(*FACTORS.names) for table in tables)
        return users, items


def read_fitted(run: Run, stage: str | None = None) -> FittedTables:
    """What the stage has fitted; None: refit, where the run builds on one, else train."""
    stage = stage or ("refit" if "refit" in run.lineage else "train")
    record = run.upstream(stage)
    summary, tables = record.summary, run.tables
    version = refit_version(record.run_id) if stage == "refit" else record.run_id
    rows = tables.read("train", run.lineage["split"])
    if stage == "refit":
        rows = tables.read("interactions", record.lineage["ingest"]).select(*RATINGS.names)
    settings = summary.get("models", {})
    written = [name for name in _OF_MODELS if settings and tables.manifest(name, version)]
    return FittedTables(
        stage,
        record.run_id,
        restored_spec(run.upstream("train").summary["spec"]),
        rows,
        run.factors(version),
        settings,
        {name: restored_spec(spec) for name, spec in summary.get("model_specs", {}).items()},
        {name: tables.read(name, version) for name in written},
        run.find(FOLDED),
    )
