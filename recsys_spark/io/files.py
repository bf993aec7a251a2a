"""From a configured path to the files that it names: those that are listed are those that are read.

A path that exists is taken literally, whatever characters it has; any other may be a pattern.
Folders are read with their sub-folders; hidden files in them (`_SUCCESS`, `.part.crc`) are
skipped, as Spark does, and read where they are named.
"""

import hashlib
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.io.filesystem import Entry, FileSystem, RangeFile, Session, file_system

_PATTERN = re.compile(r"[*?\[{]")
_ZIP = re.compile(r"\.zip(?=/|$)", re.IGNORECASE)
_LEVELS = 4  # folders above a file in which the log of a table format is looked for
_MOST_FOLDERS = 200
_FORMATS = {"_delta_log": "Delta", ".hoodie": "Hudi"}


@dataclass(frozen=True)
class SourceFile:
    """A file to read. member: the name inside of it, if it is an archive."""

    entry: Entry
    member: str = ""

    @property
    def name(self) -> str:
        """As messages call it."""
        return f"{self.entry.path}/{self.member}" if self.member else self.entry.path

    @cached_property
    def partitions(self) -> dict[str, str]:
        """Columns that the folders `name=value` of the path add, as Hive writes them."""
        found = re.findall(r"(?<=/)([^/=]+)=([^/]*)(?=/)", self.entry.path)
        return {unquote(name): unquote(value) for name, value in found}


@dataclass(frozen=True)
class Found:
    """The files behind a setting, in order of their names, and a hash of what they are."""

    key: str
    path: str
    system: FileSystem
    files: list[SourceFile]

    @property
    def fingerprint(self) -> str:
        """Follows names, sizes and times of the files."""
        facts = [(f.entry.path, f.entry.size, f.entry.modified) for f in self.files]
        digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
        return f"{len(facts)}:{digest}"


def find_files(key: str, path: str, session: Session) -> Found:
    """The files of a configured path, without a job; empty files are left out.

    key: the setting that names it. session: opens one, where the path is not of this machine.

    Raises ConfigError for a path that names nothing or cannot be reached, ContractError for a
    folder without files to read and for table formats whose list of files is elsewhere.
    """
    system = file_system(key, path, session)
    archive = _archive(system, path)
    if archive is not None:
        return Found(key, path, system, _members(key, system, *archive))
    entries = _entries(key, path, system)
    _refuse_table_formats(key, path, system, [entry for entry, _ in entries])
    files = [SourceFile(entry) for entry, below in entries if entry.size and not _hidden(below)]
    if not files:
        raise ContractError(_nothing(key, path, [entry for entry, _ in entries]))
    if len(files) == 1 and _is_zip(system, files[0].entry):
        files = _members(key, system, files[0].entry, "")
    return Found(key, path, system, sorted(files, key=lambda file: file.name))


def fingerprint(key: str, path: str, session: Session) -> str:
    """Hash of names, sizes and times of files. key: the setting that names them."""
    return find_files(key, path, session).fingerprint


def _entries(key: str, path: str, system: FileSystem) -> list[tuple[Entry, str]]:
    """The files, each with its path below what the setting names; a file that it names has none."""
    kind = system.kind(path)
    if kind == "file":
        return [(system.entry(path), "")]
    if kind == "folder":
        return _below(system, path)
    matches = system.glob(path) if _PATTERN.search(path) else []
    if not matches:
        what = "matches no file" if _PATTERN.search(path) else "does not exist"
        raise ConfigError(f"{key} is {path}, which {what}.")
    found: list[tuple[Entry, str]] = []
    for match in matches:
        name = match.rstrip("/").split("/")[-1]
        if system.kind(match) == "folder":
            found += [(entry, f"{name}/{rest}") for entry, rest in _below(system, match)]
        else:
            found.append((system.entry(match), name))
    return found


def _below(system: FileSystem, folder: str) -> list[tuple[Entry, str]]:
    base = system.absolute(folder).rstrip("/") + "/"
    return [(entry, entry.path.removeprefix(base)) for entry in system.walk(folder)]


def _hidden(relative: str) -> bool:
    """Whether Spark skips a file: a part of its path begins with `_` or `.`."""
    parts = relative.strip("/").split("/")
    return any(part[:1] == "." or (part[:1] == "_" and "=" not in part) for part in parts)


def _nothing(key: str, path: str, entries: list[Entry]) -> str:
    if not entries:
        return f"{path} ({key}) is empty: there is no file in it."
    if not any(entry.size for entry in entries):
        return f"{path} ({key}) is empty: its files have no bytes, no header and no row."
    return (
        f"{path} ({key}) is empty: the names of its files begin with '_' or '.', as those of "
        f"{entries[0].path.split('/')[-1]!r} do, and such files are skipped in folders."
    )


def _refuse_table_formats(key: str, path: str, system: FileSystem, entries: list[Entry]) -> None:
    """Delta, Hudi and Iceberg: which Parquet files count stands in a log beside them."""
    inside = {part for entry in entries for part in entry.path.split("/")[:-1]}
    name = next((kind for mark, kind in _FORMATS.items() if mark in inside), None)
    if any(entry.path.endswith(".metadata.json") for entry in entries):
        name = name or "Iceberg"
    name = name or _format_above(system, entries)
    if name is not None:
        raise ContractError(
            f"{path} ({key}) is a table of {name}, or a part of one: its log says which files "
            "count, and plain Parquet would bring removed rows back. Write the rows to plain "
            f"Parquet first, with a session that has {name}'s package, and give that path."
        )


def _format_above(system: FileSystem, entries: list[Entry]) -> str | None:
    """The format whose log lies beside the files or in a folder above them."""
    folders: set[str] = set()
    for folder in {entry.path.rsplit("/", 1)[0] for entry in entries}:
        parts = folder.split("/")
        folders |= {
            "/".join(parts[: len(parts) - up]) for up in range(min(_LEVELS, len(parts) - 1))
        }
    marks = ((folder, mark) for folder in sorted(folders)[:_MOST_FOLDERS] for mark in _FORMATS)
    return next((_FORMATS[m] for folder, m in marks if system.kind(f"{folder}/{m}")), None)


def _is_zip(system: FileSystem, entry: Entry) -> bool:
    return system.read(entry.path, 0, 4) == b"PK\x03\x04"


def _archive(system: FileSystem, path: str) -> tuple[Entry, str] | None:
    """The archive, and the name inside of it, of a path such as `ml-1m.zip/ml-1m/ratings.dat`."""
    if system.kind(path) is not None:
        return None
    for found in _ZIP.finditer(path):
        outer, inner = path[: found.end()], path[found.end() :].strip("/")
        if inner and system.kind(outer) == "file":
            return system.entry(outer), inner
    return None


def _members(key: str, system: FileSystem, entry: Entry, inner: str) -> list[SourceFile]:
    """The files in an archive: all that hold data, or the one that is named."""
    try:
        with zipfile.ZipFile(RangeFile(system, entry)) as archive:
            names = [info.filename for info in archive.infolist() if info.file_size]
    except zipfile.BadZipFile:
        raise ContractError(f"{entry.path} ({key}) is cut off or no zip archive.") from None
    if any(name.startswith(("xl/", "word/")) for name in names):
        raise ContractError(
            f"{entry.path} ({key}) is a workbook of Excel or the like: save it as CSV."
        )
    shown = [name for name in names if not _hidden(name) and "__MACOSX" not in name]
    if inner:
        shown = [name for name in names if name == inner or name.endswith(f"/{inner}")]
    if not shown:
        raise ContractError(
            f"{entry.path} ({key}) has no member {inner!r}; it has {', '.join(names) or 'none'}."
        )
    return [SourceFile(entry, name) for name in shown]
