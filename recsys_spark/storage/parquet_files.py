"""Rows to Parquet files: by the tasks that make them where they can, else by Spark.

Spark has to turn rows that Python makes in tasks into rows of the JVM before it writes them, and in
a fresh session to compile how; tasks write the batches that they have.
"""

import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StringType, StructField, StructType

from recsys_spark.arrow import arrow_schema, make_batch, tables_of
from recsys_spark.storage.store import local_folder
from recsys_spark.workers import Batches, TaskRows

_FILES = StructType([StructField("file", StringType())])
_CODECS = {name: name for name in ("snappy", "zstd", "gzip", "none")} | {"uncompressed": "none"}
_WRITER_OPTIONS = ("store_decimal_as_integer", "write_page_index", "write_page_checksum")
_ROW_GROUP = 32 * 2**20  # bytes, which a task holds; uncompressed where tasks write


def conform(frame: DataFrame, schema: StructType) -> DataFrame:
    """The frame with exactly the schema's columns and types."""
    return frame.select(*(frame[field.name].cast(field.dataType) for field in schema))


def conform_in_tasks(
    rows: TaskRows, schema: StructType, constants: Mapping[str, Any] | None = None
) -> TaskRows:
    """Rows of tasks with exactly the schema's columns and types.

    constants: columns that have one value in all rows, by name.
    """
    return rows.then(_Conform(schema, dict(constants or {})), schema)


@dataclass(frozen=True)
class _Conform:
    """Gives batches the schema's columns and types."""

    schema: StructType
    constants: Mapping[str, Any]

    def __call__(self, batches: Batches) -> Batches:
        target = arrow_schema(self.schema)
        for batch in batches:
            yield make_batch(target, {field.name: self._column(batch, field) for field in target})

    def _column(self, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
        if field.name not in self.constants:
            return batch.column(field.name)
        return pa.repeat(pa.scalar(self.constants[field.name], field.type), len(batch))


def write_parquet(
    rows: DataFrame | TaskRows, address: str, append: bool, row_group: int = _ROW_GROUP
) -> None:
    """Write rows to a folder: a file for each partition with rows, at least one.

    row_group: bytes, about. append: the folder may exist. Files have their
    names in the folder when all are written.
    """
    if isinstance(rows, TaskRows):
        session = rows.source.sparkSession
        folder, codec = _folder_of_tasks(session, address), _codec(session)
        if folder is not None and codec is not None:
            folder.mkdir(parents=True, exist_ok=append)
            _write_by_tasks(rows, folder, codec, row_group)
            return
        rows = rows.frame()
    writer = rows.write.mode("append" if append else "errorifexists")
    writer.option("parquet.block.size", row_group).parquet(address)


def _folder_of_tasks(session: SparkSession, address: str) -> Path | None:
    """The folder, where tasks are of this machine as it is; else None."""
    master = str(session.sparkContext.master)
    return local_folder(address) if master == "local" or master.startswith("local[") else None


def _codec(session: SparkSession) -> str | None:
    """The codec that Spark would use, by Arrow's name; its level is Arrow's. None: Spark's own."""
    return _CODECS.get(str(session.conf.get("spark.sql.parquet.compression.codec")).lower())


def _write_by_tasks(rows: TaskRows, folder: Path, codec: str, row_group: int) -> None:
    """Tasks write to a folder of their own, and return the names of their files.

    So what a task that failed or was repeated has left is never of the table.
    """
    temporary = folder / "_temporary" / uuid.uuid4().hex
    writer = _FileWriter.of(rows.schema, str(rows.source.sparkSession.version), codec)

    def write(batches: Batches) -> Batches:
        name, groups = (
            writer.file_name(_partition()),
            tables_of(batches, row_group, lambda batch: batch.nbytes),
        )
        first = next(groups, None)
        if first is not None:
            writer.write(temporary / name, chain([first], groups))
            yield make_batch(arrow_schema(_FILES), {"file": [name]})

    temporary.mkdir(parents=True)
    try:
        names = [row["file"] for row in rows.then(write, _FILES).frame().collect()]
        if not names:
            names = [writer.file_name(0)]
            writer.write(temporary / names[0], [writer.schema.empty_table()])
        for name in names:
            (temporary / name).rename(folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # others may write beside
            temporary.parent.rmdir()


def _partition() -> int:
    context = TaskContext.get()
    assert context is not None, "this runs in tasks"
    return context.partitionId()


@dataclass(frozen=True)
class _FileWriter:
    """Writes files as Spark does. metadata: Spark's, for readers that declare no types."""

    schema: pa.Schema
    metadata: Mapping[str, str]
    codec: str

    @classmethod
    def of(cls, schema: StructType, version: str, codec: str) -> "_FileWriter":
        metadata = {
            "org.apache.spark.version": version,
            "org.apache.spark.sql.parquet.row.metadata": schema.json(),
        }
        return cls(arrow_schema(schema), metadata, codec)

    def file_name(self, partition: int) -> str:
        """One of its own for every attempt."""
        return f"part-{partition:05d}-{uuid.uuid4()}.{self.codec}.parquet"

    def write(self, path: Path, groups: Iterable[pa.Table]) -> None:
        """A file of these row groups, on disk when this returns."""
        options: dict[str, Any] = dict.fromkeys(_WRITER_OPTIONS, True)
        with path.open("wb") as file:
            with pq.ParquetWriter(
                file, self.schema, compression=self.codec, store_schema=False, **options
            ) as writer:
                writer.add_key_value_metadata(self.metadata)
                for group in groups:
                    writer.write_table(group, row_group_size=max(1, len(group)))
            file.flush()
            os.fsync(file.fileno())
