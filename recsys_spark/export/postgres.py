"""Lists in tables of PostgreSQL.

    TABLE (user_id or like_item_id, rank, item_id, score, ...), by owner and rank
    recsys_exports         the version that is live, and those on their way
    recsys_export_parts    what is there of those

The executors copy a version into a table of its own. A part's rows and its mark are one
transaction. Last, that table takes the live one's name, in one transaction too.
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv
from pyspark.sql import functions as F

from recsys_spark.errors import ConfigError, TransientError
from recsys_spark.export.lists import ExportTable
from recsys_spark.export.parts import Batches, write_in_parts
from recsys_spark.export.servers import AWAY, reason_of, require

if TYPE_CHECKING:
    import psycopg

_TYPES = {"string": "text", "bigint": "bigint", "int": "integer", "float": "real"}
_PATIENCE = 10  # seconds for a connection
_APPLICATION = "recsys-spark export"
_LOCK_PATIENCE = "60s"  # for readers to finish with the old table
_WRONG = (
    "The target of postgres is a URL like postgresql://HOST:5432/DATABASE, with USER:PASSWORD@ "
    "before the host (special characters percent-encoded: %2F for /), or env:NAME of a variable "
    "that holds one."
)
_REGISTRY = """
CREATE TABLE IF NOT EXISTS recsys_exports (
    name text, run_id text, staging text, lists bigint, live_since timestamptz,
    PRIMARY KEY (name, run_id));
CREATE TABLE IF NOT EXISTS recsys_export_parts (
    name text, run_id text, part integer, PRIMARY KEY (name, run_id, part),
    FOREIGN KEY (name, run_id) REFERENCES recsys_exports ON DELETE CASCADE)"""
_GRANTS = """
SELECT privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = to_regclass(%s)"""


class Postgres:
    """Tables of the first schema in the search path, one for each table of lists."""

    def __init__(self, url: str, connections: int) -> None:
        self._url, self.connections = url, connections
        self.where = _without_password(url)
        with self._session():
            pass  # a server that is away is reported before Spark starts

    def exists(self, lists: ExportTable) -> bool:
        """Whether the version is live."""
        with self._session() as db:
            return _live_run(db, lists.table) == lists.run_id

    def write(self, lists: ExportTable) -> None:
        """Copy the parts that are missing, index them, count them."""
        staging = _staging(lists)
        with self._session() as db:
            self._prepare(db, lists, staging)
        write_in_parts(
            lists.entries(),
            lists.columns.named,
            lists.files,
            self.connections,
            partial(_copy_part, self._url, lists.table, lists.run_id, staging),
            self.where,
        )
        expected = lists.frame.agg(F.sum(F.size(lists.columns.lists))).first()
        with self._session() as db:
            self._complete(db, lists, staging, (expected and expected[0]) or 0)

    def activate(self, lists: ExportTable) -> None:
        """Let the new table take the name and the grants of the old one, which is dropped."""
        with self._session() as db:
            if _live_run(db, lists.table) != lists.run_id:
                _switch(db, lists, _staging(lists))

    def location(self, lists: ExportTable) -> str:
        """The database and the table."""
        return f"{self.where}, table {lists.table}"

    def _prepare(self, db: "psycopg.Connection", lists: ExportTable, staging: str) -> None:
        """A table to copy into, and its entry in the registry."""
        db.execute(_REGISTRY)
        if _exists(db, lists.table) and _live_run(db, lists.table) is None:
            raise ConfigError(
                f"{self.where} has a table {lists.table} that no export made: rename it, or choose "
                "another schema with ?options=-csearch_path%3DSCHEMA behind the address."
            )
        if _exists(db, staging):
            return
        frame, key = lists.entries(), (lists.table, lists.run_id)
        columns = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in frame.dtypes)
        db.execute(f"CREATE TABLE {staging} ({columns})")
        db.execute("DELETE FROM recsys_exports WHERE (name, run_id) = (%s, %s)", key)
        db.execute(
            "INSERT INTO recsys_exports VALUES (%s, %s, %s, %s)", (*key, staging, lists.count)
        )

    def _complete(
        self, db: "psycopg.Connection", lists: ExportTable, staging: str, expected: int
    ) -> None:
        """The key that readers search by, once every entry is there."""
        key = f"{staging}_key"
        db.execute(
            f"ALTER TABLE {staging} DROP CONSTRAINT IF EXISTS {key}, "
            f"ADD CONSTRAINT {key} PRIMARY KEY ({lists.columns.named}, rank)"
        )
        db.execute(f"ANALYZE {staging}")
        row = db.execute(f"SELECT count(*) FROM {staging}").fetchone()
        found = row[0] if row else 0
        if found != expected:
            db.execute(f"DROP TABLE {staging}")
            db.commit()
            raise TransientError(
                f"{found:,} entries arrived in {self.where} where {expected:,} were sent. They are "
                "deleted, and readers keep what they had: repeat the command."
            )

    @contextmanager
    def _session(self) -> Iterator["psycopg.Connection"]:
        """A connection with one transaction; what the server refuses is raised as our errors."""
        with _connect(self._url) as db:
            from psycopg import OperationalError, errors

            try:
                yield db
            except (errors.InsufficientPrivilege, errors.DependentObjectsStillExist) as error:
                raise ConfigError(f"{self.where} refuses: {reason_of(error)}.") from error
            except OperationalError as error:
                raise TransientError(
                    f"{self.where} gave up: {reason_of(error)}. Readers keep what they had; "
                    "the same command goes on from there."
                ) from error


def _connect(url: str) -> "psycopg.Connection":
    """A connection, also of an executor; leaving its context commits, or rolls back."""
    require("psycopg", extra="postgres")
    import psycopg

    try:
        return psycopg.connect(url, connect_timeout=_PATIENCE, application_name=_APPLICATION)
    except psycopg.OperationalError as error:
        said = reason_of(error)
        if "authentication failed" in said or "does not exist" in said:
            raise ConfigError(f"{_without_password(url)} refuses: {said}.") from None
        raise TransientError(f"{_without_password(url)} does not answer: {said}. {AWAY}") from None


def _without_password(url: str) -> str:
    """Host, port and database of the URL. Raises ConfigError, which repeats nothing of it."""
    require("psycopg", extra="postgres")
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        raise ConfigError(_WRONG) from None
    host, port = parts.get("host") or "localhost", str(parts.get("port") or 5432)
    place = f"{host}:{port}/{parts.get('dbname') or ''}"
    # A password with a slash or an @ of its own is read as something else.
    if "://" not in url or "@" in place or not port.replace(",", "").isdigit():
        raise ConfigError(_WRONG)
    return f"postgresql://{place}"


def _copy_part(
    url: str, table: str, run_id: str, staging: str, part: int, batches: Batches
) -> None:
    """Rows and mark in one transaction; another attempt at the part waits for it, and leaves."""
    with _connect(url) as db:
        marked = db.execute(
            "INSERT INTO recsys_export_parts VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (table, run_id, part),
        )
        if not marked.rowcount:
            return
        with db.cursor().copy(f"COPY {staging} FROM STDIN (FORMAT csv)") as copy:
            for batch in batches:
                copy.write(_csv(batch))


def _csv(batch: pa.RecordBatch) -> bytes:
    target = io.BytesIO()
    pyarrow.csv.write_csv(batch, target, pyarrow.csv.WriteOptions(include_header=False))
    return target.getvalue()


def _switch(db: "psycopg.Connection", lists: ExportTable, staging: str) -> None:
    table, key = lists.table, (lists.table, lists.run_id)
    db.execute(f"SET LOCAL lock_timeout = '{_LOCK_PATIENCE}'")
    for privilege, role in db.execute(_GRANTS, (table,)).fetchall():
        db.execute(f"GRANT {privilege} ON {staging} TO {role}")
    others = db.execute(
        "DELETE FROM recsys_exports WHERE name = %s AND run_id <> %s RETURNING staging", key
    )
    for old in (table, *(name for (name,) in others.fetchall())):
        db.execute(f"DROP TABLE IF EXISTS {old}")
    db.execute(f"ALTER TABLE {staging} RENAME TO {table}")
    db.execute("UPDATE recsys_exports SET live_since = now() WHERE (name, run_id) = (%s, %s)", key)


def _live_run(db: "psycopg.Connection", table: str) -> str | None:
    """The run that readers see, or None if no export made what they see."""
    if not (_exists(db, "recsys_exports") and _exists(db, table)):
        return None
    found = db.execute(
        "SELECT run_id FROM recsys_exports WHERE name = %s AND live_since IS NOT NULL", (table,)
    ).fetchone()
    return found[0] if found else None


def _exists(db: "psycopg.Connection", table: str) -> bool:
    found = db.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return bool(found and found[0])


def _staging(lists: ExportTable) -> str:
    """A name of its own for table and run, in the 63 characters that a name may have."""
    return f"{lists.table}_{hashlib.sha256(lists.run_id.encode()).hexdigest()[:12]}"
