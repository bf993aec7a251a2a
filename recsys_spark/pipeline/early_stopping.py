"""Whether training should end before its last sweep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from recsys_spark.als.trainer import Factorization
from recsys_spark.config import Train
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.context import Workspace
from recsys_spark.pipeline.validation import Validation, ValidationTables

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


def early_stopping(config: Train, tables: ValidationTables, work: Workspace) -> EarlyStopping:
    """What the settings ask for. tables: of the validation rows, which a ranking metric needs."""
    if config.early_stopping != "ndcg":
        return EarlyStopping(config, lambda state: state.losses[-1].total)
    if not tables.count:
        raise ConfigError(
            "train.early_stopping: ndcg needs validation rows; set split.validation_fraction "
            "(or split.validation_last) above 0."
        )
    validation = Validation(tables, work, config.validation_users)
    return EarlyStopping(config, lambda state: -validation.metric(state, "ndcg", _CUT_OFF))
