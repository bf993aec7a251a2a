"""Wiring of export: a version of a table of lists to files that other systems read."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.night import session
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.store import open_store
from recsys_spark.runtime.tables import Tables

Form = Literal["jsonl", "csv", "parquet"]
# The columns that lists are exported with, whose list it is first, and that of the list itself.
_TABLES = {
    "recommendations": (["user_id", "source"], "recommendations"),
    "similar_items": (["item_id as like_item_id"], "similar"),
}


@dataclass(frozen=True)
class Export:
    """Where a version was written. unchanged: an earlier command had done it."""

    table: str
    form: str
    run_id: str
    lists: int
    folder: str
    unchanged: bool


def export_lists(
    config: Config, log: Log, table: str, form: Form, target: str, run_id: str | None = None
) -> Export:
    """Write a version of recommendations or similar_items below the folder or URI `target`.

    jsonl: a line a list; csv and parquet: a row an entry of a list, best first. Files are written
    by the executors to TABLE.FORM/RUN; a folder is complete once it has _SUCCESS, and is then left
    as it is. Last, TABLE.FORM/CURRENT.json names the folder, in one step.

    Raises ConfigError for another table, or a version that does not exist.
    """
    if table not in _TABLES:
        raise ConfigError(f"Lists are exported: {' or '.join(_TABLES)}, not {table}.")
    with session(config, log) as spark:
        tables = Tables(open_store(config.paths.root, lambda: spark), spark)
        manifest = tables.version(table, run_id)
        store, base = open_store(target, lambda: spark), f"{table}.{form}"
        folder = f"{base}/{manifest.run_id}"
        done = "_SUCCESS" in store.list(folder)
        if not done:
            log.progress(f"writing {manifest.rows:,} lists as {form}")
            frame = _shaped(tables.read(table, manifest.run_id), table, form)
            writer = frame.write.mode("overwrite").option("header", True)
            writer.format({"jsonl": "json"}.get(form, form)).save(store.uri(folder))
        made = Export(table, form, manifest.run_id, manifest.rows, store.uri(folder), done)
        store.replace(f"{base}/CURRENT.json", json.dumps(_pointer(made), indent=2))
    return made


def _pointer(made: Export) -> dict[str, object]:
    content = asdict(made)
    return {name: content[name] for name in ("table", "form", "run_id", "lists")} | {
        "path": made.run_id
    }


def _shaped(frame: DataFrame, table: str, form: Form) -> DataFrame:
    """A row a list, or a row an entry."""
    whose, lists = _TABLES[table]
    if form == "jsonl":
        return frame.selectExpr(*whose, lists)
    entries = frame.selectExpr(*whose, f"inline({lists})")
    names = [name.split(" as ")[-1] for name in whose]
    return entries.select(names[0], "rank", "item_id", "score", *map(F.col, names[1:]))
