"""What folding in takes from the training rows: the statistics that the objective is made with."""

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.packed_interactions import Ids
from recsys_spark.als.weighting import OVER_ITEMS
from recsys_spark.errors import ConfigError, ContractError, setting
from recsys_spark.kernels.als.spec import SIDES, WalsSpec


def needed_rows(training: DataFrame | None, spec: WalsSpec, row: str) -> DataFrame | None:
    """The training rows, if the objective needs them to fold in rows of a side; else None.

    Raises ConfigError, naming the settings that need them, if they are not given.
    """
    settings = settings_with_statistics(spec, row)
    if settings and training is None:
        raise ConfigError(
            f"Folding in {row}s needs the rows that the model was trained on, since "
            f"{', '.join(map(setting, settings))} depends on them: give them as `training`."
        )
    return training if settings else None


def settings_with_statistics(spec: WalsSpec, row: str) -> list[str]:
    """The keys of the objective because of which rows of a side depend on all training rows."""
    sides = {
        f"{side}_{kind}_exponent": exponent(side)
        for kind, exponent in (
            ("frequency", spec.frequency_exponent),
            ("unobserved", spec.unobserved_exponent),
        )
        for side in SIDES
    }
    others = {
        "weighting": spec.weighting in OVER_ITEMS,
        "half_life_days": spec.half_life_days is not None and spec.decay_reference is None,
        "nu_star": spec.nu_star is not None,
        # Where biases are learned, what users see of the items has the mean inside.
        "biases": spec.biases in ("means", "damped") or (spec.biases, row) == ("learned", "item"),
    }
    return [key for key, needs in (others | sides).items() if needs]


def training_counts(training: DataFrame, fixed: Ids, row: str) -> dict[str, Ids]:
    """The pairs of every row of both sides in training, by ascending id; 16 bytes a row, as there.

    Raises ContractError if the side that stays does not have these ids.
    """
    counts = {}
    for side in SIDES:
        ids = training.groupBy(F.col(side).cast("long").alias("id"))
        table = ids.agg(F.count("*").alias("pairs")).toArrow().sort_by("id")
        counts[side] = table["pairs"].to_numpy()
        if side != row and not np.array_equal(table["id"].to_numpy(), fixed):
            raise ContractError(
                f"The {len(table):,} {side}s of the training rows are not the {len(fixed):,} that "
                "have factors: give the rows that this model was trained on, all of them."
            )
    return counts
