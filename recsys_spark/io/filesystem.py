"""The file systems that tables are read from: this machine's, or any that Hadoop reaches."""

import glob
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import unquote

from pyspark.sql import SparkSession

from recsys_spark.errors import ConfigError
from recsys_spark.spark_internals import hadoop_configuration, hadoop_path, java_class

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
# Where these are set, a path without a scheme may be one of the cluster's file system.
_ON_CLUSTER = {"HADOOP_CONF_DIR", "PYSPARK_GATEWAY_PORT"}
BACKSLASH = "\\"
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Entry:
    """A file. path: absolute. size: bytes. modified: milliseconds since 1970."""

    path: str
    size: int
    modified: int


class FileSystem(Protocol):
    """What finding files needs of a file system."""

    def kind(self, path: str) -> str | None:
        """ "file", "folder", or None if there is nothing of this name."""

    def absolute(self, path: str) -> str:
        """The path as entries have it."""

    def address(self, path: str) -> str:
        """What Spark is given for the path of an entry."""

    def entry(self, path: str) -> Entry:
        """Facts of a file."""

    def walk(self, path: str) -> Iterator[Entry]:
        """All files below a folder, hidden ones too."""

    def glob(self, pattern: str) -> list[str]:
        """Paths that match a pattern of `*`, `?`, `[...]` and `{a,b}`."""

    def read(self, path: str, start: int, length: int) -> bytes:
        """At most `length` bytes of a file from `start` on."""


Session = Callable[[], SparkSession]


def file_system(key: str, path: str, session: Session) -> FileSystem:
    """The file system of a configured path.

    key: the setting that names it. session: opens one, where the path may be of another file system
    than this machine's. Raises ConfigError for addresses that Spark does not read.
    """
    found = _SCHEME.match(path)
    scheme = found[1].lower() if found and not os.path.exists(path) else ""
    if len(scheme) == 1:
        raise ConfigError(
            f"{key} is {path!r}, a path of Windows: write file:///{path.replace(BACKSLASH, '/')} "
            "with forward slashes, or run where this path exists."
        )
    if scheme in ("http", "https", "ftp"):
        raise ConfigError(
            f"{key} is {path!r}: files are not read over {scheme}; download it and give its path."
        )
    if scheme == "file":
        return LocalFiles()
    if not scheme and not _ON_CLUSTER & set(os.environ):
        return LocalFiles()
    spark = session()
    default = str(hadoop_configuration(spark).get("fs.defaultFS") or "file:///")
    return LocalFiles() if not scheme and default.startswith("file:") else HadoopFiles(spark)


def local_path(path: str) -> str:
    """The path on this machine that a `file:` address or a plain path names."""
    if path.lower().startswith("file:"):
        plain = "/" + path[5:].lstrip("/")
        return plain if os.path.exists(plain) else unquote(plain)
    return os.path.expanduser(path)


class LocalFiles:
    """Files of this machine; needs no session."""

    def kind(self, path: str) -> str | None:
        """ "file", "folder", or None."""
        found = Path(local_path(path))
        return "folder" if found.is_dir() else "file" if found.exists() else None

    def absolute(self, path: str) -> str:
        """The path as entries have it."""
        return os.path.abspath(local_path(path))

    def address(self, path: str) -> str:
        """With the scheme, which a session on a cluster would not add."""
        return f"file://{path}"

    def entry(self, path: str) -> Entry:
        """Facts of a file."""
        absolute = self.absolute(path)
        try:
            facts = os.stat(absolute)
        except OSError as error:
            _refuse(error)
        return Entry(absolute, facts.st_size, facts.st_mtime_ns // 1_000_000)

    def walk(self, path: str) -> Iterator[Entry]:
        """All files below a folder; one that links lead to again is read once."""
        walked: set[str] = set()
        for folder, below, names in os.walk(self.absolute(path), onerror=_refuse, followlinks=True):
            if (real := os.path.realpath(folder)) in walked:
                below.clear()
                continue
            walked.add(real)
            yield from (self.entry(os.path.join(folder, name)) for name in names)

    def glob(self, pattern: str) -> list[str]:
        """Matching paths."""
        patterns = _without_braces(local_path(pattern))
        return sorted({path for one in patterns for path in glob.glob(one, recursive=True)})

    def read(self, path: str, start: int, length: int) -> bytes:
        """A part of a file."""
        try:
            with open(local_path(path), "rb") as file:
                file.seek(start)
                return file.read(length)
        except PermissionError as error:
            _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    """Nothing is skipped because it cannot be read."""
    raise ConfigError(f"{error.filename} cannot be read: {error.strerror}.") from None


def _without_braces(pattern: str) -> list[str]:
    """The patterns that `{a,b}` stands for."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    choices = (f"{before}{choice}{after}" for choice in found[1].split(","))
    return [one for choice in choices for one in _without_braces(choice)]


class HadoopFiles:
    """Files of any file system that Hadoop reaches, through the driver's JVM."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark

    def _open(self, path: str) -> tuple[Any, Any]:
        return hadoop_path(self._spark, path)

    def kind(self, path: str) -> str | None:
        """ "file", "folder", or None."""
        files, place = self._open(path)
        if not files.exists(place):
            return None
        return "folder" if files.getFileStatus(place).isDirectory() else "file"

    def absolute(self, path: str) -> str:
        """The path as entries have it."""
        files, place = self._open(path)
        return str(files.makeQualified(place))

    def address(self, path: str) -> str:
        """The path itself, which is qualified."""
        return path

    def entry(self, path: str) -> Entry:
        """Facts of a file."""
        files, place = self._open(path)
        return _entry(files.getFileStatus(place))

    def walk(self, path: str) -> Iterator[Entry]:
        """All files below a folder."""
        files, place = self._open(path)
        found = files.listFiles(place, True)
        while found.hasNext():
            yield _entry(found.next())

    def glob(self, pattern: str) -> list[str]:
        """Matching paths."""
        files, place = self._open(pattern)
        return [str(status.getPath()) for status in files.globStatus(place) or []]

    def read(self, path: str, start: int, length: int) -> bytes:
        """A part of a file."""
        files, place = self._open(path)
        length = min(length, max(0, int(files.getFileStatus(place).getLen()) - start))
        stream = files.open(place)
        try:
            stream.seek(start)
            return bytes(java_class("org.apache.commons.io.IOUtils").toByteArray(stream, length))
        finally:
            stream.close()


def _entry(status: Any) -> Entry:
    return Entry(str(status.getPath()), int(status.getLen()), int(status.getModificationTime()))


class RangeFile(io.RawIOBase):
    """A file of a file system as Python's libraries read files: by seeking."""

    def __init__(self, files: FileSystem, entry: Entry) -> None:
        self._files, self._entry, self._at = files, entry, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, as of any file."""
        base = (0, self._at, self._entry.size)[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, as far as there are bytes."""
        content = self._files.read(self._entry.path, self._at, len(buffer))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
