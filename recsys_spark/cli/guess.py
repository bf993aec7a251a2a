"""A first configuration for a file of events, guessed from its first lines."""

import csv
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from recsys_spark import yaml12
from recsys_spark.errors import ConfigError
from recsys_spark.settings import load_config

_LINES = 20
_SEPARATORS = ("::", "\t", ";", "|", ",")
# What columns are often called, the likeliest first.
_NAMES = {
    "user": r"user|customer|member|visitor|client|account|session",
    "item": r"item|product|movie|book|article|artist|track|song|sku|isbn|asin|content",
    "value": r"rating|score|stars|overall|value|weight|count|quantity|plays",
    "timestamp": r"timestamp|time|date|created|^ts$",
}
_UNITS = {10: "seconds", 13: "milliseconds", 16: "microseconds"}  # by digits, of this century


@dataclass(frozen=True)
class Guess:
    """What the first lines look like. columns: by role, a name or a position; None: not found."""

    format: str
    separator: str | None
    header: bool
    names: Sequence[str]
    columns: dict[str, str | int | None]
    unit: str


def guess(path: Path) -> Guess:
    """Format, columns and unit of a file, or of the first one in a folder.

    Raises ConfigError if there is no such file, or it is neither text nor Parquet.
    """
    file = first_file(path)
    with file.open("rb") as content:
        magic = content.read(4)
    if file.suffix == ".parquet" or magic == b"PAR1":
        return _of_rows("parquet", _parquet_rows(file))
    lines = _first_lines(file)
    if lines and lines[0].lstrip().startswith("{"):
        return _of_rows("jsonl", [_json_object(line, file) for line in lines])
    return _of_csv(lines)


def configuration(path: Path, found: Guess) -> str:
    """The file's keys under ingest.source, as YAML with comments; what was not found is marked."""
    lines = [
        "# What differs from the defaults, which `recsys-spark config --defaults` explains.",
        "ingest:",
        "  source:",
        f"    path: {yaml12.dump_inline(str(path))}",
        f"    format: {found.format}",
    ]
    if found.separator is not None:
        lines.append(f"    separator: {yaml12.dump_inline(found.separator)}")
        lines.append(f"    header: {yaml12.dump_inline(found.header)}")
    lines.append(f"    columns:  # of {', '.join(found.names)}"[:99])
    for role, column in found.columns.items():
        note = "" if column is not None else _NOT_FOUND[role]
        lines.append(f"      {role}: {yaml12.dump_inline(column)}{note}")
    if found.columns["timestamp"] is not None:
        lines.append(f"    timestamp_unit: {found.unit}")
    return "\n".join(lines) + "\n"


_NOT_FOUND = {
    "user": "  # not found: name the column of the user ids",
    "item": "  # not found: name the column of the item ids",
    "value": "  # none found: every event counts 1",
    "timestamp": "  # none found: the events have no time",
}


def write_configuration(path: Path, target: Path) -> Guess:
    """Guess, and write the configuration where there is none yet."""
    if target.exists():
        raise ConfigError(f"{target} exists already: remove it, or name another with --output.")
    found = guess(path)
    if found.columns["user"] is not None and found.columns["item"] is not None:
        content = yaml12.load(configuration(path, found))["ingest"]["source"]
        load_config(overrides=[f"ingest.source={json.dumps(content)}"])
    target.write_text(configuration(path, found), encoding="utf-8")
    return found


def first_file(path: Path) -> Path:
    """The file, or the first one in a folder, which is what is guessed from."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    shown = [file for file in files if file.name[:1] not in ("_", ".")]
    if not shown:
        raise ConfigError(f"There is no file of events at {path}.")
    return shown[0]


def _first_lines(file: Path) -> list[str]:
    unpacked = gzip.open if file.suffix == ".gz" else open
    try:
        with unpacked(file, "rt", encoding="utf-8-sig") as text:
            return [line.rstrip("\r\n") for line in islice(text, _LINES) if line.strip()]
    except (UnicodeDecodeError, OSError):
        raise ConfigError(f"{file} is neither text in UTF-8 nor Parquet.") from None


def _of_csv(lines: list[str]) -> Guess:
    separator = max(_SEPARATORS, key=lambda one: _fields_in_each(lines, one))
    rows = [_split(line, separator) for line in lines]
    header = bool(rows) and not any(re.fullmatch(r"-?[0-9.]+", cell) for cell in rows[0])
    names = rows[0] if header else [str(at) for at in range(len(rows[0]) if rows else 0)]
    found = _of_rows("csv", [dict(zip(names, row, strict=False)) for row in rows[header:]])
    if not header:
        found = replace(found, columns=_by_position(len(names)))
        found = replace(found, unit=_unit([row[3] for row in rows if len(row) > 3]))
    return replace(found, separator=separator, header=header, names=names)


def _fields_in_each(lines: list[str], separator: str) -> int:
    """How many fields every line has, 1 where they differ."""
    counts = {len(_split(line, separator)) for line in lines}
    return counts.pop() if len(counts) == 1 else 1


def _split(line: str, separator: str) -> list[str]:
    if len(separator) > 1:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator), [])


def _by_position(size: int) -> dict[str, str | int | None]:
    return {role: at if at < size else None for at, role in enumerate(_NAMES)}


def _of_rows(form: str, rows: Sequence[dict[str, Any]]) -> Guess:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns: dict[str, str | int | None] = {}
    for role, pattern in _NAMES.items():
        left = [name for name in names if name not in columns.values()]
        columns[role] = _likeliest(left, pattern)
    times = [row.get(str(columns["timestamp"])) for row in rows]
    return Guess(form, None, True, names, columns, _unit(times))


def _likeliest(names: list[str], pattern: str) -> str | None:
    """The name with the likeliest word; of several, that of an id, then the first."""
    for word in pattern.split("|"):
        matches = [name for name in names if re.search(word, name, re.IGNORECASE)]
        if matches:
            return min(matches, key=lambda name: not re.search(r"id$", name, re.IGNORECASE))
    return None


def _unit(values: Sequence[Any]) -> str:
    texts = [str(value) for value in values if value is not None]
    if not texts or re.fullmatch(r"[0-9]+(\.[0-9]*)?", texts[0]):
        return _UNITS.get(len(texts[0].partition(".")[0]), "seconds") if texts else "seconds"
    return "iso"


def _json_object(line: str, file: Path) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except json.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        raise ConfigError(f"{file} does not have a JSON object on every line.")
    return content


def _parquet_rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = pq.ParquetFile(file)
        batch = next(content.iter_batches(_LINES), None)
    except (pa.ArrowException, OSError):
        raise ConfigError(f"{file} is not Parquet.") from None
    rows: list[dict[str, Any]] = batch.to_pylist() if batch is not None else []
    return rows or [dict.fromkeys(content.schema_arrow.names)]
