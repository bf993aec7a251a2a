"""Lists as files of a folder or URI: JSON lines, CSV, Parquet.

TABLE.FORM/RUN/part-*, _SUCCESS
TABLE.FORM/CURRENT.json           names the folder to read; swapped last
"""

import json

from recsys_spark.config import mask
from recsys_spark.export.lists import ExportTable
from recsys_spark.storage.store import Store, open_store

_SPARKS_NAME = {"jsonl": "json"}
# RFC 4180: a quotation mark is doubled and nothing else is escaped; blanks belong to the value.
_CSV: dict[str, str | bool] = {
    "header": True,
    "escape": '"',
    "ignoreLeadingWhiteSpace": False,
    "ignoreTrailingWhiteSpace": False,
}


class Files:
    """jsonl has a line a list; csv and parquet have a row an entry."""

    def __init__(self, form: str, root: str) -> None:
        self.form, self.root = form, root

    def exists(self, lists: ExportTable) -> bool:
        """Whether Spark's mark of a complete folder is there."""
        return "_SUCCESS" in self._store(lists).list(self._folder(lists))

    def write(self, lists: ExportTable) -> None:
        """Let the executors write the folder; what a killed command left is replaced."""
        frame = lists.whole() if self.form == "jsonl" else lists.entries()
        writer = frame.write.mode("overwrite").options(**(_CSV if self.form == "csv" else {}))
        writer = writer.format(_SPARKS_NAME.get(self.form, self.form))
        writer.save(self._store(lists).uri(self._folder(lists)))

    def activate(self, lists: ExportTable) -> None:
        """Swap the pointer."""
        content = {
            "table": lists.table,
            "form": self.form,
            "run_id": lists.run_id,
            "lists": lists.count,
            "path": lists.run_id,
        }
        pointer = f"{self._base(lists)}/CURRENT.json"
        self._store(lists).replace(pointer, json.dumps(content, indent=2))

    def location(self, lists: ExportTable) -> str:
        """The version's folder."""
        return str(mask(self._store(lists).uri(self._folder(lists))))

    def _store(self, lists: ExportTable) -> Store:
        return open_store(self.root, lambda: lists.frame.sparkSession)

    def _base(self, lists: ExportTable) -> str:
        return f"{lists.table}.{self.form}"

    def _folder(self, lists: ExportTable) -> str:
        return f"{self._base(lists)}/{lists.run_id}"
