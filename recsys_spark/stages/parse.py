"""From raw records to text fields: user, item, value, and the event time in UTC."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, StructType, TimestampNTZType, TimestampType

from recsys_spark.config import Filter, Source
from recsys_spark.errors import ContractError

_TIMES = (TimestampType, TimestampNTZType, DateType)
_PER_SECOND = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}


def parse(records: DataFrame, source: Source, names: list[str], filters: list[Filter]) -> DataFrame:
    """Columns raw, source_file, malformed, user, item, value, event (text), timestamp,
    has_timestamp, and `filtered_on`, a struct of the columns that the filters name.

    records: as `runtime.source` opens them. A csv record is malformed if it has more or fewer
    fields than the header, a JSON record if it is not an object. Raises ContractError if a filter
    names a column that is not there.
    """
    filtered = list(dict.fromkeys(f.column for f in filters))
    if source.format == "jsonl":
        names = list(dict.fromkeys([*names, *filtered]))
    _require_filtered(filtered, names, source)
    fields, malformed = _fields(source, names)
    parsed = records.withColumn("parsed", fields).withColumn("malformed", malformed)
    kinds = _kinds(parsed)
    columns = source.columns
    return parsed.select(
        "raw",
        "source_file",
        "malformed",
        _text(columns.user).alias("user"),
        _text(columns.item).alias("item"),
        (F.lit("1") if columns.value is None else _text(columns.value)).alias("value"),
        (F.lit(None) if columns.event is None else _text(columns.event)).alias("event"),
        _time(columns.timestamp, source, kinds).alias("timestamp"),
        F.lit(columns.timestamp is not None).alias("has_timestamp"),
        F.struct(F.lit(True).alias("_"), *(_text(c).alias(c) for c in filtered)).alias(
            "filtered_on"
        ),
    )


def _require_filtered(filtered: list[str], names: list[str], source: Source) -> None:
    missing = [name for name in filtered if name not in names]
    if missing:
        raise ContractError(
            f"{source.path} has no column {', '.join(missing)} (ingest.filters); its columns are "
            f"{', '.join(names)}."
        )


def _fields(source: Source, names: list[str]) -> tuple[Column, Column]:
    if source.format == "parquet":
        return F.col("fields"), F.lit(False)
    schema = ", ".join(f"`{name.replace('`', '``')}` STRING" for name in names)
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": "_corrupt"}
    if source.format == "jsonl":
        parsed = F.from_json("raw", f"{schema}, `_corrupt` STRING", options)
    else:
        options |= {"sep": source.separator, "quote": source.quote or "\u0000"}
        options |= {"escape": source.quote or "\\"}
        parsed = F.from_csv(
            F.regexp_replace("raw", "^\ufeff", ""), f"{schema}, `_corrupt` STRING", options
        )
    broken = F.col("parsed._corrupt").isNotNull() | F.col("parsed").isNull()
    return parsed, broken | (F.col("raw") == "")  # a blank line parses as empty fields


def _kinds(parsed: DataFrame) -> StructType:
    kind = parsed.schema["parsed"].dataType
    assert isinstance(kind, StructType)
    return kind


def _field(name: str | int) -> Column:
    return F.col("parsed").getField(str(name))


def _text(name: str | int) -> Column:
    return _field(name).cast("string")


def _time(name: str | int | None, source: Source, kinds: StructType) -> Column:
    if name is None:
        return F.lit(None).cast("timestamp")
    if isinstance(kinds[str(name)].dataType, _TIMES):
        return _field(name).cast("timestamp")
    if source.timestamp_unit == "iso":
        return F.try_to_timestamp(_text(name))
    # Decimal arithmetic keeps fractions of seconds exact, and overflows to null, not an error.
    number = _text(name).try_cast("decimal(26,6)") * F.lit(_PER_SECOND[source.timestamp_unit])
    return F.timestamp_micros(number.try_cast("bigint"))
