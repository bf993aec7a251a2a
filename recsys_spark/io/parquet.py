"""Parquet files: the wanted columns alone, by the types in the footers.

Files of a folder may have other types for a column (whole numbers here, floats there: pandas makes
such of nullable numbers); they are read group by group. Text and numbers in one column are refused.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NumericType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from recsys_spark.errors import ContractError
from recsys_spark.io.fields import Wanted, WantedColumns, check_kind, locate, typed_fields
from recsys_spark.io.files import Found, SourceFile
from recsys_spark.io.filesystem import FileSystem, LocalFiles, RangeFile
from recsys_spark.io.records import Records, partition_column, with_text

_MOST_LOOKED_AT = 50  # files that are not of this machine
_BEGINNINGS = {
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bz2",
    b"PK\x03\x04": "a zip archive",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
}


@dataclass(frozen=True)
class _Read:
    """How a column of a file is read. kind: the type that Spark reads it as.

    nanoseconds: whether it is a time that Spark reads as a number of nanoseconds.
    """

    name: str
    kind: DataType
    nanoseconds: bool = False

    def value(self) -> Column:
        """The field of a record that was read with `kind`."""
        field = F.col("read").getField(self.name)
        if not self.nanoseconds:
            return field
        return F.timestamp_micros(F.expr(f"read.`{self.name.replace('`', '``')}` div 1000"))

    @property
    def type(self) -> DataType:
        """The type of `value`."""
        return TimestampType() if self.nanoseconds else self.kind


Columns = tuple[_Read | None, ...]  # by the order of the wanted; None: a folder's name has it


def read_parquet(spark: SparkSession, found: Found, section: str, wanted: WantedColumns) -> Records:
    """The records of Parquet files.

    Raises ContractError for a file that is not Parquet or cut off, and for a column that is
    missing, twice, of a type that cannot be what is wanted, or of types that do not go together.
    """
    here = isinstance(found.system, LocalFiles)
    _refuse_names(found)
    looked = found.files if here else found.files[:_MOST_LOOKED_AT]
    shapes = {file: _columns(found, file, section, wanted) for file in looked}
    _check_together(wanted, shapes)
    first = next(iter(shapes.values()))
    groups: dict[Columns, list[SourceFile]] = {}
    for file in found.files:
        groups.setdefault(shapes.get(file, first), []).append(file)
    frames = [_group(spark, found.system, files, shape, wanted) for shape, files in groups.items()]
    if len(frames) > 1:
        frames = list(map(with_text, frames))
    numeric = {
        key
        for at, (key, one) in enumerate(wanted.items())
        if one.role == "id" and all(_is_numeric(shape[at]) for shape in groups)
    }
    return Records(reduce(DataFrame.unionByName, frames), frozenset(numeric))


def _refuse_names(found: Found) -> None:
    for file in found.files:
        name = file.entry.path.split("/")[-1]
        if name.startswith(("_", ".")) or ":" in name or file.member:
            raise ContractError(
                f"{file.name} ({found.key}): Spark reads no Parquet file of such a name, or inside "
                "of an archive; give it a name that does not begin with '_' or '.' and has no ':'."
            )


def _columns(found: Found, file: SourceFile, section: str, wanted: WantedColumns) -> Columns:
    schema, physical = _footer(found, file, section)
    partitions = [name for name in file.partitions if name not in schema.names]
    at = locate(wanted, [*schema.names, *partitions], file.name)
    columns: list[_Read | None] = []
    for key, one in wanted.items():
        if at[key] >= len(schema.names):
            columns.append(None)
            continue
        field = schema.field(at[key])
        read = _read(field, physical.get(field.name, ""))
        if read is None:
            raise ContractError(
                f"Column {one.name!r} ({one.setting}) of {file.name} is {field.type}, which is "
                f"not read here."
            )
        check_kind(one, read.type, file.name)
        columns.append(read)
    return tuple(columns)


def _footer(found: Found, file: SourceFile, section: str) -> tuple[pa.Schema, dict[str, str]]:
    """The schema, and the physical types of the columns that are no structures."""
    raw = io.BufferedReader(RangeFile(found.system, file.entry), 1 << 16)
    try:
        parquet = pq.ParquetFile(raw)
    except (pa.ArrowInvalid, OSError) as error:
        raise ContractError(_not_parquet(found, file, section, error)) from None
    leaves = parquet.schema
    physical = {
        leaves.column(at).path: leaves.column(at).physical_type for at in range(len(leaves))
    }
    return parquet.schema_arrow, physical


def _not_parquet(found: Found, file: SourceFile, section: str, error: Exception) -> str:
    begin = found.system.read(file.entry.path, 0, 4)
    if begin == b"PAR1":
        return f"{file.name} ({found.key}) is cut off or damaged: {str(error).splitlines()[0]}"
    what = next((w for mark, w in _BEGINNINGS.items() if begin.startswith(mark)), "something else")
    return (
        f"{file.name} ({found.key}) is not Parquet but {what}: remove it, or correct "
        f"{section}.format or the path."
    )


def _read(field: pa.Field, physical: str) -> _Read | None:
    """How Spark reads a column, or None if it cannot."""
    kind, types = field.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_timestamp(kind):
        nanoseconds = kind.unit == "ns" and physical != "INT96"
        return _Read(field.name, LongType() if nanoseconds else TimestampType(), nanoseconds)
    if types.is_decimal(kind):
        return _Read(field.name, DecimalType(kind.precision, kind.scale))
    simple = (
        (types.is_boolean, BooleanType()),
        (lambda t: t == pa.uint64(), DecimalType(20, 0)),
        (types.is_integer, LongType()),
        (lambda t: types.is_floating(t) and t != pa.float16(), DoubleType()),
        (lambda t: types.is_string(t) or types.is_large_string(t), StringType()),
        (_is_bytes, BinaryType()),
        (types.is_date, DateType()),
        (types.is_null, IntegerType()),
        (_is_list_of_texts, ArrayType(StringType())),
        (lambda t: types.is_nested(t), StructType()),
    )
    found = next((spark for test, spark in simple if test(kind)), None)
    return None if found is None else _Read(field.name, found)


def _is_bytes(kind: pa.DataType) -> bool:
    is_any = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in is_any)


def _is_list_of_texts(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    return bool(pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type))


def _family(read: _Read | None) -> str:
    """Types of one family can be in one column; a folder's name is text."""
    if read is None:
        return "text"
    if isinstance(read.type, NumericType):
        return "numbers"
    return "times" if isinstance(read.type, TimestampType | DateType) else read.type.typeName()


def _check_together(wanted: WantedColumns, shapes: dict[SourceFile, Columns]) -> None:
    for at, one in enumerate(wanted.values()):
        first: dict[str, tuple[SourceFile, _Read | None]] = {}
        for file, shape in shapes.items():
            first.setdefault(_family(shape[at]), (file, shape[at]))
        if len(first) > 1:
            named = " and ".join(_typed(*pair) for pair in list(first.values())[:2])
            raise ContractError(
                f"Column {one.name!r} ({one.setting}) has other types in other files: {named}. "
                "Write them with one type, or read them from different folders."
            )


def _typed(file: SourceFile, read: _Read | None) -> str:
    return f"{read.type.simpleString() if read else 'string'} in {file.name}"


def _is_numeric(read: _Read | None) -> bool:
    """Whether its whole numbers fit a long."""
    if read is None or not isinstance(read.type, NumericType):
        return False
    return not isinstance(read.type, DecimalType) or read.type.precision - read.type.scale < 19


def _group(
    spark: SparkSession,
    system: FileSystem,
    files: list[SourceFile],
    shape: Columns,
    wanted: WantedColumns,
) -> DataFrame:
    """The records of files of one shape."""
    reads = {read.name: read for read in shape if read is not None}
    schema = StructType([StructField(name, read.kind) for name, read in reads.items()])
    reader = spark.read.option("__globPaths__", "false").schema(schema)
    fields = [F.col(f"`{name.replace('`', '``')}`") for name in reads]
    record = F.struct(*fields) if fields else F.struct(F.lit(None).alias("_"))
    frame = reader.parquet(*(system.address(file.entry.path) for file in files)).select(
        record.alias("read"), F.col("_metadata.file_path").alias("source_file")
    )
    columns = [
        column
        for (key, one), read in zip(wanted.items(), shape, strict=True)
        for column in _wanted(key, one, read)
    ]
    raw = F.col("read").alias("raw")
    return frame.select(raw, "source_file", F.lit(False).alias("malformed"), *columns)


def _wanted(key: str, one: Wanted, read: _Read | None) -> Iterable[Column]:
    if read is None:
        return typed_fields(one, key, partition_column(one.name), StringType())
    return typed_fields(one, key, read.value(), read.type)
