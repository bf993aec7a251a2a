"""Opening source files: the raw records with the file they came from, and the header.

Text is read line by line (one record a line), so that a rejected record keeps its own text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.config import (
    Blocked,
    Groups,
    ItemList,
    Items,
    SegmentItems,
    Segments,
    Source,
    UserAttributes,
    UserSubset,
    Windows,
)
from recsys_spark.errors import ConfigError, ContractError


@dataclass(frozen=True)
class RawSource:
    """records: columns raw (text) and source_file, and for Parquet the typed columns in `fields`.

    names: columns of the source; for csv without a header their number decides, and they are
    called "0", "1" and so on. source: how the records are to be read.
    """

    source: Source
    records: DataFrame
    names: list[str]
    fingerprint: str = ""


def open_source(spark: SparkSession, source: Source) -> RawSource:
    """The records of all files. Raises ConfigError for a path that names nothing, ContractError
    for an empty source or a header without the configured columns."""
    if source.path is None:
        raise ConfigError("ingest.source.path is not set: name the file or folder of the events.")
    frame = _load(spark, source, source.path)
    print_ = fingerprint(spark, "ingest.source.path", source.path)
    if source.format == "parquet":
        records, names = _parquet(frame)
    elif source.format == "jsonl":
        records, names = frame, _configured(source)
    else:
        records, names = _csv(frame, source)
    _require_columns(source, names)
    return RawSource(source, records, names, print_)


def read_items(spark: SparkSession, items: Items) -> DataFrame:
    """The columns item_id, title, genres (text) of the table of names."""
    assert items.path is not None
    reader = spark.read.option("header", True).option("sep", items.separator)
    reader = reader.option("quote", items.quote).option("escape", items.quote or "\\")
    frame = _guarded("items.path", items.path, lambda path: reader.load(path, _format(items)))
    wanted = [name for name in items.columns.model_dump().values() if name is not None]
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise ContractError(
            f"{items.path} has no column {', '.join(missing)} (items.columns); "
            f"it has {', '.join(frame.columns)}."
        )
    genres = F.col(f"`{items.columns.genres}`") if items.columns.genres else F.lit(None)
    return frame.select(
        F.col(f"`{items.columns.item}`").cast("string").alias("item_id"),
        F.col(f"`{items.columns.title}`").cast("string").alias("title"),
        genres.cast("string").alias("genres"),
    )


def read_user_subset(spark: SparkSession, subset: UserSubset) -> DataFrame:
    """The ids of a file of users, column user_id as text."""
    return _read_texts(spark, "recommend.users", subset, {"column": "user_id"})


def read_user_attributes(spark: SparkSession, users: UserAttributes) -> DataFrame:
    """Columns user_id and the wanted attributes of a table of users, as text."""
    columns = {"user": users.user} | {f"columns.{at}": at for at in users.columns}
    frame = _read_table(spark, "evaluate.users", users, columns)
    user = F.col(f"`{users.user}`").cast("string").alias("user_id")
    others = [F.col(f"`{name}`").cast("string").alias(name) for name in users.columns]
    return frame.select(user, *others)


def read_item_list(spark: SparkSession, key: str, section: ItemList) -> DataFrame:
    """The ids of a file of items, column item_id as text. key: the setting that names it."""
    return _read_texts(spark, key, section, {"column": "item_id"})


def read_windows(spark: SparkSession, key: str, section: Windows) -> DataFrame:
    """Columns item_id (text), since and until (times; null: open) of when items can be had."""
    columns = section.model_dump(include={"item", "since", "until"})
    frame = _read_table(spark, key, section, columns)
    since, until = (
        F.col(f"`{name}`").try_cast("timestamp").alias(end)
        for end, name in (("since", section.since), ("until", section.until))
    )
    unread = reduce(
        or_,
        (
            F.col(f"`{name}`").isNotNull() & F.col(f"`{name}`").try_cast("timestamp").isNull()
            for name in (section.since, section.until)
        ),
    )
    if (row := frame.where(unread).first()) is not None:
        raise ContractError(f"{section.path} ({key}) has a time that cannot be read: {row}.")
    return frame.select(F.col(f"`{section.item}`").cast("string").alias("item_id"), since, until)


def read_blocked(spark: SparkSession, key: str, section: Blocked) -> DataFrame:
    """Columns user_id and item_id, as text, of pairs that are never listed."""
    return _read_texts(spark, key, section, {"user": "user_id", "item": "item_id"})


def read_segments(spark: SparkSession, key: str, section: Segments) -> DataFrame:
    """Columns user_id and segment, as text; of several segments of a user, the first by name."""
    named = _read_texts(spark, key, section, {"user": "user_id", "segment": "segment"})
    return named.dropna().groupBy("user_id").agg(F.min("segment").alias("segment"))


def read_segment_items(spark: SparkSession, key: str, section: SegmentItems) -> DataFrame:
    """Columns segment and item_id, as text, of what alone users of a segment are listed."""
    return _read_texts(spark, key, section, {"segment": "segment", "item": "item_id"})


def read_members(spark: SparkSession, section: Groups) -> DataFrame:
    """Columns group_id and user_id, as text, of the groups' members."""
    return _read_texts(spark, "recommend.groups", section, {"group": "group_id", "user": "user_id"})


Table = (
    UserSubset | UserAttributes | ItemList | Windows | Blocked | Segments | SegmentItems | Groups
)


def _read_texts(
    spark: SparkSession, key: str, section: Table, names: Mapping[str, str]
) -> DataFrame:
    """Columns of a table as text. names: what they are called here, by their keys."""
    columns = {at: str(getattr(section, at)) for at in names}
    frame = _read_table(spark, key, section, columns)
    return frame.select(
        *(F.col(f"`{columns[at]}`").cast("string").alias(name) for at, name in names.items())
    )


def _read_table(
    spark: SparkSession, key: str, section: Table, columns: dict[str, str]
) -> DataFrame:
    """The table of a section. columns: those that it must have, by their keys."""
    assert section.path is not None
    reader = spark.read.option("header", True)
    frame = _guarded(f"{key}.path", section.path, lambda path: reader.load(path, _format(section)))
    for name, column in columns.items():
        if column not in frame.columns:
            raise ContractError(
                f"{section.path} has no column {column} ({key}.{name}); "
                f"it has {', '.join(frame.columns)}."
            )
    return frame


def _format(section: Items | Table) -> str:
    return {"jsonl": "json"}.get(section.format, section.format)


def _load(spark: SparkSession, source: Source, path: str) -> DataFrame:
    if source.format == "parquet":
        return _guarded("ingest.source.path", path, spark.read.parquet)
    return read_lines(spark, "ingest.source.path", path)


def read_lines(spark: SparkSession, key: str, path: str) -> DataFrame:
    """Columns raw, the lines of text files, and source_file. key: the setting that names them."""
    lines = _guarded(key, path, spark.read.text)
    return lines.select(F.col("value").alias("raw"), _file_name())


def _file_name() -> Column:
    return F.col("_metadata.file_path").alias("source_file")


def _guarded(key: str, path: str, load: Callable[[str], DataFrame]) -> DataFrame:
    try:
        return load(path)
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            raise ConfigError(f"{key} is {path}, which does not exist.") from None
        if error.getCondition() == "UNABLE_TO_INFER_SCHEMA":
            raise ContractError(f"{path} ({key}) holds no data.") from None
        raise


def _parquet(frame: DataFrame) -> tuple[DataFrame, list[str]]:
    columns = [F.col(f"`{name}`") for name in frame.columns]
    records = frame.select(
        F.to_json(F.struct(*columns)).alias("raw"), _file_name(), F.struct(*columns).alias("fields")
    )
    return records, frame.columns


def _csv(lines: DataFrame, source: Source) -> tuple[DataFrame, list[str]]:
    first = lines.first()
    if first is None:
        raise ContractError(f"{source.path} is empty: there is no header and no row.")
    fields = _split_line(first["raw"].removeprefix("\ufeff"), source)
    if not source.header:
        return lines, [str(at) for at in range(len(fields))]
    _check_headers(lines, first["raw"], source)
    return lines.where(F.col("raw") != first["raw"]), fields


def _check_headers(lines: DataFrame, header: str, source: Source) -> None:
    """Every file must begin with the same header, or its columns could be swapped silently."""
    counts = lines.groupBy("source_file").agg(F.count_if(F.col("raw") == header).alias("headers"))
    other = counts.where("headers = 0").select(F.min("source_file")).first()
    if other is not None and other[0] is not None:
        raise ContractError(
            f"{other[0]} does not have the header {header!r} of the other files of "
            f"{source.path}; all files of a source need the same header."
        )


def _split_line(line: str, source: Source) -> list[str]:
    quote = source.quote
    return [field.strip(quote) if quote else field for field in line.split(source.separator)]


def _configured(source: Source) -> list[str]:
    """A JSON object's keys are not known beforehand; those asked for are read."""
    return [str(name) for name in source.columns.model_dump().values() if name is not None]


def _require_columns(source: Source, names: list[str]) -> None:
    for key, name in source.columns.model_dump().items():
        if name is not None and str(name) not in names:
            raise ContractError(
                f"{source.path} has no column {name} (ingest.source.columns.{key}); its columns "
                f"are {', '.join(names)}. Correct the header or set ingest.source.columns.{key}"
                + (" (null if there is none)." if key in ("value", "timestamp", "event") else ".")
            )


def fingerprint(spark: SparkSession, key: str, path: str) -> str:
    """Hash of names, sizes and times of files. key: the setting that names them."""
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", True)
    frame = _guarded(key, path, reader.load)
    facts = frame.select(F.xxhash64("path", "length", "modificationTime").alias("hash"))
    row = facts.agg(F.count("*").alias("n"), F.bit_xor("hash").alias("h")).first()
    assert row is not None
    return f"{row['n']}:{row['h'] or 0:x}"
