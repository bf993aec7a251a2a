"""Looking into tables: rows of a version for people and programs."""

import csv
import io
import json
import os
import sys
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyspark.sql.types import StructType
from rich.console import Console
from rich.table import Table

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.sessions import lazy_session
from recsys_spark.runtime.local import one_of, open_version
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.store import is_local, open_store
from recsys_spark.runtime.tables import Manifest, Tables
from recsys_spark.schema import LISTS, ListColumns

_TEXT_ROWS = 1000
_WIDTH = 120  # characters of a line where there is no terminal


def show_table(
    config: Config,
    log: Log,
    table: str,
    run_id: str | None,
    users: list[str],
    limit: int,
    form: str,
) -> str:
    """The first rows of a table, or those of some users, as text in the wanted form."""
    with lazy_session(config, log, read_only=True) as spark:
        tables = Tables(open_store(config.paths.root, spark), spark)
        return _render(tables, table, run_id, users, limit, form)


def table_path(config: Config, log: Log, table: str, run_id: str | None) -> str:
    """The folder of the version that readers see."""
    with lazy_session(config, log, read_only=True) as spark:
        tables = Tables(open_store(config.paths.root, spark), spark)
        return tables.store.uri(tables.path(table, tables.version(table, run_id).run_id))


def _render(
    tables: Tables,
    table: str,
    run_id: str | None,
    users: list[str],
    limit: int,
    form: str,
) -> str:
    manifest = tables.version(table, run_id)
    rows = _rows(tables, manifest, users, limit)
    if users and not rows.num_rows:
        raise ConfigError(
            f"{table} of run {manifest.run_id} has no user {', '.join(users)}: ids are compared as "
            "they are written, also by case."
        )
    if form == "json":
        return json.dumps(rows.to_pylist(), default=str, indent=2, ensure_ascii=False)
    if table in LISTS:
        rows = _explode(rows, table, _titles(tables, manifest, rows))
    return as_csv(rows) if form == "csv" else _as_text(rows, manifest)


def _rows(tables: Tables, manifest: Manifest, users: list[str], limit: int) -> pa.Table:
    schema = StructType.fromJson(json.loads(manifest.schema))
    if users and "user_id" not in schema.names:
        raise ConfigError(f"Table {manifest.table} has no users to choose; leave out --user.")
    if not is_local(tables.store.uri("")):
        frame = tables.read(manifest.table, manifest.run_id)
        chosen = frame.where(frame["user_id"].cast("string").isin(users)) if users else frame
        return chosen.limit(limit).toArrow()
    data = open_version(tables, manifest.table, manifest.run_id)
    return data.head(limit, filter=one_of(data, "user_id", users) if users else None)


def _titles(tables: Tables, manifest: Manifest, rows: pa.Table) -> dict[Any, str]:
    """Names of the items on and of lists, from the version that the lists were made with."""
    made = manifest.inputs.get("ingest", "")
    items, columns = tables.manifest("items", made) if made else None, LISTS[manifest.table]
    if items is None or columns.entry != "item_id":
        return {}
    entries = pa.chunked_array(rows[columns.lists]).combine_chunks().flatten()
    named = [entries.field("item_id")]
    if entries.type.get_field_index("because") >= 0:
        named.append(entries.field("because").flatten().field("item_id"))
    if "item_id" in rows.column_names:
        named.append(pa.chunked_array(rows["item_id"]).combine_chunks())
    listed = pa.concat_arrays(named)
    if not is_local(tables.store.uri("")):
        frame = tables.read("items", made)
        found = frame.where(frame["item_id"].isin(listed.to_pylist())).toArrow()
    else:
        data = open_version(tables, "items", made)
        found = data.to_table(filter=ds.field("item_id").isin(listed.unique()))
    return dict(zip(found["item_id"].to_pylist(), found["title"].to_pylist(), strict=True))


def _explode(rows: pa.Table, table: str, titles: dict[Any, str]) -> pa.Table:
    """A row an entry of a list, best first."""
    flat = [
        _whose(row, LISTS[table], titles)
        | _entry(entry, LISTS[table].entry, titles)
        | ({"source": row["source"]} if "source" in row else {})
        for row in rows.to_pylist()
        for entry in sorted(row[LISTS[table].lists], key=lambda entry: entry["rank"])
    ]
    return pa.Table.from_pylist(flat) if flat else rows.select(rows.column_names[:1])


def _whose(row: dict[str, Any], columns: ListColumns, titles: dict[Any, str]) -> dict[str, Any]:
    """The user or group of a list, or the item that those of the list are like."""
    owner = row[columns.owner]
    return {columns.named: owner} | ({"like": titles.get(owner)} if "item_id" in row else {})


def _entry(entry: dict[str, Any], name: str, titles: dict[Any, str]) -> dict[str, Any]:
    """What an entry says, items by their titles where these are known."""
    shown = {"rank": entry["rank"], name: entry[name]}
    if name == "item_id":
        shown["title"] = titles.get(entry[name])
    shown["score"] = entry["score"]
    if "last_seen" in entry:
        shown["last_seen"] = entry["last_seen"]
    if "because" in entry:
        reasons = [reason["item_id"] for reason in entry["because"] or []]
        shown["because"] = ", ".join(str(titles.get(item) or item) for item in reasons)
    return shown


def as_csv(rows: pa.Table) -> str:
    """The rows as RFC 4180 has them, but for LF at their ends; a header; nested values as JSON."""
    target = io.StringIO()
    plain = csv.writer(target, lineterminator="\n")  # does not see that a CR needs quotes
    quoting = csv.writer(target, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (rows.column_names, *([*row.values()] for row in rows.to_pylist())):
        cells = [_cell(value) for value in row]
        returns = any("\r" in cell for cell in cells if isinstance(cell, str))
        (quoting if returns else plain).writerow(cells)
    return target.getvalue().rstrip("\n")


def _cell(value: Any) -> Any:
    return json.dumps(value, default=str) if isinstance(value, list | dict) else value


def text_console() -> Console:
    """One that keeps the text, as wide as the terminal; or `_WIDTH` without one."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH
    return Console(record=True, file=io.StringIO(), width=width)


def _as_text(rows: pa.Table, manifest: Manifest) -> str:
    console = text_console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for field in rows.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        table.add_column(field.name, justify="right" if number else "left", overflow="fold")
    for row in rows.slice(0, _TEXT_ROWS).to_pylist():
        table.add_row(*(_readable(value) for value in row.values()))
    console.print(table)
    console.print(
        f"{_rows_of(rows.num_rows)} shown of {manifest.table}, run {manifest.run_id} "
        f"({_rows_of(manifest.rows)}).",
        style="dim",
    )
    return console.export_text().rstrip("\n")


def _rows_of(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _readable(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
