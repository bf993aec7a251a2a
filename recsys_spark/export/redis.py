"""Lists in Redis: a key a list.

    PREFIX:TABLE:live        the run to read
    PREFIX:TABLE:RUN:ID      the list of one user or item, as JSON
    PREFIX:parts:TABLE:RUN   how many lists every part has that is there

The keys of a version and its marks all end together, some days after its export began.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa
from pyspark.sql import functions as F

from recsys_spark.errors import ConfigError, TransientError
from recsys_spark.export.lists import ExportTable
from recsys_spark.export.parts import Batches, write_in_parts
from recsys_spark.export.servers import AWAY, reason_of, require

if TYPE_CHECKING:
    import redis

_PATIENCE = 10  # seconds for a connection
_ANSWER_PATIENCE = 60  # seconds for an answer
_AT_ONCE = 1000  # commands that are sent together
_DAY = 24 * 60 * 60
_WRONG = (
    "The target of redis is a URL like redis://HOST:6379/0, with :PASSWORD@ before the host "
    "(special characters percent-encoded: %2F for /), or env:NAME of a variable that holds one."
)


class Redis:
    """One Redis server (6.2 or later, not a cluster of them); its keys begin with the prefix."""

    def __init__(self, url: str, prefix: str, ttl_days: int, connections: int) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._:-]+", prefix):
            raise ConfigError(f"--prefix {prefix!r} may hold letters, digits, '.', '_', '-', ':'.")
        self._url, self.prefix, self.connections = url, prefix, connections
        self.seconds = ttl_days * _DAY
        self.where = _without_password(url)
        with self._session() as client:
            client.ping()  # a server that is away is reported before Spark starts

    def exists(self, lists: ExportTable) -> bool:
        """Whether all lists are there, with more than half of their time left."""
        with self._session() as client:
            fresh = client.ttl(self._marks(lists)) > self.seconds / 2
            return fresh and self._arrived(client, lists) == lists.count

    def write(self, lists: ExportTable) -> None:
        """Set the lists of the parts that are missing, and count; all of them where time is short.

        That keeps a version alive whose export is repeated: its lists are set to what they were.
        """
        marks = self._marks(lists)
        with self._session() as client:
            left = client.ttl(marks)  # negative where there are none
            if left < self.seconds / 2:
                client.delete(marks)
                left = self.seconds
            until = client.time()[0] + left
        whole = lists.whole()
        write_in_parts(
            whole.select(
                F.col(lists.columns.named).cast("string").alias("id"),
                F.to_json(F.struct(*whole.columns)).alias("list"),
            ),
            "id",
            lists.files,
            self.connections,
            partial(_set_part, self._url, self._key(lists), marks, until),
            self.where,
        )
        with self._session() as client:
            found = self._arrived(client, lists)
            if found != lists.count:
                client.delete(marks)
                raise TransientError(
                    f"{found:,} lists arrived in {self.where} where {lists.count:,} were sent. "
                    "Readers keep what they had: repeat the command."
                )

    def activate(self, lists: ExportTable) -> None:
        """Set the key that names the run to read."""
        with self._session() as client:
            client.set(f"{self.prefix}:{lists.table}:live", lists.run_id)

    def location(self, lists: ExportTable) -> str:
        """The server, the keys, and when they end."""
        with self._session() as client:
            left = timedelta(seconds=client.ttl(self._marks(lists)))
        return (
            f"{self.where}, keys {self._key(lists)}:{lists.columns.named.upper()} "
            f"until {datetime.now(UTC) + left:%Y-%m-%d %H:%M} UTC"
        )

    def _key(self, lists: ExportTable) -> str:
        return f"{self.prefix}:{lists.table}:{lists.run_id}"

    def _marks(self, lists: ExportTable) -> str:
        return f"{self.prefix}:parts:{lists.table}:{lists.run_id}"

    def _arrived(self, client: "redis.Redis", lists: ExportTable) -> int:
        return sum(int(count) for count in client.hvals(self._marks(lists)))

    @contextmanager
    def _session(self) -> Iterator["redis.Redis"]:
        """A client; what the server refuses is raised as our errors."""
        with _connect(self._url) as client:
            from redis import exceptions

            try:
                yield client
            except (exceptions.AuthenticationError, exceptions.ResponseError) as error:
                raise ConfigError(f"{self.where} refuses: {reason_of(error)}.") from error
            except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
                raise TransientError(
                    f"{self.where} does not answer: {reason_of(error)}. {AWAY}"
                ) from error


def _connect(url: str) -> "redis.Redis":
    """A client, also of an executor; it connects with its first command."""
    require("redis", extra="redis")
    from redis import Redis as Client

    return Client.from_url(
        url,
        socket_connect_timeout=_PATIENCE,
        socket_timeout=_ANSWER_PATIENCE,
        decode_responses=True,
    )


def _without_password(url: str) -> str:
    """Host, port and database of the URL. Raises ConfigError, which repeats nothing of it."""
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path or '/0'}"
    except ValueError:
        raise ConfigError(_WRONG) from None
    if parts.scheme not in ("redis", "rediss") or not re.fullmatch(r"(/\d*)?", parts.path):
        raise ConfigError(_WRONG)
    return f"{parts.scheme}://{place}"


def _set_part(url: str, key: str, marks: str, until: int, part: int, batches: Batches) -> None:
    """Lists first, then the mark with its end; another attempt sets the same."""
    with _connect(url) as client:
        if client.hexists(marks, str(part)):
            return
        written = sum(_set_lists(client, key, until, batch) for batch in batches)
        with client.pipeline(transaction=True) as marking:
            marking.hset(marks, str(part), written)
            marking.expireat(marks, until)
            marking.execute()


def _set_lists(client: "redis.Redis", key: str, until: int, batch: pa.RecordBatch) -> int:
    pairs = list(zip(batch["id"].to_pylist(), batch["list"].to_pylist(), strict=True))
    for start in range(0, len(pairs), _AT_ONCE):
        with client.pipeline(transaction=False) as pipeline:
            for owner, entries in pairs[start : start + _AT_ONCE]:
                pipeline.set(f"{key}:{owner}", entries, exat=until)
            answers = pipeline.execute(raise_on_error=False)
        for refusal in (answer for answer in answers if isinstance(answer, Exception)):
            raise refusal  # the client's own error would repeat the list
    return len(pairs)
