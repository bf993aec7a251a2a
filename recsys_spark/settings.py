"""Reading the configuration: files, overrides, and messages that name the nearest valid key."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from recsys_spark.config import Config, Section, mask
from recsys_spark.errors import ConfigError


def load_config(files: Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> Config:
    """Defaults, then the files in order, then `key.path=value` overrides.

    Raises ConfigError naming the file or key and the nearest valid key.
    """
    content: dict[str, Any] = {}
    for file in files:
        content = _merge(content, _read_yaml(Path(file)))
    for override in overrides:
        content = _merge(content, _parse_override(override))
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def documented_defaults() -> str:
    """`conf/base.yaml`: every key with its default, and its meaning as a comment."""
    head = "# Every key with its default, meaning and unit. Other files override what differs.\n"
    return head + "".join("\n" + block for block in _document(Config, 0))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, such as 'paths: {{root: out}}'.")
    return content


def _parse_override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r} is not of the form key.path=value.")
    content: Any = _override_value(key, value)
    parts = key.strip().split(".")
    if parts[:2] == ["spark", "conf"] and len(parts) > 2:
        parts = ["spark", "conf", ".".join(parts[2:])]  # these keys contain dots themselves
    for part in reversed(parts):
        content = {part: content}
    assert isinstance(content, dict)
    return content


def _override_value(key: str, text: str) -> Any:
    """The value as YAML reads it, except where YAML would make nothing or a mapping of plain text
    such as '::' or '|', which separators are."""
    structured = text.lstrip()[:1] in ("{", "[")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        if not structured:
            return text
        problem = getattr(error, "problem", error)  # without the excerpt: it may be a secret
        raise ConfigError(f"--set {key}: the value is not valid YAML: {problem}") from None
    if isinstance(value, dict | list) and not structured:
        return text
    empty = text.strip() in ("", "''", '""', "~", "null", "Null", "NULL")
    return text if value in (None, "") and not empty else value


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both and old is not None else value
    return merged


def _explain(problem: ErrorDetails) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"Unknown key {key}; the nearest valid key is {_nearest_key(problem['loc'])}."
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{key}: {message} (given: {mask(problem['input'], key)!r})."


def _nearest_key(location: tuple[int | str, ...]) -> str:
    """A neighbour in the same section where one is alike, else the most alike of all keys."""
    *parents, name = map(str, location)
    section: type[BaseModel] | None = Config
    for part in parents:
        section = _inner_section(section.model_fields[part]) if section else None
    siblings = difflib.get_close_matches(name, list(section.model_fields) if section else [], 1)
    if siblings:
        return ".".join([*parents, siblings[0]])
    return difflib.get_close_matches(".".join([*parents, name]), list(known_keys()), 1, 0.0)[0]


def known_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterable[str]:
    """Every valid dotted key, depth first."""
    for name, field in model.model_fields.items():
        inner = _inner_section(field)
        if inner is None:
            yield prefix + name
        else:
            yield from known_keys(inner, f"{prefix}{name}.")


def _inner_section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _document(model: type[Section], depth: int) -> Iterable[str]:
    indent = "  " * depth
    for name, field in model.model_fields.items():
        inner = _inner_section(field)
        if inner is not None:
            yield f"{indent}{name}:\n" + "".join(_document(inner, depth + 1))
        else:
            yield f"{indent}{name}: {_yaml_value(field)}  # {field.description}\n"


def _yaml_value(field: FieldInfo) -> str:
    assert field.default is not PydanticUndefined
    value = field.default
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()
