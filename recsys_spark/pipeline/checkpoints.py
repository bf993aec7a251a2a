"""Checkpoints of training: a versioned table of factors, and a small object that shows the newest.

A checkpoint counts once `checkpoint.json` names it, which is swapped after the table is committed;
so a killed run finds the newest complete one, or none. Older ones are deleted, and all of them when
the stage is done.
"""

import json
from dataclasses import asdict
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, FloatType, LongType, StringType, StructField, StructType

from recsys_spark.als.factors import SideFactors, factors_frame, read_factors
from recsys_spark.als.trainer import Factorization, Loss
from recsys_spark.kernels.als.spec import SIDES
from recsys_spark.pipeline.context import Run

_TABLE = "checkpoints"
_SCHEMA = StructType(
    [
        StructField("side", StringType()),
        StructField("id", LongType()),
        StructField("factors", ArrayType(FloatType())),
    ]
)


class Checkpoints:
    """The checkpoints of a stage that trains."""

    def __init__(self, run: Run) -> None:
        self.run, self.store = run, run.runs.store
        self._pointer = run.runs.path(run.run_id, "checkpoint.json")

    def save(self, state: Factorization, watched: list[float]) -> None:
        """Keep the state after a sweep, and what early stopping saw so far."""
        before, version = self._newest(), f"{self.run.run_id}.{len(state.losses)}"
        sides = [self._side(side, getattr(state, side)) for side in SIDES]
        run = self.run
        run.tables.write(
            sides[0].unionByName(sides[1]), _TABLE, version, _SCHEMA, dict(run.lineage),
            run.config.digest(),
        )  # fmt: skip
        losses = [asdict(loss) for loss in state.losses]
        content = {
            "fingerprint": run.fingerprint,
            "version": version,
            "losses": losses,
            "watched": watched,
        }
        self.store.replace(self._pointer, json.dumps(content))
        if before and before["version"] != version:
            self.store.delete(run.tables.path(_TABLE, before["version"]))

    def load(self) -> tuple[Factorization, list[float]] | None:
        """What an interrupted attempt of the same stage saved last, if it did."""
        newest = self._newest()
        if not newest or newest["fingerprint"] != self.run.fingerprint:
            return None
        if self.run.tables.manifest(_TABLE, newest["version"]) is None:
            return None
        table = self.run.tables.read(_TABLE, newest["version"])
        users, items = (read_factors(table.where(F.col("side") == side)) for side in SIDES)
        losses = [Loss(**loss) for loss in newest["losses"]]
        return Factorization(users, items, losses), newest["watched"]

    def clear(self) -> None:
        """Delete what was kept: the stage is done."""
        newest = self._newest()
        if newest:
            self.store.delete(self._pointer)
            self.store.delete(self.run.tables.path(_TABLE, newest["version"]))

    def _newest(self) -> dict[str, Any] | None:
        text = self.store.read(self._pointer)
        return json.loads(text) if text else None

    def _side(self, side: str, factors: SideFactors) -> DataFrame:
        frame = factors_frame(self.run.spark, factors, LongType())
        return frame.select(F.lit(side).alias("side"), "id", F.col("features").alias("factors"))
