"""The files that stages read beside tables: what they are, and what refuses them at once."""

from collections.abc import Iterator, Sequence
from operator import attrgetter

from pyspark.sql import SparkSession

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError, RecsysError
from recsys_spark.io.events import Events, open_events, together
from recsys_spark.io.files import find_files, fingerprint
from recsys_spark.io.filesystem import Session
from recsys_spark.io.published_split import open_predefined

# Settings that name tables, beside the events, by the stage that reads them.
_POLICY = ("allow", "allow_in_segment", "deny", "available", "blocked", "new_items")
_FILES = {
    "ingest": ("items",),
    "evaluate": ("evaluate.users",),
    "recommend": (
        "recommend.users",
        "recommend.segments",
        "recommend.groups",
        *(f"recommend.policy.{name}" for name in _POLICY),
    ),
}


def file_fingerprints(session: Session, config: Config, stages: Sequence[str]) -> dict[str, str]:
    """Fingerprints of the files that stages read: the events, and the tables of the settings."""
    found = {"ingest": event_fingerprint(session, config)} if "ingest" in stages else {}
    for stage in stages:
        for key in _files(config, stage):
            path = attrgetter(key)(config).path
            if path is not None:
                print_ = fingerprint(f"{key}.path", path, session)
                found[stage] = found.get(stage, "") + print_
    return found


def _files(config: Config, stage: str) -> Iterator[str]:
    """The settings that name tables which a stage reads."""
    yield from _FILES.get(stage, ())
    if stage in ("train", "refit", "recommend") and config.counts_in_segments():
        yield "evaluate.users"


def open_all(spark: SparkSession, config: Config) -> Events:
    """The events of all files."""
    source, filters = config.ingest.source, config.ingest.filters
    if config.split.method != "predefined":
        return open_events(spark, source, filters)
    return together(open_predefined(spark, config.split.predefined, source, filters))


def event_fingerprint(session: Session, config: Config) -> str:
    """Of the files of events. Raises ConfigError for a path that is not set or names nothing."""
    return "|".join(fingerprint(key, path, session) for key, path in _paths(config))


def event_bytes(config: Config) -> int | None:
    """Size of the files of events, as they are stored; None where they are not on this machine."""
    try:
        found = [find_files(key, path, _no_session) for key, path in _paths(config)]
    except (RecsysError, OSError):
        return None
    return sum(file.entry.size for one in found for file in one.files)


def _no_session() -> SparkSession:
    raise ConfigError("The files are not on this machine.")


def _paths(config: Config) -> Iterator[tuple[str, str]]:
    """The settings that name files of events, with their paths."""
    if config.split.method != "predefined":
        if config.ingest.source.path is None:
            raise ConfigError(
                "ingest.source.path is not set: name the file or folder of the events."
            )
        yield "ingest.source.path", config.ingest.source.path
        return
    predefined = config.split.predefined
    for part in ("train", "test", "negatives"):
        path = getattr(predefined, part)
        if path is not None:
            yield f"split.predefined.{part}", path
        elif part != "negatives":
            raise ConfigError(
                f"split.predefined.{part} is not set: name the {part} file of the split."
            )
