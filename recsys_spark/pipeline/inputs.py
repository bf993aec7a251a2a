"""The files that stages read beside tables: what they are, and what refuses them at once."""

from collections.abc import Sequence
from operator import attrgetter

from recsys_spark.config import Config
from recsys_spark.pipeline.sessions import Session
from recsys_spark.runtime.events import event_fingerprint, fingerprint

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
        for key in _FILES.get(stage, ()):
            path = attrgetter(key)(config).path
            if path is not None:
                print_ = fingerprint(session, f"{key}.path", path)
                found[stage] = found.get(stage, "") + print_
    return found
