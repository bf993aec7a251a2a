"""One row a user with all that evaluating needs of it: what it had, what is known, what is true."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_HISTORY, _KNOWN, _TRUTH = range(3)


def gather_users(
    history: DataFrame,
    known: DataFrame | None,
    truth: DataFrame,
    columns: Mapping[str, DataFrame],
) -> DataFrame:
    """A row for each user of the truth, by one grouping of all rows.

    Parameters
    ----------
    history
        Columns user, item, each pair once: what models know of users.
    known
        The same of further pairs that lists leave out; None: there are none.
    truth
        Columns user, item, value.
    columns
        Further columns by name, from frames whose first column is the user and whose second is
        the value, each user once.

    Returns
    -------
    DataFrame
        Columns user, history, known and truth (array<bigint>), values (array<double>, parallel to
        truth) and the further ones, null where a user has none.
    """
    parts = [_tagged(history, _HISTORY), _tagged(truth, _TRUTH, F.col("value"))]
    parts += [] if known is None else [_tagged(known, _KNOWN)]
    tagged = parts[0]
    for part in parts[1:]:
        tagged = tagged.unionByName(part)
    relevant = F.collect_list(F.when(F.col("kind") == _TRUTH, F.struct("item", "value")))
    grouped = tagged.groupBy("user").agg(
        _items(_HISTORY).alias("history"), _items(_KNOWN).alias("known"), relevant.alias("pairs")
    )
    rows = grouped.where(F.size("pairs") > 0).select(
        "user",
        "history",
        "known",
        F.col("pairs.item").alias("truth"),
        F.col("pairs.value").alias("values"),
    )
    for name, frame in columns.items():
        rows = rows.join(frame.toDF("user", name), "user", "left")
    return rows


def _tagged(rows: DataFrame, kind: int, value: Column | None = None) -> DataFrame:
    return rows.select(
        F.col("user").cast("int").alias("user"),
        F.col("item").cast("bigint").alias("item"),
        F.lit(kind).alias("kind"),
        (F.lit(None) if value is None else value).cast("double").alias("value"),
    )


def _items(kind: int) -> Column:
    return F.collect_list(F.when(F.col("kind") == kind, F.col("item")))
