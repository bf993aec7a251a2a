"""A root with the tables of one small shop, written without Spark."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa

from recsys_spark.runtime.log import Log, Sink
from recsys_spark.storage.local import local_tables
from recsys_spark.web.server import Server, open_server
from recsys_spark.web.site import Site
from tests.versions import write_version

SCRIPT = "<script>alert(1)</script>"
LISTED = sorted(["ann", "a/b?c=d&id=e#f", "o'\"hara", "чай + 100%", SCRIPT, "x" * 3000])
USERS = [*LISTED, "late"]  # who is known, but has neither a list nor a history
ITEMS = {
    "tea": ("Tea", ["hot", "leaves"]),
    "cup": ("Cup & <b>saucer</b>", None),
    "pot/1": (None, ["hot"]),
    "jam": ("Jam", []),
    "bun": ("Bun", ["sweet"]),
}
EVENTS = [("ann", "tea", 4.5), ("ann", "cup", 5.0), ("ann", "gone", 1.0), (SCRIPT, "tea", 3.0)]
_ENTRY = [("item_id", pa.string()), ("score", pa.float32()), ("rank", pa.int32())]
_REASON = pa.struct([("item_id", pa.string()), ("share", pa.float32())])
_EXPLAINED = [
    *_ENTRY,
    ("because", pa.list_(_REASON)),
    ("last_interaction", pa.timestamp("us", tz="UTC")),
]


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def entry(item: str, rank: int, **more: Any) -> dict[str, Any]:
    return {"item_id": item, "score": 1 / rank, "rank": rank, **more}


def write_shop(
    root: Path, run_id: str = "night-1", best: str = "jam", timed: bool = True, plain: bool = False
) -> Path:
    """All tables of a run. best: what heads every list; plain: no names, no reasons, no likes."""
    made = {"ingest": run_id}
    write_version(root, "interactions", run_id, interactions(EVENTS, timed), made)
    for table, ids in (("user_ids", USERS), ("item_ids", [*ITEMS, "gone"])):
        indices = pa.array(range(len(ids)), pa.int32())
        write_version(root, table, run_id, pa.table({"id": ids, "index": indices}), made)
    _write_lists(root, run_id, best, plain)
    if not plain:
        _write_names(root, run_id)
    return root


def interactions(events: list[tuple[str, str, float]], timed: bool) -> pa.Table:
    """Of user, item and value; a day after one another."""
    users, items, values = zip(*events, strict=True)
    times = [day(at + 1) if timed else None for at in range(len(events))]
    return pa.table(
        {
            "user_id": users,
            "item_id": items,
            "value": values,
            "timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
            "user": pa.array([USERS.index(user) for user in users], pa.int32()),
            "item": pa.array([[*ITEMS, "gone"].index(item) for item in items], pa.int32()),
        }
    )


def _write_names(root: Path, run_id: str) -> None:
    titles, genres = zip(*ITEMS.values(), strict=True)
    tags = pa.array(genres, pa.list_(pa.string()))
    names = pa.table({"item_id": list(ITEMS), "title": titles, "genres": tags})
    write_version(root, "items", run_id, names, {"ingest": run_id})
    likes = pa.array([[entry("cup", 2), entry("pot/1", 1)]], pa.list_(pa.struct(_ENTRY)))
    alike = pa.table({"item_id": ["tea"], "similar": likes})
    write_version(root, "similar_items", run_id, alike, {"ingest": run_id})


def _write_lists(root: Path, run_id: str, best: str, plain: bool) -> None:
    why = {"because": [{"item_id": "tea", "share": 0.7}, {"item_id": "cup", "share": 0.3}]}
    explained = [entry("pot/1", 2), entry(best, 1, **why, last_interaction=day(20))]
    listed = [] if plain else explained
    kind = pa.list_(pa.struct(_ENTRY if plain else _EXPLAINED))
    rows = {
        "user_id": LISTED,
        "recommendations": pa.array([listed] * len(LISTED), kind),
        "source": ["model"] * 4 + ["popular", "fold_in+popular"],
        "model_version": ["night-0"] * len(LISTED),
    }
    write_version(root, "recommendations", run_id, pa.table(rows), {"ingest": run_id})


def publish(root: Path, run_id: str = "night-1") -> Path:
    """Let readers see the run's lists."""
    local_tables(str(root)).activate("recommendations", run_id)
    return root


@contextmanager
def serving(
    root: Path, run_id: str | None = None, sinks: Sequence[Sink] = (), host: str = "127.0.0.1"
) -> Iterator[Server]:
    """A server on a free port, which answers from a thread of its own."""
    site = Site(local_tables(str(root)), run_id)
    with open_server(site, host, 0, Log(list(sinks))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
