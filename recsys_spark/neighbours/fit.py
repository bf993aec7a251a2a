"""Fitting of similarity models: the product of the interactions with themselves.

Small interactions are collected and mapped on every host, large ones multiplied by a distributed
product; the rows are the same to the bit, whatever the partitions and the order of the input.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.errors import ContractError
from recsys_spark.kernels.als.spec import other_side
from recsys_spark.neighbours.broadcast import bytes_needed, nearest_broadcast
from recsys_spark.neighbours.cogrouped import nearest_cogrouped
from recsys_spark.neighbours.formulas import Formula, formula
from recsys_spark.neighbours.spec import ItemKnn, RP3Beta, UserKnn
from recsys_spark.schema import require

INTERACTIONS_BUDGET = 256 * 2**20


def fit_items(
    history: DataFrame, spec: ItemKnn | RP3Beta, budget_bytes: int = INTERACTIONS_BUDGET
) -> DataFrame:
    """The rows of an item-item model.

    Parameters
    ----------
    history
        Columns user int, item int and, where the model weighs values, value double; no pair twice.
    spec
        The model.
    budget_bytes
        Up to this size (8 bytes a pair, 24 where entries have values) the interactions are
        collected to the driver and mapped on every host.

    Returns
    -------
    Columns item int, neighbours array<int> in ascending order, weights array<float>: a row for
    each item that has neighbours. It is computed each time it is read, so keep what is read twice.

    Raises
    ------
    ContractError
        A column is missing, or a value is null, not finite, or not above 0 where it has to be.
    """
    made = formula(spec)
    rows = nearest_rows(entries_of(history, "item", made), made, budget_bytes)
    return rows.withColumnRenamed("row", "item")


def fit_users(
    history: DataFrame, users: DataFrame, spec: UserKnn, budget_bytes: int = INTERACTIONS_BUDGET
) -> DataFrame:
    """The nearest users of some users, among all users.

    Parameters
    ----------
    history, spec, budget_bytes
        As of `fit_items`.
    users
        Column user int, whose neighbours are wanted.

    Returns
    -------
    Columns user int, neighbours array<int> in ascending order, weights array<float>: a row for
    each of the users that has neighbours.
    """
    made = formula(spec)
    wanted = users.select(F.col("user").alias("row")).distinct()
    rows = nearest_rows(entries_of(history, "user", made), made, budget_bytes, wanted)
    return rows.withColumnRenamed("row", "user")


def multiplications(history: DataFrame, side: str = "item", users: DataFrame | None = None) -> int:
    """How many a model of similar items or users takes, the part that grows fastest.

    Parameters
    ----------
    history
        Columns user, item, no pair twice.
    side
        item or user: what is compared.
    users
        Column user, those whose similar users are wanted; None: all of them.
    """
    counts = history.groupBy(other_side(side)).agg(F.count("*").alias("rows"))
    own = history if users is None else history.join(users.select("user"), "user", "left_semi")
    total = own.join(counts, other_side(side)).agg(F.sum("rows").alias("rows")).first()
    return int(total["rows"] or 0) if total else 0


def entries_of(history: DataFrame, side: str, made: Formula) -> DataFrame:
    """Columns row, middle, value: the matrix whose rows are of this side."""
    columns = [side, other_side(side), *(["value"] if made.values else [])]
    require(history, columns, "history")
    value = F.col("value").cast("double") if made.values else F.lit(1.0)
    row, middle = F.col(side).alias("row"), F.col(other_side(side)).alias("middle")
    return history.select(row, middle, value.alias("value"))


def nearest_rows(
    entries: DataFrame, made: Formula, budget_bytes: int, wanted: DataFrame | None = None
) -> DataFrame:
    """Columns row, neighbours, weights, by the placement that the budget allows."""
    pairs = _checked(entries, made)
    if bytes_needed(pairs, made) <= budget_bytes:
        return nearest_broadcast(entries, made, wanted)
    return nearest_cogrouped(entries, made, wanted)


def _checked(entries: DataFrame, made: Formula) -> int:
    """How many pairs there are; raises ContractError for values that the model cannot take."""
    if not made.values:
        return entries.count()
    must = "finite and above 0" if made.positive else "finite"
    value = F.col("value")
    usable = value.isNotNull() & ~F.isnan(value) & (F.abs(value) < float("inf"))
    if made.positive:
        usable = usable & (value > 0)
    counts = entries.agg(F.count("*").alias("pairs"), F.count_if(~usable).alias("bad")).first()
    assert counts is not None
    if counts["bad"]:
        raise ContractError(
            f"history.value has to be {must} in this model, and is not in {counts['bad']} of "
            f"{counts['pairs']} pairs: leave those out, or set weights: binary."
        )
    return int(counts["pairs"])
