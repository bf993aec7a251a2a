"""Where lists are delivered for others to read: files, SQLite, PostgreSQL, Redis."""

import os
from dataclasses import dataclass, fields
from typing import Literal

from recsys_spark.errors import ConfigError
from recsys_spark.export.files import Files
from recsys_spark.export.lists import ExportTable, Target
from recsys_spark.export.postgres import Postgres
from recsys_spark.export.redis import Redis
from recsys_spark.export.sqlite import Sqlite

__all__ = ["ExportTable", "Form", "Options", "Target", "open_target"]

Form = Literal["jsonl", "csv", "parquet", "sqlite", "postgres", "redis"]
_USED = {"postgres": ("connections",), "redis": ("connections", "prefix", "ttl_days")}


@dataclass(frozen=True)
class Options:
    """connections: of executors at once. prefix, ttl_days: of Redis' keys."""

    connections: int = 8
    prefix: str = "recsys"
    ttl_days: int = 7


def open_target(form: Form, target: str, options: Options) -> Target:
    """The place that the target names: a folder, a file, a URL, or env:NAME of a variable.

    Raises ConfigError if it cannot be one, or for an option that has no effect; TransientError if
    a server does not answer.
    """
    _refuse_unused(form, options)
    address = _from_environment(target)
    if form == "sqlite":
        return Sqlite(address)
    if form == "postgres":
        return Postgres(address, options.connections)
    if form == "redis":
        return Redis(address, options.prefix, options.ttl_days, options.connections)
    return Files(form, address)


def _refuse_unused(form: str, options: Options) -> None:
    for field in fields(options):
        given = getattr(options, field.name) != field.default
        if given and field.name not in _USED.get(form, ()):
            name = field.name.replace("_", "-")
            raise ConfigError(f"--{name} has no effect on {form}: leave it out.")


def _from_environment(target: str) -> str:
    if not target.startswith("env:"):
        return target
    name = target.removeprefix("env:")
    if name not in os.environ:
        raise ConfigError(f"The target is {target}, but the variable {name} is not set.")
    return os.environ[name]
