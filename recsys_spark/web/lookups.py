"""What the tables of one run know of a user or an item, found without a session."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from recsys_spark.storage.local import one_of, open_version
from recsys_spark.storage.tables import Manifest, Tables

HISTORY = 50  # interactions of a user that are shown
FOUND = 50  # items that a search shows
_FIRST = 6  # users of each source to start with
_INGESTED = ("interactions", "user_ids", "item_ids")
# By value where there are no times: then those are equal, all being null.
_NEWEST = [("timestamp", "descending"), ("value", "descending"), ("item_id", "ascending")]


@dataclass(frozen=True)
class Item:
    """An item by the id of the source; title and genres where the table `items` has them."""

    id: Any
    title: str | None = None
    genres: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The title, or else the id."""
        return self.title or str(self.id)


@dataclass(frozen=True)
class Interaction:
    """An interaction of a user; when: in UTC, where the source has times."""

    item: Item
    value: float
    when: datetime | None


@dataclass(frozen=True)
class Entry:
    """An entry of a list. because, last_interaction: where the table explains its entries."""

    rank: int
    item: Item
    score: float
    because: tuple[Item, ...] = ()
    last_interaction: datetime | None = None


@dataclass(frozen=True)
class Recommended:
    """A user's list, best first, and where it comes from."""

    entries: tuple[Entry, ...]
    source: str
    model_version: str


@dataclass(frozen=True)
class User:
    """history: the newest of all `interactions`; recommended: None if the run made no list."""

    id: str
    history: tuple[Interaction, ...]
    interactions: int
    recommended: Recommended | None


@dataclass(frozen=True)
class ItemDetails:
    """An item, how many users have it, and the items most similar to it."""

    item: Item
    users: int
    similar: tuple[Entry, ...]


@dataclass(frozen=True)
class Source:
    """A recommender by its name in the table, with its number of lists and a few users' ids."""

    name: str
    lists: int
    users: tuple[Any, ...]


class Lookups:
    """The version of `recommendations`, and what it was made from.

    Versions never change, so that one object may answer for as long as its version is shown.
    Raises ConfigError if the interactions or ids that the lists were made from are gone.
    """

    def __init__(self, tables: Tables, lists: Manifest) -> None:
        self.run_id, made = lists.run_id, lists.inputs["ingest"]
        found = {table: tables.version(table, made) for table in _INGESTED}
        optional = tables.manifest("items", made), tables.manifest("similar_items", lists.run_id)
        found |= {manifest.table: manifest for manifest in optional if manifest}
        found["recommendations"] = lists
        self.sizes = {table: manifest.rows for table, manifest in found.items()}
        self._data = {t: open_version(tables, t, manifest.run_id) for t, manifest in found.items()}

    @cached_property
    def sources(self) -> list[Source]:
        """Where lists come from, most frequent first; of each the first users of the table."""
        counts: Counter[str] = Counter()
        for batch in self._data["recommendations"].to_batches(columns=["source"]):
            for counted in batch["source"].value_counts().to_pylist():
                counts[counted["values"]] += counted["counts"]
        return [Source(name, lists, self._first(name)) for name, lists in counts.most_common()]

    def _first(self, source: str) -> tuple[Any, ...]:
        data, wanted = self._data["recommendations"], ds.field("source") == source
        return tuple(data.head(_FIRST, columns=["user_id"], filter=wanted)["user_id"].to_pylist())

    def user(self, text: str) -> User | None:
        """The user whose id is written so; None if neither the lists nor the source have one."""
        made = self._row("recommendations", "user_id", text)
        seen = self._interactions("user", text).to_table().sort_by(_NEWEST)
        if made is None and not seen.num_rows:
            return None
        newest = seen.slice(0, HISTORY).to_pylist()
        listed = made["recommendations"] if made else []
        items = self._items([*_ids(listed), *(row["item_id"] for row in newest)])
        history = (Interaction(items[r["item_id"]], r["value"], r["timestamp"]) for r in newest)
        recommended = (
            Recommended(_ranked(listed, items), made["source"], made["model_version"])
            if made
            else None
        )
        return User(text, tuple(history), seen.num_rows, recommended)

    def item(self, text: str) -> ItemDetails | None:
        """The item whose id is written so; None if neither the source nor the names have one."""
        if named := self._row("items", "item_id", text):
            item = _named(named)
        elif known := self._row("item_ids", "id", text):
            item = Item(known["id"])
        else:
            return None
        row = self._row("similar_items", "item_id", text)
        listed = row["similar"] if row else []
        users = self._interactions("item", text).count_rows()
        return ItemDetails(item, users, _ranked(listed, self._items(_ids(listed))))

    def titled(self, text: str) -> tuple[Item, ...]:
        """Items whose title has the text somewhere, in whatever case: FOUND at most, by title."""
        if "items" not in self._data or not text:
            return ()
        wanted = pc.match_substring(ds.field("title"), text, ignore_case=True)
        rows = self._data["items"].head(FOUND, filter=wanted).to_pylist()
        return tuple(sorted((_named(row) for row in rows), key=lambda item: (item.name, item.id)))

    def _row(self, table: str, column: str, text: str) -> dict[str, Any] | None:
        """The row with this id, if the run has such a table and the table such a row."""
        if table not in self._data:
            return None
        data = self._data[table]
        rows = data.to_table(filter=one_of(data, column, [text])).to_pylist()
        return rows[0] if rows else None

    def _interactions(self, side: str, text: str) -> ds.Scanner:
        """Those of a user or an item, by the dense index: files are in the order of the users'."""
        known = self._row(f"{side}_ids", "id", text)
        wanted = ds.field(side) == known["index"] if known else ds.scalar(False)
        columns = ["item_id", "value", "timestamp"]
        return self._data["interactions"].scanner(columns=columns, filter=wanted)

    def _items(self, ids: Iterable[Any]) -> dict[Any, Item]:
        """The items by id, named where names are known."""
        items = {id_: Item(id_) for id_ in ids}
        if "items" in self._data:
            data = self._data["items"]
            wanted = pa.array(list(items), data.schema.field("item_id").type)
            for row in data.to_table(filter=ds.field("item_id").isin(wanted)).to_pylist():
                items[row["item_id"]] = _named(row)
        return items


def _named(row: Mapping[str, Any]) -> Item:
    return Item(row["item_id"], row["title"], tuple(row["genres"] or ()))


def _ids(entries: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Ids of the items of a list and of those that explain them."""
    return [e["item_id"] for entry in entries for e in (entry, *(entry.get("because") or ()))]


def _ranked(entries: Iterable[Mapping[str, Any]], items: Mapping[Any, Item]) -> tuple[Entry, ...]:
    made = (
        Entry(
            entry["rank"],
            items[entry["item_id"]],
            entry["score"],
            tuple(items[reason["item_id"]] for reason in entry.get("because") or ()),
            entry.get("last_interaction"),
        )
        for entry in entries
    )
    return tuple(sorted(made, key=lambda entry: entry.rank))
