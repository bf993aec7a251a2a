"""One row a user with all that evaluating needs of it: what it had, what is known, what is true."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.topn.blocks import WEIGHTS

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
        Columns user, item, value, each pair once: what models know of users.
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
        Columns user, history, known and truth (array<bigint>), history_weights and values
        (array<double>, parallel to history and truth), and the further ones, null where a user has
        none.
    """
    parts = [_tagged(history, _HISTORY, F.col("value")), _tagged(truth, _TRUTH, F.col("value"))]
    parts += [] if known is None else [_tagged(known, _KNOWN)]
    tagged = parts[0]
    for part in parts[1:]:
        tagged = tagged.unionByName(part)
    grouped = tagged.groupBy("user").agg(
        *(_pairs(kind).alias(f"of_{kind}") for kind in (_HISTORY, _KNOWN, _TRUTH))
    )
    rows = grouped.where(F.size(f"of_{_TRUTH}") > 0).select(
        "user",
        F.col(f"of_{_HISTORY}.item").alias("history"),
        F.col(f"of_{_HISTORY}.value").alias(WEIGHTS),
        F.col(f"of_{_KNOWN}.item").alias("known"),
        F.col(f"of_{_TRUTH}.item").alias("truth"),
        F.col(f"of_{_TRUTH}.value").alias("values"),
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


def _pairs(kind: int) -> Column:
    return F.collect_list(F.when(F.col("kind") == kind, F.struct("item", "value")))
