"""Wiring of export: a version of a table of lists to where other systems read it."""

import time
from dataclasses import dataclass

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError, similar_name
from recsys_spark.export import ExportTable, Form, Options, open_target
from recsys_spark.pipeline.sessions import lazy_session
from recsys_spark.runtime.log import Log
from recsys_spark.schema import LISTS
from recsys_spark.storage.store import open_store
from recsys_spark.storage.tables import Tables

_DEFAULTS = Options()


@dataclass(frozen=True)
class Export:
    """Where a version was delivered. seconds: it took; unchanged: an earlier command had done it.

    location: for people, without passwords.
    """

    table: str
    form: str
    run_id: str
    lists: int
    location: str
    seconds: float
    unchanged: bool


def export_lists(
    config: Config,
    log: Log,
    table: str,
    form: Form,
    target: str,
    run_id: str | None = None,
    options: Options = _DEFAULTS,
) -> Export:
    """Deliver a version of a table of `LISTS`, and let readers see it last.

    target: a folder or URI (jsonl, csv, parquet), a file (sqlite), a URL (postgres, redis), or
    env:NAME of a variable that holds it. A version that is there whole is left as it is.

    Raises ConfigError for another table, a version that does not exist, or a target that cannot
    be one; TransientError if a server does not answer, or not to the end.
    """
    if table not in LISTS:
        raise ConfigError(
            f"Lists are exported: {', '.join(LISTS)}, not {table}{similar_name(table, LISTS)}."
        )
    store = open_target(form, target, options)
    with lazy_session(config, log, read_only=True) as spark:
        tables = Tables(open_store(config.paths.root, spark), spark)
        version = tables.version(table, run_id)
        frame = tables.read(table, version.run_id)
        lists = ExportTable(table, version.run_id, version.rows, max(1, version.files), frame)
        begun = time.monotonic()
        done = store.exists(lists)
        if not done:
            log.progress(f"writing {lists.count:,} lists to {form}")
            store.write(lists)
        store.activate(lists)
        seconds = time.monotonic() - begun
        return Export(table, form, lists.run_id, lists.count, store.location(lists), seconds, done)
