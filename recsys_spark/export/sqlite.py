"""Lists in one SQLite file, the store that is embedded in the service itself.

    TABLE (user_id or like_item_id, rank, item_id, score, ...), by owner and rank
    exports (name, run_id, lists, entries, written_at)          which version a table is

A new file is written beside the old one and takes its place in one step.
"""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from glob import escape
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import BinaryType, StructField, StructType

from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.errors import ConfigError, TransientError
from recsys_spark.export.lists import ExportTable
from recsys_spark.storage.runs import now
from recsys_spark.workers import map_in_arrow

_TYPES = {"string": "TEXT", "bigint": "INTEGER", "int": "INTEGER", "float": "REAL"}
_PACKED = StructType([StructField("rows", BinaryType())])
_EXPORTS = """CREATE TABLE IF NOT EXISTS exports (
    name TEXT PRIMARY KEY, run_id TEXT, lists INTEGER, entries INTEGER, written_at TEXT)"""


class Sqlite:
    """A file of the driver's machine, which holds one version of each table."""

    def __init__(self, path: str) -> None:
        if "://" in path:
            raise ConfigError("An SQLite file is on this machine: give its path, such as lists.db.")
        self.path = Path(path).expanduser().absolute()
        self._beside = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.tmp")
        self._versions()

    def exists(self, lists: ExportTable) -> bool:
        """Whether the file says so."""
        return self._versions().get(lists.table) == lists.run_id

    def write(self, lists: ExportTable) -> None:
        """Write the new file, with what the old one has of other tables."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self._beside)) as new:
                if self.path.exists():
                    with closing(self._reader()) as old:
                        old.backup(new)
                # A broken file is thrown away as it is; its one transaction ends on the disk.
                new.execute("PRAGMA journal_mode = OFF")
                with new:
                    _fill(new, lists)
        except BaseException:
            self._beside.unlink(missing_ok=True)
            raise

    def activate(self, lists: ExportTable) -> None:
        """Put the new file in the old one's place, if one was written.

        Other new files that are being written have copied the old one, so they are deleted: that
        ends their commands, which can be repeated. Raises TransientError if that happened to ours.
        """
        if self.exists(lists):
            return
        try:
            self._beside.replace(self.path)
        except FileNotFoundError:
            raise TransientError(
                f"{self.path} was written by another export meanwhile: repeat the command."
            ) from None
        for leftover in self.path.parent.glob(f".{escape(self.path.name)}.*.tmp"):
            leftover.unlink(missing_ok=True)

    def location(self, lists: ExportTable) -> str:
        """The file and the table."""
        return f"{self.path}, table {lists.table}"

    def _reader(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)

    def _versions(self) -> dict[str, str]:
        """The run of each table inside. Raises ConfigError if the file is not one of ours."""
        if not self.path.exists():
            return {}
        if self.path.is_dir():
            raise ConfigError(f"{self.path} is a folder: name a file in it.")
        if self.path.with_name(f"{self.path.name}-wal").exists():
            raise ConfigError(f"{self.path} is being written to by another program: name another.")
        try:
            with closing(self._reader()) as file:
                tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master")}
                if tables and "exports" not in tables:
                    raise ConfigError(
                        f"{self.path} has tables of others: lists need a file of their own."
                    )
                return dict(file.execute("SELECT name, run_id FROM exports")) if tables else {}
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"{self.path} cannot be read as an SQLite file ({error}): name another."
            ) from None


def _fill(file: sqlite3.Connection, lists: ExportTable) -> None:
    """Rows arrive in the order of the key, a partition at a time, so that they are appended."""
    frame, table, owner = lists.entries(), lists.table, lists.columns.named
    columns = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in frame.dtypes)
    marks = ", ".join("?" for _ in frame.columns)
    file.execute(f"DROP TABLE IF EXISTS {table}")
    file.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({owner}, rank)) WITHOUT ROWID")
    rows = _rows(frame.orderBy(owner, "rank"))
    entries = file.executemany(f"INSERT INTO {table} VALUES ({marks})", rows).rowcount
    file.execute(_EXPORTS)
    file.execute(
        "INSERT OR REPLACE INTO exports VALUES (?, ?, ?, ?, ?)",
        (table, lists.run_id, lists.count, entries, now()),
    )


def _rows(frame: DataFrame) -> Iterator[tuple[Any, ...]]:
    """The rows, a partition at a time; packed on their way, which Spark does not do by itself."""
    for (content,) in map_in_arrow(frame, _pack, _PACKED).toLocalIterator():
        for batch in pa.ipc.open_stream(content):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = arrow_schema(_PACKED)
    for batch in batches:
        target = pa.BufferOutputStream()
        with pa.ipc.new_stream(target, batch.schema) as writer:
            writer.write_batch(batch)
        yield make_batch(schema, {"rows": [target.getvalue().to_pybytes()]})
