"""CSV of any separator: a record a line, by the header or by position."""

import csv
import re
from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.config import TableFile
from recsys_spark.errors import ContractError
from recsys_spark.io.fields import WantedColumns, locate, text_fields
from recsys_spark.io.files import SourceFile
from recsys_spark.io.lines import TextFiles, read_lines
from recsys_spark.io.quotation import Quoting, mark_open
from recsys_spark.io.records import Records, partition_column

_SEPARATORS = (";", "\t", "|", ",", "::")


def read_csv(
    spark: SparkSession, text: TextFiles, table: TableFile, wanted: WantedColumns
) -> Records:
    """The records of csv files; a blank line is none, and neither is the header."""
    text = text.only(_with_the_columns(text, table, wanted))
    first = text.found.files[0]
    names = _names(text, first, table)
    partitions = list(first.partitions)
    at = locate(wanted, names + partitions, first.name, _hints(text, first, table, names))
    folders = {len(names) + place: partition_column(name) for place, name in enumerate(partitions)}
    lines = _record_lines(spark, text, table)
    return Records(parse_lines(lines, table, len(names), wanted, at, folders))


def parse_lines(
    lines: DataFrame,
    table: TableFile,
    fields: int,
    wanted: WantedColumns,
    at: Mapping[str, int],
    others: Mapping[int, Column],
) -> DataFrame:
    """Columns raw, source_file, malformed and those wanted, of lines that are records.

    lines: columns raw, source_file and open. fields: how many a record has. at: the position of
    each wanted column. others: columns at positions behind the fields.
    """
    parsed = lines.withColumn("parsed", _parsed(table, fields))
    columns = [
        column
        for key, one in wanted.items()
        for column in text_fields(one, key, others.get(at[key], _field(at[key])))
    ]
    broken = F.col("parsed._corrupt").isNotNull() | F.col("parsed").isNull() | F.col("open")
    return parsed.select("raw", "source_file", broken.alias("malformed"), *columns)


def _field(at: int) -> Column:
    return F.col("parsed").getField(f"f{at}")


def _parsed(table: TableFile, fields: int) -> Column:
    schema = ", ".join(f"f{at} STRING" for at in range(fields))
    options = {
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": "_corrupt",
        "sep": table.separator,
        "quote": table.quote or "\u0000",
        "escape": table.quote or "\\",
    }
    return F.from_csv("raw", f"{schema}, _corrupt STRING", options)


def _record_lines(spark: SparkSession, text: TextFiles, table: TableFile) -> DataFrame:
    """Columns raw, source_file and open, of lines that are records; two jobs at most.

    Raises ContractError for a file with another header, whose columns could be swapped silently.
    """
    lines = read_lines(spark, text)
    header = _header(text, text.found.files[0]) if table.header else None
    quoting = Quoting(table.quote, table.separator) if table.quote else None
    opens = _check_lines(lines, text, header, quoting) if header or quoting else False
    if quoting and opens:
        lines = mark_open(lines, quoting)
    else:
        lines = lines.withColumn("open", F.lit(False))
    kept = F.trim("raw") != ""
    return lines.where(kept if header is None else kept & (F.col("raw") != header))


def _check_lines(
    lines: DataFrame, text: TextFiles, header: str | None, quoting: Quoting | None
) -> bool:
    """Whether a record may go on behind its line; raises where a file has not the header."""
    if len(text.found.files) == 1 and (quoting is None or text.holds(quoting.mark) is False):
        return False
    is_header = F.lit(True) if header is None else F.col("raw") == header
    may_open = F.lit(False) if quoting is None else quoting.may_open(F.col("raw"))
    files = lines.groupBy("source_file").agg(
        F.count_if(is_header).alias("headers"), F.count_if(may_open).alias("opens")
    )
    other = F.min(F.when(F.col("headers") == 0, F.col("source_file")))
    row = files.agg(other.alias("other"), F.sum("opens").alias("opens")).first()
    if row is not None and row["other"] is not None:
        raise ContractError(
            f"{row['other']} does not have the header {header!r} of the other files of "
            f"{text.found.path}; all files of a source need the same header."
        )
    return bool(row and row["opens"])


def _with_the_columns(text: TextFiles, table: TableFile, wanted: WantedColumns) -> list[SourceFile]:
    """The files; of several members of an archive, the one whose header has the columns."""
    files = text.found.files
    if len(files) == 1 or not files[0].member:
        return files
    members = [file for file in files if table.header and _has(text, file, table, wanted)]
    if len(members) == 1:
        return members
    names = ", ".join(file.member for file in files)
    raise ContractError(
        f"{text.found.path} ({text.found.key}) has the members {names}: name the one to read, such "
        f"as {files[0].name}."
    )


def _has(text: TextFiles, file: SourceFile, table: TableFile, wanted: WantedColumns) -> bool:
    names = _split(next(iter(text.head(file, 1)), ""), table)
    return all(one.name in names for one in wanted.values())


def _header(text: TextFiles, file: SourceFile) -> str:
    first = text.head(file, 1)
    if not first:
        raise ContractError(f"{file.name} ({text.found.key}) is empty: no header and no row.")
    return first[0]


def _names(text: TextFiles, file: SourceFile, table: TableFile) -> list[str]:
    fields = _split(_header(text, file), table)
    return fields if table.header else [str(at) for at in range(len(fields))]


def _split(line: str, table: TableFile) -> list[str]:
    """The fields of a header, without blanks around them."""
    quote, separator = table.quote, table.separator
    if len(separator) == 1 and quote:
        row = next(csv.reader([line], delimiter=separator, quotechar=quote), [])
        return [name.strip() for name in row]
    fields = line.split(separator)
    return [name.strip().strip(quote) if quote else name.strip() for name in fields]


def _hints(text: TextFiles, file: SourceFile, table: TableFile, names: list[str]) -> list[str]:
    """What the first line looks like, where a column is missing from it."""
    line, section = _header(text, file), text.section
    hints = []
    if len(names) == 1:
        other = next((mark for mark in _SEPARATORS if mark in line), None)
        if other is not None:
            hints.append(f"If {other!r} separates its fields, set {section}.separator.")
    if line.lower().startswith("sep="):
        return ["The first line is one that Excel writes for itself: remove it."]
    if line.startswith(("#", "//", "--")):
        hints.append("The first line looks like a comment: remove it.")
    if line.lstrip().startswith(("{", "[")):
        hints.append(f"The first line looks like JSON: set {section}.format: jsonl.")
    is_row = len(names) == 1 or any(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in names)
    if table.header and is_row:
        hints.append(
            f"If the first line is a row and no header, set {section}.header: false, and columns "
            "by position."
        )
    return hints
