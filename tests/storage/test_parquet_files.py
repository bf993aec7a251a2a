"""Files that tasks write: what Spark writes of the same rows, and what is left by failures."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chispa import assert_df_equality
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.conf import RuntimeConfig
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.storage import parquet_files
from recsys_spark.storage.parquet_files import conform_in_tasks, write_parquet
from recsys_spark.workers import TaskRows

ENTRY_TYPES = {
    "item_id": StringType(),
    "rank": IntegerType(),
    "score": FloatType(),
    "at": TimestampType(),
}
ENTRIES = StructType([StructField(name, kind) for name, kind in ENTRY_TYPES.items()])
TYPES: dict[str, DataType] = {
    "id": LongType(),
    "short": ShortType(),
    "part": IntegerType(),
    "value": DoubleType(),
    "score": FloatType(),
    "name": StringType(),
    "yes": BooleanType(),
    "at": TimestampType(),
    "day": DateType(),
    "raw": BinaryType(),
    "price": DecimalType(12, 2),
    "list": ArrayType(ENTRIES),
    "nested": ArrayType(ArrayType(IntegerType())),
}
KINDS = StructType([StructField(name, kind) for name, kind in TYPES.items()])
CODEC = "spark.sql.parquet.compression.codec"
TIMES = "spark.sql.parquet.outputTimestampType"
AT = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
ENTRY = {"item_id": "a", "rank": 1, "score": 0.5, "at": AT}
ROW = {
    "id": 2**40,
    "short": -3,
    "part": 7,
    "value": float("inf"),
    "score": -0.0,
    "name": "ö",
    "yes": True,
    "at": AT,
    "day": date(1969, 12, 31),
    "raw": b"\0",
    "price": Decimal("-1.25"),
    "list": [ENTRY, ENTRY | {"item_id": None, "at": None}],
    "nested": [[1], [], [None, 2]],
}


def made(spark: SparkSession, rows: list[dict[str, Any]], parts: int = 1) -> TaskRows:
    """The rows, in partitions by turns; they are made in tasks."""
    target = arrow_schema(KINDS)

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            own = pa.Table.from_pylist([rows[at] for at in batch["id"].to_pylist()], target)
            yield make_batch(target, {name: own[name] for name in target.names})

    return TaskRows(spark.range(0, len(rows), 1, parts), make, KINDS)


def numbered(count: int) -> list[dict[str, Any]]:
    return [ROW | {"id": at, "name": f"user {at}"} for at in range(count)]


def notes_of(file: pq.ParquetFile) -> dict[bytes, Any]:
    """The types and the version that Spark notes."""
    types, version = b"org.apache.spark.sql.parquet.row.metadata", b"org.apache.spark.version"
    notes = dict(file.metadata.metadata)
    assert set(notes) == {types, version}
    return notes | {types: json.loads(notes[types])}


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


@pytest.fixture
def conf(spark: SparkSession) -> Iterator[RuntimeConfig]:
    """The session's settings; these are put back."""
    before = {key: spark.conf.get(key) for key in (CODEC, TIMES)}
    yield spark.conf
    for key, value in before.items():
        spark.conf.set(key, value)


def test_tasks_write_what_spark_writes(
    spark: SparkSession, tmp_path: Path, conf: RuntimeConfig
) -> None:
    conf.set(TIMES, "TIMESTAMP_MICROS")  # as the package's sessions
    rows = [*numbered(40), dict.fromkeys(ROW), ROW | {"list": [], "nested": None}]
    write_parquet(made(spark, rows, 3), str(tmp_path / "tasks"), append=False)
    write_parquet(made(spark, rows, 3).frame(), str(tmp_path / "spark"), append=False)
    one, other = (spark.read.parquet(str(tmp_path / name)) for name in ("tasks", "spark"))
    assert one.schema == other.schema
    assert_df_equality(one.orderBy("id", "name"), other.orderBy("id", "name"))
    mine, theirs = (files_in(tmp_path / name) for name in ("tasks", "spark"))
    assert len(mine) == len(theirs) == 3
    for path, like in zip(mine, theirs, strict=True):
        written, expected = pq.ParquetFile(path), pq.ParquetFile(like)
        assert [written.schema.column(at) for at in range(len(written.schema))] == [
            expected.schema.column(at) for at in range(len(expected.schema))
        ], "physical and logical types"
        assert notes_of(written) == notes_of(expected)
        assert written.metadata.row_group(0).column(0).compression == "SNAPPY"
    assert not (tmp_path / "tasks/_temporary").exists()


def test_a_file_has_the_number_of_its_partition(spark: SparkSession, tmp_path: Path) -> None:
    """Buckets of users are found by it; a partition without rows has no file."""
    rows = made(spark, numbered(2), 4)
    write_parquet(rows, str(tmp_path / "table"), append=False)
    assert [file.name[:11] for file in files_in(tmp_path / "table")] == [
        "part-00001-",
        "part-00003-",
    ]


def test_no_rows_are_one_file_without_rows(spark: SparkSession, tmp_path: Path) -> None:
    write_parquet(made(spark, [], 2), str(tmp_path / "table"), append=False)
    assert [pq.read_metadata(file).num_rows for file in files_in(tmp_path / "table")] == [0]
    assert spark.read.parquet(str(tmp_path / "table")).schema == KINDS


def test_row_groups_have_about_so_many_bytes(spark: SparkSession, tmp_path: Path) -> None:
    write_parquet(made(spark, numbered(70)), str(tmp_path / "table"), append=False, row_group=1)
    (file,) = files_in(tmp_path / "table")
    assert pq.read_metadata(file).num_row_groups == 10, "of a batch of seven rows each"
    write_parquet(made(spark, numbered(70)), str(tmp_path / "whole"), append=False)
    (file,) = files_in(tmp_path / "whole")
    assert pq.read_metadata(file).num_row_groups == 1


def test_a_folder_that_exists_is_only_appended_to(spark: SparkSession, tmp_path: Path) -> None:
    for _ in range(2):
        write_parquet(made(spark, numbered(3)), str(tmp_path / "table"), append=True)
    assert spark.read.parquet(str(tmp_path / "table")).count() == 6
    with pytest.raises(FileExistsError):
        write_parquet(made(spark, numbered(3)), str(tmp_path / "table"), append=False)
    assert len(files_in(tmp_path / "table")) == 2


def test_a_task_that_fails_leaves_nothing(spark: SparkSession, tmp_path: Path) -> None:
    def fail(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield next(batches)
        raise RuntimeError("lost")

    rows = made(spark, numbered(30)).then(fail, KINDS)
    with pytest.raises(PySparkException, match="lost"):
        write_parquet(rows, str(tmp_path / "table"), append=False)
    assert not list((tmp_path / "table").iterdir())


@pytest.mark.parametrize(
    ("codec", "compression"),
    [("zstd", "ZSTD"), ("UNCOMPRESSED", "UNCOMPRESSED"), ("lz4_raw", "LZ4")],
)
def test_the_session_s_codec_is_used(
    spark: SparkSession, tmp_path: Path, conf: RuntimeConfig, codec: str, compression: str
) -> None:
    conf.set(CODEC, codec)
    write_parquet(made(spark, numbered(3)), str(tmp_path / "table"), append=False)
    (file,) = files_in(tmp_path / "table")
    assert pq.read_metadata(file).row_group(0).column(0).compression == compression


def test_spark_writes_where_tasks_are_elsewhere(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_folder_of_tasks", lambda *_: None)
    write_parquet(made(spark, numbered(5), 2), str(tmp_path / "table"), append=False)
    assert spark.read.parquet(str(tmp_path / "table")).count() == 5
    assert "parquet-mr" in pq.read_metadata(files_in(tmp_path / "table")[0]).created_by


def test_rows_conform_in_tasks(spark: SparkSession, tmp_path: Path) -> None:
    types = {"version": StringType(), "id": IntegerType(), "score": DoubleType()}
    types["none"] = StringType()
    schema = StructType([StructField(name, kind) for name, kind in types.items()])
    rows = conform_in_tasks(made(spark, numbered(3)), schema, {"version": "v1", "none": None})
    write_parquet(rows, str(tmp_path / "table"), append=False)
    expected = spark.createDataFrame([("v1", at, -0.0, None) for at in range(3)], schema)
    assert_df_equality(spark.read.parquet(str(tmp_path / "table")).orderBy("id"), expected)
