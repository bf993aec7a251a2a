"""What is delivered, and what every target does with it."""

from dataclasses import dataclass
from typing import Protocol

from pyspark.sql import DataFrame

from recsys_spark.schema import LISTS, ListColumns


@dataclass(frozen=True)
class ExportTable:
    """A version of a table of lists. count: of its lists; files: of its Parquet files."""

    table: str
    run_id: str
    count: int
    files: int
    frame: DataFrame

    @property
    def columns(self) -> ListColumns:
        """What the table calls its columns."""
        return LISTS[self.table]

    def whole(self) -> DataFrame:
        """A row a list: its owner, what it says of itself, the list."""
        names = self.columns
        return self.frame.selectExpr(f"{names.owner} as {names.named}", *names.others, names.lists)

    def entries(self) -> DataFrame:
        """A row an entry: the list's owner, rank, id, score, what the list says of itself.

        Best first. Empty lists have no rows.
        """
        names = self.columns
        rows = self.whole().selectExpr(names.named, *names.others, f"inline({names.lists})")
        return rows.select(names.named, "rank", names.entry, "score", *names.others)


class Target(Protocol):
    """Where lists are delivered to. Readers of it see whole versions only.

    Every call may be repeated, also by another process after the first one was killed.
    """

    def exists(self, lists: ExportTable) -> bool:
        """Whether the version is there whole."""

    def write(self, lists: ExportTable) -> None:
        """Bring the version there, unseen by readers, from where an earlier call stopped."""

    def activate(self, lists: ExportTable) -> None:
        """Let readers see the version from now on, in one step."""

    def location(self, lists: ExportTable) -> str:
        """Where the version is, for people: without users and passwords."""
