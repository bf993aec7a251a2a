"""What a key makes of a scalar without quotes: its text as written, or what YAML's schema says."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from recsys_spark.config.section import Section
from recsys_spark.yaml12 import Plain


def as_wanted(content: Any, kind: Any) -> Any:
    """Content of YAML as values of this type; what does not fit is left to the validation."""
    if isinstance(content, Plain):
        value = content.value()
        return value if value is None or _is_wanted(type(value), kind) else str(content)
    if isinstance(content, dict):
        return {name: as_wanted(value, under(kind, name)) for name, value in content.items()}
    if isinstance(content, list):
        return [as_wanted(entry, entries(kind)) for entry in content]
    return content


def _is_wanted(found: type, kind: Any) -> bool:
    """Whether the schema's truth value or number is what the type takes, rather than its text."""
    members = options(kind)
    if Any in members or found in members:
        return True
    return found is not bool and str not in members and not wants_text(kind)


def wants_text(kind: Any) -> bool:
    """Whether the type is text, or one of several texts, and nothing else but null."""
    return all(one is str or _is_choice(one) for one in options(kind) if one is not NoneType)


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) is Literal and all(isinstance(one, str) for one in get_args(kind))


def under(kind: Any, name: str) -> Any:
    """The type of what stands under a key of a mapping; Any where there is none."""
    for one in options(kind):
        if isinstance(one, type) and issubclass(one, Section):
            field = one.model_fields.get(name)
            return Any if field is None else field.annotation
        if get_origin(one) in (dict, Mapping):
            return get_args(one)[1]
    return Any


def entries(kind: Any) -> Any:
    """The type of a list's entries; Any where there is none."""
    inner = (get_args(one)[0] for one in options(kind) if get_origin(one) in (list, tuple))
    return next(inner, Any)


def options(kind: Any) -> list[Any]:
    """The members of a union, or the type itself."""
    if get_origin(kind) in (Union, UnionType):
        return [inner for one in get_args(kind) for inner in options(one)]
    return options(get_args(kind)[0]) if get_origin(kind) is Annotated else [kind]
