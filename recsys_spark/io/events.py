"""The events: records of the source as the rules judge them."""

from dataclasses import dataclass, replace

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from recsys_spark.config import Filter, Source
from recsys_spark.errors import ConfigError
from recsys_spark.io.fields import Role, Wanted
from recsys_spark.io.records import with_text
from recsys_spark.io.tables import open_table

SECTION = "ingest.source"
_ROLES: dict[str, Role] = {
    "user": "id",
    "item": "id",
    "value": "number",
    "timestamp": "time",
    "event": "text",
}
_PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
_PER_SECOND["nanoseconds"] = 1_000_000_000


@dataclass(frozen=True)
class Events:
    """The records of all files, not read yet.

    frame: columns raw, source_file, malformed, user, user_bad, item, item_bad, value (text, or a
    double of files with numbers), event (text), timestamp, has_timestamp, and `filtered_on`, a
    struct of the columns that the filters name. numeric: sides whose ids are numbers in every
    file. keys: of the first JSON object.
    """

    source: Source
    frame: DataFrame
    numeric: frozenset[str] = frozenset()
    fingerprint: str = ""
    files: int = 1
    keys: tuple[str, ...] = ()


def open_events(spark: SparkSession, source: Source, filters: list[Filter]) -> Events:
    """The events of ingest.source, with what the filters ask for.

    Raises ConfigError for a path that names nothing, ContractError for files that are not what the
    source says or lack a column.
    """
    if source.path is None:
        raise ConfigError("ingest.source.path is not set: name the file or folder of the events.")
    wanted, filtered = wanted_columns(source, filters)
    table = open_table(spark, SECTION, source, wanted)
    frame = event_fields(table.frame, source, filtered)
    return Events(source, frame, table.numeric, table.fingerprint, table.files, table.keys)


def wanted_columns(
    source: Source, filters: list[Filter]
) -> tuple[dict[str, Wanted], dict[str, str]]:
    """The columns of the events, and the names of those among them that filters ask for."""
    wanted = {
        key: Wanted(column, role, f"{SECTION}.columns.{key}", key not in ("user", "item"))
        for key, role in _ROLES.items()
        if (column := getattr(source.columns, key)) is not None
    }
    filtered = list(dict.fromkeys(condition.column for condition in filters))
    others = {f"filter{at}": Wanted(c, "text", "ingest.filters") for at, c in enumerate(filtered)}
    return wanted | others, dict(zip(others, filtered, strict=True))


def event_fields(frame: DataFrame, source: Source, filtered: dict[str, str]) -> DataFrame:
    """The columns of `Events.frame`. filtered: the name of each column that filters ask for."""
    conditions = (F.col(f"`{key}`").alias(name) for key, name in filtered.items())
    return frame.select(
        "raw",
        "source_file",
        "malformed",
        "user",
        "user_bad",
        "item",
        "item_bad",
        _value(frame, source).alias("value"),
        (F.col("event") if "event" in frame.columns else F.lit(None).cast("string")).alias("event"),
        _time(frame, source).alias("timestamp"),
        F.lit(source.columns.timestamp is not None).alias("has_timestamp"),
        F.struct(F.lit(True).alias("_"), *conditions).alias("filtered_on"),
    )


def _value(frame: DataFrame, source: Source) -> Column:
    if "value" not in frame.columns:
        return F.lit(1.0)
    if source.decimal == "." or source.format == "parquet":
        return F.col("value")
    return F.translate("value", ",.", ".,")


def _time(frame: DataFrame, source: Source) -> Column:
    if "timestamp" not in frame.columns:
        return F.lit(None).cast("timestamp")
    time = F.col("timestamp")
    if not isinstance(frame.schema["timestamp"].dataType, StringType):
        return time
    if source.timestamp_unit == "iso":
        return F.try_to_timestamp(time)
    # Decimal arithmetic keeps fractions of seconds exact, and overflows to null, not an error.
    number, unit = time.try_cast("decimal(26,6)"), _PER_SECOND[source.timestamp_unit]
    finer = unit > 1_000_000
    micros = number / F.lit(unit // 1_000_000) if finer else number * F.lit(1_000_000 // unit)
    return F.timestamp_micros(micros.try_cast("bigint"))


def together(parts: dict[str, Events]) -> Events:
    """The events of both parts of a split, whose records and values may be of several types."""
    train, test = (with_text(parts[name].frame) for name in ("train", "test"))
    if train.schema["value"] != test.schema["value"]:
        train, test = (
            part.withColumn("value", F.col("value").cast("string")) for part in (train, test)
        )
    return replace(parts["train"], frame=train.unionByName(test))
