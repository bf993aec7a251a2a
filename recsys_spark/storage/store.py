"""Small objects under the root: read, created once, or swapped in one step.

A root without a scheme (or with file:) is a folder of this machine and needs no JVM; any other
scheme goes through Hadoop's FileSystem, so whatever Spark can reach can hold the tables.
"""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

from pyspark.sql import SparkSession

from recsys_spark.errors import ConfigError
from recsys_spark.spark_internals import hadoop_configuration, java_array, java_class

_PUT_SCHEMES = ("s3a", "s3", "gs")
_ATTEMPTS = 10  # to delete a folder in which something changes
_PATTERN = re.compile(r"[\[\]{}*?\\]")


class Store(Protocol):
    """Files named by paths relative to the root."""

    def uri(self, path: str) -> str:
        """The full address, for Spark and for people."""

    def read(self, path: str) -> str | None:
        """The text of a file, or None if there is no such file."""

    def replace(self, path: str, text: str) -> None:
        """Write a file so that readers see the old text or the new one, never a part."""

    def list(self, path: str) -> dict[str, int]:
        """Names below a folder with their sizes in bytes; empty if there is no such folder."""

    def delete(self, path: str) -> None:
        """Delete a file or folder, if it is there."""


def is_local(root: str) -> bool:
    """Whether the root is a folder of this machine."""
    return urlparse(root).scheme in ("", "file")


def local_folder(root: str) -> Path | None:
    """The folder that a root of this machine names; None for other file systems.

    A path, absolute or relative, with `~` for the home; or an address that begins with file:.
    Raises ConfigError for an address of another machine, or an unknown user's home.
    """
    if not is_local(root):
        return None
    path = _behind_scheme(root) if root[:5].lower() == "file:" else root
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{root}: there is no such user's home.") from None


def _behind_scheme(address: str) -> str:
    path, machine = unquote(address[5:]), ""
    if path.startswith("//"):
        machine, slash, path = path[2:].partition("/")
        path = slash + path
    if machine not in ("", "localhost"):
        raise ConfigError(
            f"{address} names a machine, {machine}: write file:/// and the folder's whole path."
        )
    return path


def open_store(root: str, session: Callable[[], SparkSession]) -> Store:
    """The store of this root; `session` is called only if the root is not local.

    Raises ConfigError for a root that Spark would read as a pattern of names.
    """
    folder = local_folder(root)
    whole = root if folder is None else str(folder.absolute())
    if odd := _PATTERN.findall(whole):
        raise ConfigError(
            f"paths.root is {whole}, and Spark reads {' '.join(sorted(set(odd)))} as a pattern of "
            "names: choose a folder without."
        )
    return HadoopStore(session(), root) if folder is None else LocalStore(folder.absolute())


class LocalStore:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def uri(self, path: str) -> str:
        """The absolute path."""
        return str(self.root / path)

    def read(self, path: str) -> str | None:
        """The text of a file, or None."""
        try:
            return (self.root / path).read_bytes().decode("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def replace(self, path: str, text: str) -> None:
        """Write beside the file, flush to disk, rename over it."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            with beside.open("wb") as file:
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)

    def list(self, path: str) -> dict[str, int]:
        """Names and sizes below a folder."""
        folder = self.root / path
        return {p.name: p.stat().st_size for p in folder.iterdir()} if folder.is_dir() else {}

    def delete(self, path: str) -> None:
        """Delete a file or folder, if it is there."""
        target = self.root / path
        for attempt in range(_ATTEMPTS):
            if not target.is_dir():
                break
            try:
                shutil.rmtree(target)
            except OSError as error:  # Spark cleans up after an interrupted write meanwhile
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY) or attempt + 1 == _ATTEMPTS:
                    raise
        target.unlink(missing_ok=True)


class HadoopStore:
    """A folder of any file system that Hadoop reaches, through the driver's JVM."""

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.root = root.rstrip("/")
        self._conf = hadoop_configuration(spark)
        self._files = self._path("").getFileSystem(self._conf)

    def _path(self, path: str) -> Any:
        return java_class("org.apache.hadoop.fs.Path")(self.uri(path))

    def uri(self, path: str) -> str:
        """The full URI."""
        return f"{self.root}/{path}" if path else self.root

    def read(self, path: str) -> str | None:
        """The text of a file, or None."""
        if not self._files.exists(self._path(path)):
            return None
        stream = self._files.open(self._path(path))
        try:
            return str(java_class("org.apache.commons.io.IOUtils").toString(stream, "UTF-8"))
        finally:
            stream.close()

    def replace(self, path: str, text: str) -> None:
        """One PUT where the store shows a file only when it is closed; else rename over."""
        if self.root.split(":")[0] in _PUT_SCHEMES:
            self._create(path, text)
            return
        beside = f"{path}.{uuid.uuid4().hex}.tmp"
        self._create(beside, text)
        rename = java_class("org.apache.hadoop.fs.Options$Rename")
        options = java_array(rename, 1)
        options[0] = rename.OVERWRITE
        context = java_class("org.apache.hadoop.fs.FileContext").getFileContext(
            self._path("").toUri(), self._conf
        )
        context.rename(self._path(beside), self._path(path), options)

    def _create(self, path: str, text: str) -> None:
        stream = self._files.create(self._path(path), True)
        try:
            stream.write(bytearray(text.encode("utf-8")))
        finally:
            stream.close()

    def list(self, path: str) -> dict[str, int]:
        """Names and sizes below a folder."""
        if not self._files.exists(self._path(path)):
            return {}
        found = self._files.listStatus(self._path(path))
        return {status.getPath().getName(): int(status.getLen()) for status in found}

    def delete(self, path: str) -> None:
        """Delete a file or folder, if it is there."""
        self._files.delete(self._path(path), True)
