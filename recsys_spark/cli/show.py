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

from recsys_spark.cli.filters import (
    Filters,
    check_filters,
    nothing_matches,
    of_dataset,
    of_frame,
)
from recsys_spark.config import Config
from recsys_spark.evaluation.directions import direction_of, rank_of
from recsys_spark.evaluation.ranking import ALL, shown_cutoff
from recsys_spark.pipeline.sessions import lazy_session
from recsys_spark.runtime.log import Log
from recsys_spark.schema import LISTS, ListColumns
from recsys_spark.storage.local import open_version
from recsys_spark.storage.store import is_local, open_store
from recsys_spark.storage.tables import Manifest, Tables

_TEXT_ROWS = 1000
_WIDTH = 120  # characters of a line where there is no terminal
_SOME = 10_000  # rows whose values are named where no row matches


def show_table(
    config: Config,
    log: Log,
    table: str,
    run_id: str | None,
    filters: Filters,
    limit: int,
    form: str,
) -> str:
    """The first rows of a table that match the filters, as text in the wanted form."""
    with lazy_session(config, log, read_only=True) as spark:
        tables = Tables(open_store(config.paths.root, spark), spark)
        return _render(tables, tables.version(table, run_id), filters, limit, form)


def table_path(config: Config, log: Log, table: str, run_id: str | None) -> str:
    """The folder of the version that readers see."""
    with lazy_session(config, log, read_only=True) as spark:
        tables = Tables(open_store(config.paths.root, spark), spark)
        return tables.store.uri(tables.path(table, tables.version(table, run_id).run_id))


def _render(tables: Tables, manifest: Manifest, filters: Filters, limit: int, form: str) -> str:
    rows = _rows(tables, manifest, filters, limit)
    if form == "json":
        return json.dumps(rows.to_pylist(), default=str, indent=2, ensure_ascii=False)
    if manifest.table in LISTS:
        rows = _explode(rows, manifest.table, _titles(tables, manifest, rows))
    return as_csv(rows) if form == "csv" else _as_text(rows, manifest)


def _rows(tables: Tables, manifest: Manifest, filters: Filters, limit: int) -> pa.Table:
    """The first rows that match; of metrics those that people look for first."""
    check_filters(filters, StructType.fromJson(json.loads(manifest.schema)), manifest.table)
    every = manifest.table == "metrics"  # which is small
    rows = _first(tables, manifest, filters, manifest.rows if every else limit)
    if filters and not rows.num_rows:
        some = _first(tables, manifest, {}, _SOME)
        raise nothing_matches(filters, some, f"{manifest.table} of run {manifest.run_id}")
    return by_importance(rows).slice(0, limit) if every else rows


def _first(tables: Tables, manifest: Manifest, filters: Filters, limit: int) -> pa.Table:
    if not is_local(tables.store.uri("")):
        frame = tables.read(manifest.table, manifest.run_id)
        return of_frame(frame, filters).limit(limit).toArrow()
    data = open_version(tables, manifest.table, manifest.run_id)
    return data.head(limit, filter=of_dataset(data, filters))


def by_importance(metrics: pa.Table) -> pa.Table:
    """Rows of the metrics table, those that people look for first.

    Those of all users come first, then the ranking of the whole catalog, then the cut-off that
    summaries show; then metrics in the order of `rank_of`, of each the best model first.
    """
    rows = metrics.to_pylist()
    shown = shown_cutoff([row["k"] for row in rows if row["k"] is not None] or [0])

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        protocol = row["segment"] != ALL, row["segment"], len(row["split"]), row["split"]
        cutoff = 0 if row["k"] in (shown, None) else row["k"]
        better = direction_of(row["metric"]).sign * (row["value"] or 0.0)
        return (*protocol, cutoff, rank_of(row["metric"]), row["metric"], -better, row["model"])

    order = sorted(range(len(rows)), key=lambda at: key(rows[at]))
    return metrics.take(pa.array(order, pa.int64()))


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
    if "last_interaction" in entry:
        shown["last_interaction"] = entry["last_interaction"]
    if "because" in entry:
        reasons = [reason["item_id"] for reason in entry["because"] or []]
        shown["because"] = ", ".join(str(titles.get(item) or item) for item in reasons)
    if "member_scores" in entry:
        members = entry["member_scores"] or []
        shown["member_scores"] = ", ".join(f"{m['user_id']} {m['score']:.4f}" for m in members)
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
    if "run_id" in rows.column_names:  # the last line names the run
        rows = rows.drop_columns("run_id")
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
    if rows.num_rows < manifest.rows and manifest.table not in LISTS:
        console.print("--limit N shows more, --where COLUMN=VALUE chooses.", style="dim")
    return console.export_text().rstrip("\n")


def _rows_of(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _readable(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
