"""What there is to say of a setting, stated once, where the field of its spec is.

The keys of the configuration, the parameters of the estimator and the tables of
docs/objectives.md are made from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from recsys_spark.errors import ConfigError, setting


def key(
    text: str,
    *,
    least: float = -inf,
    above: float | None = None,
    most: float = inf,
    parameter: str = "",
    read_as: type | None = None,
) -> dict[str, Any]:
    """The metadata of a field of a spec.

    Parameters
    ----------
    text
        The meaning and the unit. In braces: {default}; {unset}, the word for a key without a value;
        and other keys of the same spec.
    least, above, most
        The range of a number; `above` is left out of it, the others are in it.
    parameter
        The name in the estimator, where it is not that of the field in camel case.
    read_as
        The type that the configuration reads, where it is not that of the field.
    """
    limits = {"least": least, "above": above, "most": most}
    return {"text": text, **limits, "parameter": parameter, "read_as": read_as}


@dataclass(frozen=True)
class Key:
    """A setting. kind: the type of its values, without None. All else is as of `key`."""

    name: str
    kind: Any
    default: Any
    text: str
    least: float
    above: float | None
    most: float
    parameter: str
    read_as: type | None

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that a text may have."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def lower_limit(self) -> str:
        """What a number has to be, but for `most`."""
        if self.above is not None:
            return f"above {self.above}"
        return "finite" if self.least == -inf else f"{self.least} or more"

    def described(self, names: Mapping[str, str], unset: str) -> str:
        """The text. names: of the keys that it mentions. unset: for a key without a value."""
        return self.text.format(default=self.default, unset=unset, **names)

    def check(self, value: Any) -> None:
        """Raise ConfigError for a value that is no choice or out of range; None is neither."""
        if value is None:
            return
        if self.choices and value not in self.choices:
            choices = ", ".join(self.choices)
            raise ConfigError(f"{setting(self.name)} is {value!r}; choose one of {choices}.")
        must = self._missed(value) if self.kind in (int, float) else ""
        if must:
            raise ConfigError(f"{setting(self.name)} is {value}; it must be {must}.")

    def _missed(self, value: float) -> str:
        """The limit that a number is beyond."""
        fits = value >= self.least if self.above is None else value > self.above
        if not (fits and -inf < value < inf):
            return self.lower_limit
        return "" if value <= self.most else f"{self.most} or less"


def keys_of(spec: type[Any]) -> dict[str, Key]:
    """The keys of a spec by name: its fields with metadata of `key`."""
    return {
        own.name: Key(
            own.name,
            _without_none(own.type),
            own.default,
            **{**own.metadata, "parameter": own.metadata["parameter"] or _camel(own.name)},
        )
        for own in fields(spec)
        if own.metadata
    }


def _without_none(kind: Any) -> Any:
    members = [member for member in get_args(kind) if member is not NoneType]
    return members[0] if NoneType in get_args(kind) else kind


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
