"""A version that is written in slices, so that a stage that was stopped goes on behind the last.

    tables/<table>/versions/<run_id>/part-*.parquet, _slices.json

Slices follow each other by ascending key. A file counts once `_slices.json` names it; others are
what an attempt left that was stopped while it wrote them.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyspark.sql import DataFrame

from recsys_spark.storage.parquet_files import write_parquet
from recsys_spark.storage.store import Store
from recsys_spark.workers import TaskRows

_ROW_GROUP = 16 * 2**20  # bytes; what a reader of one user reads at most of a file


@dataclass(frozen=True)
class Progress:
    """How far a version has come.

    fingerprint: of what decides its rows. through: the last key that is written; None: nothing is.
    complete: whether nothing follows. files: what is written. notes: those of each slice.
    """

    fingerprint: str
    through: Any = None
    complete: bool = False
    files: tuple[str, ...] = ()
    notes: tuple[Any, ...] = ()


class Slices:
    """The slices of the version in one folder. What has another fingerprint is deleted."""

    def __init__(self, store: Store, path: str, fingerprint: str) -> None:
        self._store, self._path = store, path
        text = store.read(f"{path}/_slices.json")
        found = Progress(**json.loads(text)) if text else None
        if found is None or found.fingerprint != fingerprint:
            store.delete(path)
            found = Progress(fingerprint)
        self.progress = found
        self._drop_unnamed()

    def _drop_unnamed(self) -> None:
        named = set(self.progress.files)
        for name in self._store.list(self._path):
            if name == "_temporary" or (name.endswith(".parquet") and name not in named):
                self._store.delete(f"{self._path}/{name}")

    def write(self, rows: DataFrame | TaskRows) -> None:
        """Write the next slice. It stays when it is `finish`ed."""
        write_parquet(rows, self._store.uri(self._path), append=True, row_group=_ROW_GROUP)

    def finish(self, through: Any, notes: Any = None) -> None:
        """Note the slice as written. through: its last key; None: no slice follows."""
        files = (name for name in self._store.list(self._path) if name.endswith(".parquet"))
        self.progress = replace(
            self.progress,
            through=through,
            complete=through is None,
            files=tuple(sorted(files)),
            notes=(*self.progress.notes, notes),
        )
        text = json.dumps(asdict(self.progress), indent=2)
        self._store.replace(f"{self._path}/_slices.json", text)

    def drop(self) -> None:
        """Delete what is written."""
        self._store.delete(self._path)
