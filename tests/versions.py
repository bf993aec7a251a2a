"""Versions of tables written without Spark."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql.pandas.types import from_arrow_schema

from recsys_spark.storage.local import local_tables
from recsys_spark.storage.tables import Manifest


def write_version(
    root: Path, table: str, run_id: str, rows: pa.Table, inputs: Mapping[str, str] | None = None
) -> Path:
    """A committed version of one file, with few rows to a row group; answers its folder."""
    tables = local_tables(str(root))
    path = tables.path(table, run_id)
    folder = root / path
    folder.mkdir(parents=True)
    pq.write_table(rows, folder / "part-00000.parquet", row_group_size=10)
    schema = from_arrow_schema(rows.schema).json()
    manifest = Manifest(
        table, run_id, rows.num_rows, 1, 0, schema, "", dict(inputs or {}), "0", "2026-01-31T02:03"
    )
    tables.store.replace(f"{path}/_manifest.json", json.dumps(asdict(manifest)))
    return folder
