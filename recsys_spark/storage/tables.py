"""Versioned tables of plain Parquet: written once, committed by a manifest, shown by a pointer.

    tables/<table>/versions/<run_id>/part-*.parquet, _manifest.json
    tables/<table>/CURRENT.json

A version is complete if and only if its manifest exists; the manifest is its last file. A
complete version is never written to again. Readers resolve the pointer once. The manifest's name
begins with an underscore so that Spark, pandas and other readers of the folder pass over it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

import recsys_spark
from recsys_spark.errors import ConfigError, ContractError, similar_name
from recsys_spark.storage.parquet_files import conform, conform_in_tasks, write_parquet
from recsys_spark.storage.partial_versions import Slices
from recsys_spark.storage.store import Store, is_local
from recsys_spark.workers import TaskRows

Check = Callable[[DataFrame], dict[str, Any]]
_SHOWN = 5  # versions that a message names
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Manifest:
    """The contents and the origin of a version of a table.

    Attributes
    ----------
    table : str
        Name of the table.
    run_id : str
        Run that wrote the version, and the version's name.
    rows : int
        Number of rows.
    files : int
        Number of Parquet files.
    bytes : int
        Their size.
    schema : str
        The declared schema, as Spark's JSON.
    config_hash : str
        Digest of the settings that decide the contents.
    inputs : mapping of str to str
        Versions of the tables that it was made from, by table.
    code_version : str
        Version of the package.
    created_at : str
        ISO 8601, UTC.
    check_results : dict
        Counters of its validation.
    """

    table: str
    run_id: str
    rows: int
    files: int
    bytes: int
    schema: str
    config_hash: str
    inputs: Mapping[str, str]
    code_version: str
    created_at: str
    check_results: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pointer:
    """The version that readers see.

    Attributes
    ----------
    run_id : str
        The version.
    path : str
        Its folder, relative to the table's.
    published_at : str
        ISO 8601, UTC.
    """

    run_id: str
    path: str
    published_at: str


def is_safe(name: str) -> bool:
    """Whether a name can be a folder's name anywhere."""
    return bool(_NAME.fullmatch(name)) and ".." not in name


def check_name(kind: str, name: str) -> str:
    """The name, if it is safe as a folder's name; else ConfigError."""
    if not is_safe(name):
        raise ConfigError(
            f"The {kind} {name!r} may hold letters, digits, '.', '_' and '-' only, 128 at most."
        )
    return name


def _manifest(table: str, run_id: str, text: str) -> Manifest:
    try:
        return Manifest(**json.loads(text))
    except TypeError:
        raise ContractError(
            f"Version {run_id} of {table} was written by another version of recsys-spark, whose "
            "manifests have other fields: use another paths.root, and make the tables again there."
        ) from None


class Tables:
    """The tables under one root. Reading and writing need a session; resolving does not.

    Parameters
    ----------
    store : Store
        The root, from `open_store`.
    session : callable, optional
        Returns the Spark session, when it is needed.

    Examples
    --------
    The published lists as a DataFrame:

    >>> from recsys_spark.storage.store import open_store
    >>> from recsys_spark.storage.tables import Tables
    >>> def published(root, table):
    ...     tables = Tables(open_store(root, lambda: spark), lambda: spark)
    ...     return tables.read(table, tables.version(table, None).run_id)
    """

    def __init__(self, store: Store, session: Callable[[], SparkSession] | None = None) -> None:
        self.store, self._session = store, session

    def path(self, table: str, run_id: str) -> str:
        """The folder of a version, relative to the root.

        Parameters
        ----------
        table : str
            Name of the table.
        run_id : str
            The version.

        Returns
        -------
        str
            The path; the folder need not exist. `store.uri` gives its address.

        Raises
        ------
        ConfigError
            For a name that cannot be a folder's name everywhere.
        """
        check_name("table", table)
        return f"tables/{table}/versions/{check_name('run id', run_id)}"

    def names(self) -> list[str]:
        """Tables that exist, complete or not.

        Returns
        -------
        list of str
            Names, sorted.
        """
        return sorted(self.store.list("tables"))

    def manifest(self, table: str, run_id: str) -> Manifest | None:
        """The manifest of a version.

        Parameters
        ----------
        table : str
            Name of the table.
        run_id : str
            The version.

        Returns
        -------
        Manifest or None
            None of a version that does not exist or was never completed.

        Raises
        ------
        ConfigError
            For a name that cannot be a folder's name everywhere.
        """
        text = self.store.read(f"{self.path(table, run_id)}/_manifest.json")
        return _manifest(table, run_id, text) if text else None

    def write(
        self,
        rows: DataFrame | TaskRows,
        table: str,
        run_id: str,
        schema: StructType,
        inputs: Mapping[str, str],
        config_hash: str,
        check: Check | None = None,
    ) -> Manifest:
        """Write a version with exactly the schema's columns, and commit it.

        A folder without manifest is what a killed attempt left, and is replaced. check: reads what
        is on disk before the commit, raises if that must not be seen, and returns its counters.
        """
        path = self.path(table, run_id)
        self.store.delete(path)
        if not isinstance(rows, TaskRows):
            rows = conform(rows, schema)
        elif rows.schema != schema:
            rows = conform_in_tasks(rows, schema)
        write_parquet(rows, self.store.uri(path), append=False)
        return self.commit(table, run_id, schema, inputs, config_hash, check)

    def slices(self, table: str, run_id: str, fingerprint: str) -> Slices:
        """The slices of a version, to be added to and committed; those of an earlier attempt."""
        return Slices(self.store, self.path(table, run_id), fingerprint)

    def commit(
        self,
        table: str,
        run_id: str,
        schema: StructType,
        inputs: Mapping[str, str],
        config_hash: str,
        check: Check | None = None,
    ) -> Manifest:
        """Declare what is on disk complete, once `check` has found nothing against it."""
        check_results = check(self._load(self.path(table, run_id), schema)) if check else {}
        path = self.path(table, run_id)
        parts = {k: v for k, v in self.store.list(path).items() if k.endswith(".parquet")}
        manifest = Manifest(
            table,
            run_id,
            rows=self._count(path, list(parts), schema),
            files=len(parts),
            bytes=sum(parts.values()),
            schema=schema.json(),
            config_hash=config_hash,
            inputs=dict(inputs),
            code_version=recsys_spark.__version__,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            check_results=check_results,
        )
        self.store.replace(f"{path}/_manifest.json", json.dumps(asdict(manifest), indent=2))
        return manifest

    def _count(self, path: str, parts: list[str], schema: StructType) -> int:
        """Rows on disk, from the files' footers; without a Spark job where files are local."""
        if not is_local(self.store.uri(path)):
            return self._load(path, schema).count()
        footers = (pq.read_metadata(f"{self.store.uri(path)}/{part}") for part in parts)
        return sum(footer.num_rows for footer in footers)

    def read(self, table: str, run_id: str) -> DataFrame:
        """The rows of a complete version.

        Parameters
        ----------
        table : str
            Name of the table.
        run_id : str
            The version.

        Returns
        -------
        DataFrame
            With the declared schema.

        Raises
        ------
        ConfigError
            If there is no such version, or if it was never completed.
        """
        manifest = self.manifest(table, run_id)
        if manifest is None:
            raise self._without(table, run_id)
        schema = StructType.fromJson(json.loads(manifest.schema))
        return self._load(self.path(table, run_id), schema)

    def _without(self, table: str, run_id: str) -> ConfigError:
        """The error of a version that does not exist, with those that do."""
        versions = sorted(self.store.list(f"tables/{table}/versions"), reverse=True)
        known = [
            name
            for name in filter(is_safe, versions)
            if self.store.read(f"{self.path(table, name)}/_manifest.json") is not None
        ]
        some = f"; the newest are {', '.join(known[:_SHOWN])}" if known else ""
        near = similar_name(run_id, known)
        return ConfigError(f"Table {table} has no complete version {run_id}{near}{some}.")

    def _load(self, path: str, schema: StructType) -> DataFrame:
        assert self._session is not None
        return self._session().read.schema(schema).parquet(self.store.uri(path))

    def pointer(self, table: str) -> Pointer | None:
        """The pointer of a table.

        Parameters
        ----------
        table : str
            Name of the table.

        Returns
        -------
        Pointer or None
            None before the first publish.

        Raises
        ------
        ConfigError
            For a name that cannot be a folder's name everywhere.
        """
        text = self.store.read(f"tables/{check_name('table', table)}/CURRENT.json")
        return Pointer(**json.loads(text)) if text else None

    def current(self, table: str) -> str | None:
        """The published version.

        Parameters
        ----------
        table : str
            Name of the table.

        Returns
        -------
        str or None
            Its run id; None before the first publish.
        """
        found = self.pointer(table)
        return found.run_id if found else None

    def version(self, table: str, run_id: str | None) -> Manifest:
        """The manifest of a version that must exist.

        Parameters
        ----------
        table : str
            Name of the table.
        run_id : str or None
            The version; None: the published one.

        Returns
        -------
        Manifest
            Its manifest.

        Raises
        ------
        ConfigError
            If it does not exist; the message names what does.
        """
        chosen = run_id or self.current(table)
        manifest = self.manifest(table, chosen) if chosen else None
        if manifest is not None:
            return manifest
        known, root = self.names(), self.store.uri("")
        if chosen and table in known:
            raise self._without(table, chosen)
        if not known:
            raise ConfigError(
                f"There are no tables under {root}: check paths.root, or start with "
                "`recsys-spark run`."
            )
        if table not in known:
            raise ConfigError(
                f"There is no table {table} under {root}{similar_name(table, known)}; there is "
                f"{', '.join(known)}."
            )
        raise ConfigError(
            f"Table {table} is not published yet: run `recsys-spark publish`, or name a version "
            "with --run-id (`recsys-spark status` lists them)."
        )

    def activate(self, table: str, run_id: str) -> None:
        """Let readers see this version from now on: one small object is swapped."""
        self.path(table, run_id)  # refuses unsafe names
        now = datetime.now(UTC).isoformat(timespec="seconds")
        content = asdict(Pointer(run_id, f"versions/{run_id}", published_at=now))
        self.store.replace(f"tables/{table}/CURRENT.json", json.dumps(content, indent=2))
