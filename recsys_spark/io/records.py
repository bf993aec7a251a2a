"""Records of a table, as every format gives them."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType


@dataclass(frozen=True)
class Records:
    """frame: columns raw (the record: `record_text`), source_file, malformed, and those wanted.

    numeric: keys of ids that are numbers by their type in every file.
    """

    frame: DataFrame
    numeric: frozenset[str] = frozenset()


def record_text(frame: DataFrame) -> Column:
    """The column raw as text: a line as it is, a structure as JSON.

    JSON costs more than all rules together, so that it is made of the rows that need it alone.
    """
    if isinstance(frame.schema["raw"].dataType, StructType):
        return F.to_json("raw")  # always valid UTF-8
    return F.col("raw")


def with_text(frame: DataFrame) -> DataFrame:
    """The records with raw as text, whatever their format."""
    return frame.withColumn("raw", record_text(frame))


def partition_column(name: str) -> Column:
    """The value of a folder `name=value` in the address of the file, as Hive writes it."""
    folder = F.regexp_extract("source_file", f"/\\Q{name}\\E=([^/]*)/", 1)
    value = F.try_url_decode(F.try_url_decode(F.replace(folder, F.lit("+"), F.lit("%2B"))))
    return F.when(value != "__HIVE_DEFAULT_PARTITION__", value)
