"""Whether training should end before its last sweep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import Train
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.run import Run
from recsys_spark.schema import FACTORS
from recsys_spark.stages.evaluate import evaluate
from recsys_spark.stages.recommend import recommend
from recsys_spark.wals.factors import factors_frame
from recsys_spark.wals.fit import Factorization

_CUT_OFF = 10


@dataclass
class EarlyStopping:
    """Ends training after `patience` sweeps in a row without a sufficient improvement.

    measure: what is watched, smaller is better. values: what it was after each sweep.
    """

    config: Train
    measure: Callable[[Factorization], float]
    values: list[float] = field(default_factory=list)

    def __call__(self, state: Factorization) -> str | None:
        """The reason to stop after this sweep, if there is one."""
        if self.config.early_stopping == "none":
            return None
        self.values.append(self.measure(state))
        idle = idle_sweeps(self.values, self.config.tolerance)
        if idle < self.config.patience:
            return None
        return (
            f"{self.config.early_stopping} improved by less than {self.config.tolerance:g} in "
            f"{idle} sweeps"
        )


def idle_sweeps(values: Sequence[float], tolerance: float) -> int:
    """How many of the last values in a row did not improve on the best before by the share."""
    best, idle = inf, 0
    for value in values:
        improved = best == inf or value < best - tolerance * abs(best)
        best, idle = min(best, value), 0 if improved else idle + 1
    return idle


def early_stopping(run: Run) -> EarlyStopping:
    """What the run's `train` section asks for."""
    config = run.config.train
    if config.early_stopping != "ndcg":
        return EarlyStopping(config, lambda state: state.losses[-1].total)
    if run.read("validation").isEmpty():
        raise ConfigError(
            "train.early_stopping: ndcg needs validation rows; set split.validation_fraction "
            "(or split.validation_last) above 0."
        )
    return EarlyStopping(config, lambda state: -validation_ndcg(run, state))


def validation_ndcg(run: Run, state: Factorization) -> float:
    """NDCG at 10 of the chosen validation users' lists, their training rows left out."""
    truth, restored = _validation_truth(run), state.restored()
    users = truth.select("user_id", "user").distinct()
    frames = (
        factors_frame(run.spark, side, FACTORS["id"].dataType).withColumnRenamed(
            "features", "factors"
        )
        for side in (restored.user, restored.item)
    )
    history = run.read("train")
    seen = history.select("user", "item").join(users.select("user"), "user", "left_semi")
    lists = recommend(
        users, history, seen, run.read("item_ids"), (next(frames), next(frames)), _CUT_OFF,
        fill=False, label="index",
    )  # fmt: skip
    measured = evaluate(lists, truth, [_CUT_OFF], "model", "validation").agg(F.avg("ndcg")).first()
    return float(measured[0]) if measured and measured[0] is not None else 0.0


def _validation_truth(run: Run) -> DataFrame:
    """The validation rows of a fixed choice of users, by a hash of their index."""
    rows = run.read("validation")
    chosen = (
        rows.select("user").distinct().orderBy(F.xxhash64("user"), "user")
        .limit(run.config.train.validation_users)
    )  # fmt: skip
    named = run.read("user_ids").toDF("user_id", "user")
    return rows.join(chosen, "user", "left_semi").join(named, "user")
