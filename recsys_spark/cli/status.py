"""`status`: what is published, what is newer, and how the latest runs ended."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from recsys_spark.cli.show import text_console
from recsys_spark.config import Config
from recsys_spark.pipeline.sessions import lazy_session
from recsys_spark.pipeline.stage_graph import refit_version
from recsys_spark.pipeline.upstream import described, newer
from recsys_spark.report.words import delivered
from recsys_spark.runtime.log import Log
from recsys_spark.storage.runs import Runs, StageRecord
from recsys_spark.storage.store import open_store
from recsys_spark.storage.tables import Tables

_RECENT = 10  # runs
_UNITS = ("B", "kB", "MB", "GB", "TB")


def status_text(config: Config, log: Log, form: str) -> str:
    """The status of the root, for people (table) or for programs (json)."""
    with lazy_session(config, log, read_only=True) as spark:
        tables = Tables(open_store(config.paths.root, spark), spark)
        found = read_status(tables)
    if form == "json":
        return json.dumps(found, indent=2, default=str)
    if not found["tables"] and not found["runs"]:
        return f"Nothing under {found['root']} yet: start with `recsys-spark run`."
    return _as_text(found)


def read_status(tables: Tables) -> dict[str, Any]:
    """What is under a root: its tables, what is published of them, what is newer, recent runs.

    Sizes are bytes, ages seconds, times ISO 8601 in UTC. A metric is of the evaluated model, which
    has not seen the held-out rows; the run that measured it is beside it.
    """
    runs, now = Runs(tables.store), datetime.now(UTC)
    version = tables.current("recommendations")
    lists = runs.stage(version, "recommend") if version else None
    return {
        "root": tables.store.uri(""),
        "published": _published(tables, runs, lists, now) if lists else None,
        "newer": [_newer(record) for record in newer(runs, lists)] if lists else [],
        "tables": [_table(tables, name, now) for name in tables.names()],
        "runs": _recent(tables, runs, now),
    }


def _published(tables: Tables, runs: Runs, lists: StageRecord, now: datetime) -> dict[str, Any]:
    pointer = tables.pointer("recommendations")
    assert pointer is not None
    return {
        "run_id": pointer.run_id,
        "published_at": pointer.published_at,
        "age_seconds": _age(pointer.published_at, now),
        "lists": lists.summary["users"],
        "lineage": dict(lists.lineage),
        "metric": _metric(runs, lists.lineage.get("train", "")),
    }


def _newer(record: StageRecord) -> dict[str, Any]:
    return {
        "stage": record.stage,
        "run_id": record.run_id,
        "finished_at": record.finished_at,
        "text": described(record),
    }


def _table(tables: Tables, name: str, now: datetime) -> dict[str, Any]:
    pointer = tables.pointer(name)
    manifest = tables.manifest(name, pointer.run_id) if pointer else None
    found: dict[str, Any] = {"table": name, "version": pointer.run_id if pointer else None}
    if pointer and manifest:
        found |= {"rows": manifest.rows, "files": manifest.files, "bytes": manifest.bytes}
        found |= {"published_at": pointer.published_at}
        found |= {"age_seconds": _age(manifest.created_at, now)}
    return found


def _recent(tables: Tables, runs: Runs, now: datetime) -> list[dict[str, Any]]:
    """The runs that changed last, the newest first."""
    states = [state for run_id in runs.ids() if (state := runs.status(run_id))]
    states.sort(key=lambda state: (state["updated_at"], state["run_id"]), reverse=True)
    return [
        state
        | {"age_seconds": _age(state["updated_at"], now)}
        | {"bytes": _bytes(tables, state["run_id"]), "metric": _metric(runs, state["run_id"])}
        for state in states[:_RECENT]
    ]


def _bytes(tables: Tables, run_id: str) -> int:
    """The size of all versions that a run wrote."""
    versions = (run_id, refit_version(run_id))
    found = (tables.manifest(name, version) for name in tables.names() for version in versions)
    return sum(manifest.bytes for manifest in found if manifest)


def _metric(runs: Runs, run_id: str) -> dict[str, Any] | None:
    """NDCG of the delivered model at the cut-off of the report, if the run has measured it."""
    record = runs.stage(run_id, "evaluate") if run_id else None
    if record is None:
        return None
    wanted = (delivered(record.summary), "ndcg", record.summary["k"], record.summary["split"])
    for row in record.summary["metrics"]:
        if (row["model"], row["metric"], row["k"], row["split"]) == wanted:
            shown = {name: row[name] for name in ("metric", "k", "model", "split", "users")}
            return shown | {"value": row["value"], "run_id": run_id}
    return None


def _age(time: str, now: datetime) -> int:
    then = datetime.fromisoformat(time)
    return round((now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())


def _as_text(found: dict[str, Any]) -> str:
    console, published = text_console(), found["published"]
    if published:
        console.print(
            f"Published: {published['lists']:,} lists of run {published['run_id']}, "
            f"{_ago(published['age_seconds'])}{_measured(published['metric'], ', ')}",
            highlight=False,
            soft_wrap=True,
        )
    for later in found["newer"]:
        console.print(f"Newer, not published: {later['text']}", highlight=False, soft_wrap=True)
    console.print()
    rows = found["tables"]
    console.print(
        _grid(("table", "current version", "rows", "size", "made"), map(_table_cells, rows))
    )
    console.print()
    heads = ("run", "state", "stage", "updated (UTC)", "size", "metric", "reason")
    console.print(_grid(heads, map(_run_cells, found["runs"])))
    return console.export_text().strip("\n")


def _grid(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head in ("rows", "size") else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _table_cells(row: dict[str, Any]) -> tuple[str, ...]:
    if "rows" not in row:
        return (row["table"], row["version"] or "not published", "", "", "")
    size = _size(row["bytes"])
    return row["table"], row["version"], f"{row['rows']:,}", size, _ago(row["age_seconds"])


def _run_cells(row: dict[str, Any]) -> tuple[str, ...]:
    updated = str(row["updated_at"])[:19].replace("T", " ")
    names = tuple(str(row[name]) for name in ("run_id", "state", "stage"))
    return *names, updated, _size(row["bytes"]), _measured(row["metric"]), row["reason"][:120]


def _measured(metric: dict[str, Any] | None, before: str = "") -> str:
    if metric is None:
        return ""
    return f"{before}{metric['metric']}@{metric['k']} {metric['value']:.4f}"


def _size(number: int) -> str:
    """Bytes for people."""
    power = min((len(str(number)) - 1) // 3, len(_UNITS) - 1)
    return f"{number / 1000**power:.{min(power, 1)}f} {_UNITS[power]}"


def _ago(seconds: int) -> str:
    """An age for people, in the largest unit of which there are two."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"
