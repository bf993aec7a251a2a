"""One reader for every table that comes from outside: events, items, users, lists of all kinds.

Whatever the format, a record ends up as fields under the keys that the caller asks for, with the
record itself and its file beside them, so that all tables pass the same checks.
"""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.config import TableFile
from recsys_spark.errors import ConfigError
from recsys_spark.io.csv import read_csv
from recsys_spark.io.fields import WantedColumns
from recsys_spark.io.files import find_files
from recsys_spark.io.jsonl import keys_of, read_jsonl
from recsys_spark.io.lines import look_at
from recsys_spark.io.parquet import read_parquet


@dataclass(frozen=True)
class Table:
    """A table as it was opened, its records not read yet.

    frame: columns raw (see `records.record_text`), source_file, malformed (no record of its
    format), and those wanted. numeric: keys of ids that are numbers by their type in every file.
    keys: of the first JSON object. files: how many there are.
    """

    frame: DataFrame
    numeric: frozenset[str]
    fingerprint: str
    files: int
    keys: tuple[str, ...] = ()


def open_table(spark: SparkSession, section: str, table: TableFile, wanted: WantedColumns) -> Table:
    """Open the files of a section of the configuration. section: its key.

    Raises ConfigError for a path that is not set or names nothing, ContractError for files that
    are not what the section says, or lack a column. An object's keys are not known before it is
    read: those that are missing are null.
    """
    if table.path is None:
        raise ConfigError(f"{section}.path is not set: name the file or folder of the table.")
    found = find_files(f"{section}.path", table.path, lambda: spark)
    if table.format == "parquet":
        records = read_parquet(spark, found, section, wanted)
        return Table(records.frame, records.numeric, found.fingerprint, len(found.files))
    text = look_at(found, section, table.encoding)
    if table.format == "csv":
        records = read_csv(spark, text, table, wanted)
        return Table(records.frame, records.numeric, found.fingerprint, len(found.files))
    records = read_jsonl(spark, text, wanted)
    keys = tuple(keys_of(text))
    return Table(records.frame, records.numeric, found.fingerprint, len(found.files), keys)
