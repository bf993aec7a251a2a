"""Records of a table, as every format gives them."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


@dataclass(frozen=True)
class Records:
    """frame: columns raw (the record as text), source_file, malformed, and those wanted.

    numeric: keys of ids that are numbers by their type in every file.
    """

    frame: DataFrame
    numeric: frozenset[str] = frozenset()


def partition_column(name: str) -> Column:
    """The value of a folder `name=value` in the address of the file, as Hive writes it."""
    folder = F.regexp_extract("source_file", f"/\\Q{name}\\E=([^/]*)/", 1)
    value = F.try_url_decode(F.try_url_decode(F.replace(folder, F.lit("+"), F.lit("%2B"))))
    return F.when(value != "__HIVE_DEFAULT_PARTITION__", value)
