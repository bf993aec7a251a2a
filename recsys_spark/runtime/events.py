"""The events that ingest reads; fingerprints of files, for which local ones need no session."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pyspark.sql import SparkSession

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.runtime import source as remote
from recsys_spark.runtime.given import open_given, together
from recsys_spark.runtime.source import RawSource, open_source
from recsys_spark.runtime.store import local_folder

_PATTERN = re.compile(r"[*?\[{]")


def open_events(spark: SparkSession, config: Config) -> RawSource:
    """The events: of ingest.source, or of both files of a given split."""
    if config.split.method != "given":
        return open_source(spark, config.ingest.source)
    return together(open_given(spark, config.split.given, config.ingest.source))


def event_fingerprint(spark: Callable[[], SparkSession], config: Config) -> str:
    """Of the files of events. Raises ConfigError for a path that is not set or names nothing."""
    if config.split.method != "given":
        path = config.ingest.source.path
        if path is None:
            raise ConfigError(
                "ingest.source.path is not set: name the file or folder of the events."
            )
        return fingerprint(spark, "ingest.source.path", path)
    given = config.split.given
    prints: list[str] = [given.format]
    for part in ("train", "test", "negatives"):
        path = getattr(given, part)
        if path is None and part != "negatives":
            raise ConfigError(f"split.given.{part} is not set: name the {part} file of the split.")
        if path is not None:
            prints.append(fingerprint(spark, f"split.given.{part}", path))
    return "|".join(prints)


def fingerprint(spark: Callable[[], SparkSession], key: str, path: str) -> str:
    """Hash of names, sizes and times of files. key: the setting that names them.

    The session is opened for files that are not local, for patterns of names, and under
    spark-submit, where a path without a scheme is one of the cluster's file system. Raises
    ConfigError for a path that names nothing.
    """
    local, submitted = local_folder(path), "PYSPARK_GATEWAY_PORT" in os.environ
    if submitted or local is None or (not local.exists() and _PATTERN.search(path)):
        return remote.fingerprint(spark(), key, path)
    if not local.exists():
        raise ConfigError(f"{key} is {path}, which does not exist.")
    facts = sorted(_facts(local))
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    return f"{len(facts)}:{digest}"


def _facts(path: Path) -> Iterator[tuple[str, int, int]]:
    """Absolute name, bytes and time of change of a file, or of all files of a folder."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            about = file.stat()
            yield str(file.absolute()), about.st_size, about.st_mtime_ns
