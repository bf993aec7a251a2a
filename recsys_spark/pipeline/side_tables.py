"""Ids of side tables in the type of the interactions, and whether the interactions have them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.config import TableFile
from recsys_spark.errors import ContractError
from recsys_spark.io.fields import Role
from recsys_spark.io.side_tables import read_rows
from recsys_spark.runtime.log import Log
from recsys_spark.schema import typed_id

# Names and roles of columns, by the keys of the settings that name them in the file.
Columns = Mapping[str, tuple[str, Role]]
USER: tuple[str, Role] = ("user_id", "id")
ITEM: tuple[str, Role] = ("item_id", "id")
SEGMENT: tuple[str, Role] = ("segment", "text")


@dataclass(frozen=True)
class SideTables:
    """Reads the files of settings. known: by column, the values that the interactions have."""

    spark: SparkSession
    log: Log
    known: Mapping[str, DataFrame]

    def read(
        self, section: str, table: TableFile, columns: Columns, new: bool = False
    ) -> DataFrame:
        """The rows of a file, matched with what is known: see `match`."""
        return self.match(section, read_rows(self.spark, section, table, dict(columns)), new)

    def match(self, section: str, rows: DataFrame, new: bool = False) -> DataFrame:
        """The same of rows that are read already."""
        known = {name: self.known[name] for name in rows.columns if name in self.known}
        return match(self.log, section, rows, known, new)


def match(
    log: Log, section: str, rows: DataFrame, known: Mapping[str, DataFrame], new: bool = False
) -> DataFrame:
    """The rows with their ids in the type of what is known; what cannot be one is left out.

    section: the setting of the table, for messages. known: for each column its known values, in
    the first column of a frame. new: whether ids that are not known are meant.

    Raises ContractError if no row matches, which is no empty list but another kind of ids.
    """
    for column, values in known.items():
        rows = _matched(log, section, rows, column, values, new)
    return rows


def _matched(
    log: Log, section: str, rows: DataFrame, column: str, values: DataFrame, new: bool
) -> DataFrame:
    typed = with_given(rows, column, values)
    is_good = F.col(column).isNotNull() if new else F.col("found")
    row = (
        typed.join(marked(values, column).distinct(), column, "left")
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_if(is_good).alias("good"),
            F.min("given").alias("given"),
        )
        .first()
    )
    assert row is not None
    check_match(log, section, column, values, row.asDict(), new)
    return typed.drop("given").dropna(subset=[column])


def with_given(rows: DataFrame, column: str, values: DataFrame) -> DataFrame:
    """The rows with the column in the type of the values, null where it cannot be, and as given."""
    kind = values.schema[0].dataType.simpleString()
    given = rows.withColumn("given", F.col(column))
    return given.withColumn(column, typed_id(F.col(column), kind))


def marked(values: DataFrame, column: str) -> DataFrame:
    """The values as the column, with a column `found`, which is true."""
    return values.select(F.col(values.columns[0]).alias(column), F.lit(True).alias("found"))


def check_match(
    log: Log,
    section: str,
    column: str,
    values: DataFrame,
    counts: Mapping[str, Any],
    new: bool = False,
) -> None:
    """Say how many rows have a known value; raise ContractError if there are some and none has.

    counts: rows, those of them that are good, and an example of what was given.
    """
    rows, good = counts["rows"] or 0, counts["good"] or 0
    if rows and not good:
        example = values.select(F.min(values.columns[0])).first()
        raise ContractError(
            f"{section}.path: in none of its {rows:,} rows {column} is one of the "
            f"interactions; the file has values such as {counts['given']!r}, the interactions such "
            f"as {example[0] if example else None!r}. Check the file and the columns of {section}."
        )
    if good < rows and not new:
        log.info(f"{section}: {good:,} of {rows:,} rows have a known {column}")
