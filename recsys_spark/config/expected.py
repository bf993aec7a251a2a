"""What a key takes, in words: from the type of its field."""

from collections.abc import Mapping
from datetime import datetime
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from recsys_spark import yaml12
from recsys_spark.config.section import Section
from recsys_spark.config.wanted import entries, options, under

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    datetime: "a time",
    NoneType: "null",
}
_EXAMPLES = {int: "10", float: "0.5", datetime: "2024-05-31"}
_SCALAR = {bool, int, float, str}


def kind_at(kind: Any, parts: list[str | int]) -> Any:
    """The type of what stands at a place below one of this type; Any where there is none."""
    for part in parts:
        kind = entries(kind) if isinstance(part, int) else under(kind, part)
    return kind


def expected(kind: Any, field: FieldInfo | None) -> str:
    """What a key of this type takes, with an example. field: that of the key, if it is one."""
    members = options(kind)
    if set(members) >= _SCALAR:
        members = ["a value", *(one for one in members if one not in _SCALAR)]
    words = list(dict.fromkeys(_word(one) for one in members))
    example = _default(field) or next(filter(None, map(_example, members)), "")
    return " or ".join(words) + (f", such as {example}" if example else "")


def choices_of(kind: Any) -> list[str]:
    """The texts that a key of this type takes, where they are few."""
    literals = (one for one in options(kind) if get_origin(one) is Literal)
    return [str(choice) for one in literals for choice in get_args(one)]


def example_of(field: FieldInfo | None) -> str:
    """The default of a key as an example; empty where it has none."""
    return f", such as {_default(field)}" if _default(field) else ""


def _default(field: FieldInfo | None) -> str:
    value = field.default if field else None
    shown = isinstance(value, int | float | list) and not isinstance(value, bool)
    return yaml12.dump_inline(value) if shown and value else ""


def _word(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        return f"a list of {len(get_args(kind))} numbers"
    if get_origin(kind) is list:
        return "a list"
    return _WORDS.get(kind, "keys and values")


def _example(kind: Any) -> str:
    if get_origin(kind) is list:
        inner = next(filter(None, map(_example, options(get_args(kind)[0]))), "a")
        return f"[{inner}]"
    if get_origin(kind) is tuple:
        return f"[{', '.join(str(at) for at, _ in enumerate(get_args(kind), 1))}]"
    if get_origin(kind) in (dict, Mapping):
        return "{name: ...}"
    if isinstance(kind, type) and issubclass(kind, Section):
        first = next(iter(kind.model_fields))
        return f"{{{first}: ...}}"
    return _EXAMPLES.get(kind, "") if isinstance(kind, type) else ""
