"""Reading the configuration: files, overrides, and messages that name the nearest valid key."""

import difflib
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import NoneType
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from recsys_spark import yaml12
from recsys_spark.config import Config, Section, as_wanted, mask, options, under, wants_text
from recsys_spark.config.expected import choices_of, example_of, expected, kind_at
from recsys_spark.errors import ConfigError, similar_name

# Words for what pydantic finds wrong of a value of the right type, by the types of its errors.
_RANGES = {
    "greater_than": "above {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "below {lt:g}",
    "less_than_equal": "{le:g} or less",
    "finite_number": "a finite number",
    "too_short": "a list of {min_length} or more",
    "string_too_short": "text that is not empty",
}
# Those of values of another type than the key's.
_OF_TYPE = frozenset(
    {
        *("model_type", "dict_type", "list_type", "tuple_type", "string_type", "literal_error"),
        *("int_type", "int_parsing", "int_parsing_size", "int_from_float"),
        *("float_type", "float_parsing", "bool_type", "bool_parsing"),
        *("datetime_type", "datetime_parsing", "datetime_from_date_parsing"),
        *("datetime_object_invalid", "too_long"),
    }
)
_Place = list[str | int]


def load_config(sources: Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> Config:
    """Read a configuration: defaults, then files in order, then overrides.

    Parameters
    ----------
    sources : sequence of str or Path
        YAML files, or names of configurations that come with the package, such as movielens.
    overrides : sequence of str
        Texts `key.path=value`, as of `--set`.

    Returns
    -------
    Config
        The typed configuration, one attribute a section.

    Raises
    ------
    ConfigError
        For a file that cannot be read, an unknown key (naming the nearest valid one) or a value
        that a key does not take.

    References
    ----------
    YAML 1.2, core schema. conf/base.yaml has every key with its default and unit.

    Examples
    --------
    >>> from recsys_spark.settings import load_config
    >>> load_config(overrides=["recommend.n=20"]).recommend.n
    20
    """
    content: dict[str, Any] = {}
    for source in sources:
        content = _merge(content, _read_yaml(Path(source)), Config)
    for override in overrides:
        content = _set(content, *_parse_override(override))
    content = as_wanted(content, Config)
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise ConfigError(explained(error, content)) from None


def documented_defaults() -> str:
    """`conf/base.yaml`: every key with its default, and its meaning as a comment."""
    head = "# Every key with its default, meaning and unit. Other files override what differs.\n"
    return head + "".join("\n" + block for block in _document(Config, 0))


def shipped() -> dict[str, Traversable]:
    """The configurations that come with the package, by name."""
    folder = files("recsys_spark") / "conf"
    found = (file for file in folder.iterdir() if file.name.endswith(".yaml"))
    return {file.name.removesuffix(".yaml"): file for file in found}


def _read_yaml(path: Path) -> dict[str, Any]:
    """A file; or, if there is none, the configuration of this name that comes with the package."""
    named = shipped()
    file = path if path.is_file() else named.get(str(path), path)
    try:
        content = yaml12.load(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration {path}{similar_name(str(path), named)}; those that need no "
            "path are "
            f"{', '.join(sorted(named))}."
        ) from None
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not valid YAML: it is not text in UTF-8.") from None
    except ValueError as error:
        raise ConfigError(f"{path} is {error}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, such as 'paths: {{root: out}}'.")
    return content


def _parse_override(text: str) -> tuple[list[str], Any]:
    """The parts of the key, and its value."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r} is not of the form key.path=value.")
    parts = key.strip().split(".")
    if parts[:2] == ["spark", "conf"] and len(parts) > 2:
        parts = ["spark", "conf", ".".join(parts[2:])]  # these keys contain dots themselves
    return parts, _override_value(key, value, _kind_of(parts))


def _override_value(key: str, text: str, kind: Any) -> Any:
    """The value as it stands, unless it is quoted, or begins as a list or mapping does where the
    key takes one."""
    stripped = text.strip()
    if stripped[:1] in ("{", "[") and not wants_text(kind):
        try:
            return yaml12.load(stripped)
        except ValueError as error:
            raise ConfigError(f"--set {key}: the value is {error}.") from None
    if len(stripped) > 1 and stripped[0] == stripped[-1] and stripped[0] in "'\"":
        with suppress(ValueError):
            return yaml12.load(stripped)
    if not stripped and wants_text(kind) and (text or NoneType not in options(kind)):
        return text
    return yaml12.Plain(stripped)


def _set(content: dict[str, Any], parts: Sequence[str], value: Any) -> dict[str, Any]:
    """Content with this value under a key; of free mappings, such as models, in place of the old.

    Sections, whose keys are fixed, are merged as those of files are.
    """
    if _is_free(_kind_of(parts)) and isinstance(value, dict):
        content = _merge(content, _nested(parts, None), Config)
    return _merge(content, _nested(parts, value), Config)


def _nested(parts: Sequence[str], value: Any) -> dict[str, Any]:
    *outer, last = parts
    content = {last: value}
    for part in reversed(outer):
        content = {part: content}
    return content


def _merge(base: dict[str, Any], over: dict[str, Any], kind: Any) -> dict[str, Any]:
    """What over has, and of base what it has not.

    An entry of a free mapping that is null is removed, a model of another kind replaced.
    """
    merged = dict(base)
    for key, value in over.items():
        old, inner = merged.get(key), under(kind, key)
        if key in merged and _is_free(kind) and _scalar(value) is None:
            del merged[key]
        elif not isinstance(old, dict) or not isinstance(value, dict) or _differ(old, value):
            merged[key] = value
        else:
            merged[key] = _merge(old, value, inner)
    return merged


def _is_free(kind: Any) -> bool:
    """Whether keys of a mapping are the user's own."""
    return any(get_origin(one) in (dict, Mapping) for one in options(kind))


def _scalar(value: Any) -> Any:
    return value.value() if isinstance(value, yaml12.Plain) else value


def _differ(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether they are models of two kinds."""
    kinds = [_scalar(own.get("kind")) for own in (old, new)]
    return None not in kinds and kinds[0] != kinds[1]


def explained(error: ValidationError, content: Mapping[str, Any]) -> str:
    """What is wrong with the content of a configuration: a line a key, in plain words.

    The alternatives of a key that takes several kinds are joined.
    """
    problems = [(_place(problem, content), problem) for problem in error.errors()]
    lines: dict[tuple[str, str], list[str]] = {}
    for place, problem in problems:
        if problem["type"] in _OF_TYPE and any(_is_inside(other, place) for other, _ in problems):
            continue  # of an alternative that the value was not meant to be
        lines.setdefault(_frame(place, problem), []).append(_wrong(place, problem))
    return "\n".join(
        f"{before}{' or '.join(dict.fromkeys(found))}{behind}."
        for (before, behind), found in lines.items()
    )


def _is_inside(place: _Place, outer: _Place) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _frame(place: _Place, problem: ErrorDetails) -> tuple[str, str]:
    """The key and what was given for it: what stands before and behind what is wrong."""
    key = ".".join(map(str, place))
    if problem["type"] == "extra_forbidden" or _is_key(problem):
        return f"Unknown key {key}; ", ""
    if problem["type"] == "missing" and not isinstance(problem["loc"][-1], int):
        return f"{key} is missing; it must be ", ""
    if not key:
        return "", ""
    given = yaml12.dump_inline(mask(problem["input"], key))
    if problem["type"] == "value_error":
        return f"{key}: ", f" (given: {given})"
    return f"{key} is {given}; it must be ", ""


def _wrong(place: _Place, problem: ErrorDetails) -> str:
    """What a value must be, or what is wrong with it."""
    kind, name = problem["type"], place[-1] if place else ""
    if kind == "extra_forbidden":
        return _cure(tuple(place))
    if _is_key(problem):
        return f"choose among {problem['ctx']['expected'].replace(chr(39), '')}"
    section = kind_at(Config, place[:-1])
    fields = (
        section.model_fields if isinstance(section, type) and issubclass(section, Section) else {}
    )
    field = fields.get(str(name))
    if kind == "missing" or kind in _OF_TYPE:
        wanted = kind_at(Config, place)
        return expected(wanted, field) + similar_name(str(problem["input"]), choices_of(wanted))
    if kind in _RANGES:
        return _RANGES[kind].format(**problem.get("ctx", {})) + example_of(field)
    return _message(problem)


def _message(problem: ErrorDetails) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _is_key(problem: ErrorDetails) -> bool:
    """Whether it is the key of a free mapping that is wrong."""
    return problem["loc"][-1:] == ("[key]",)


def _place(problem: ErrorDetails, content: Any) -> _Place:
    """The parts of the key, without the names of types that pydantic adds.

    Of a list that is too short it is the list.
    """
    found: _Place = []
    last = problem["loc"][-1] if problem["loc"] else 0
    absent = problem["type"] in ("missing", "extra_forbidden") and isinstance(last, str)
    for part in problem["loc"]:
        if part in _parts(content):
            content = content[part]
            found.append(part)
    if absent and found[-1:] != [last]:
        found.append(last)
    return found


def _parts(content: Any) -> Container[Any]:
    """The keys of a mapping, or the positions of a list."""
    if isinstance(content, list):
        return range(len(content))
    return content if isinstance(content, dict) else ()


_NEAR = 0.8  # likeness of a misspelt name, beside which one of the same name elsewhere is not meant
# Keys by their names elsewhere: in other libraries, and in versions before 0.2.0.
_SAME = {
    **dict.fromkeys(("factors", "n_factors", "num_factors", "no_components", "k"), "rank"),
    **dict.fromkeys(("maxIter", "max_iter", "n_iter", "epochs", "sweeps"), "iterations"),
    **dict.fromkeys(("regParam", "reg_param", "reg", "lambda", "l2"), "regularization"),
    "layout": "placement",
    "given": "predefined",
    "variety": "diversity",
    "places": "slots",
    "mark_seen": "last_interaction",
    "drawn_negatives": "sampled_negatives",
    "max_multiplications": "max_pair_products",
}


def _cure(location: tuple[int | str, ...]) -> str:
    """The key that is meant, or where all are listed."""
    nearest = _nearest_key(location)
    if nearest is None:
        return "`recsys-spark config --defaults` lists all keys"
    return f"the nearest valid key is {nearest}"


def _nearest_key(location: tuple[int | str, ...]) -> str | None:
    """A similar key of the same section, or one of this name in another, else a similar one of all.

    None: none is similar.
    """
    *parents, name = map(str, location)
    kind = _kind_of(parents)
    section = kind if isinstance(kind, type) and issubclass(kind, Section) else None
    fields = list(section.model_fields) if section else []
    if (same := _SAME.get(name)) in fields:
        return ".".join([*parents, str(same)])
    every, above = list(known_keys()), ".".join(parents)
    named = [key for key in every if key.rpartition(".")[2] == _SAME.get(name, name)]
    cutoff = _NEAR if named else 0.6
    if siblings := difflib.get_close_matches(name, fields, 1, cutoff):
        return ".".join([*parents, siblings[0]])
    if named:
        return max(named, key=lambda key: key.startswith(above))
    return next(iter(difflib.get_close_matches(".".join([*parents, name]), every, 1)), None)


def known_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterable[str]:
    """Every valid dotted key, depth first."""
    for name, field in model.model_fields.items():
        inner = _inner_section(field)
        if inner is None:
            yield prefix + name
        else:
            yield from known_keys(inner, f"{prefix}{name}.")


def _kind_of(parts: Sequence[str]) -> Any:
    """The type of what stands under a key, or Any."""
    kind: Any = Config
    for part in parts:
        kind = under(kind, part)
    return kind


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
    return yaml12.dump_inline(value)
