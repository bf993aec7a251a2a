"""What every group of keys has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from recsys_spark.kernels.als.keys import keys_of

Fraction = float
Scalar = bool | int | float | str


class Section(BaseModel):
    """A frozen group of keys; an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


def with_keys_of(spec: type[Any], **first: Any) -> type[Section]:
    """A section with the keys of a spec, of which those that are null leave it as it is.

    first: keys with a default of their own, type and `Field` by name; they come before the others.
    """
    keys = keys_of(spec)
    named = {name: name for name in keys}
    optional = {
        name: (
            (own.read_as or own.kind) | None,
            Field(None, description=own.described(named, "null")),
        )
        for name, own in keys.items()
        if name not in first
    }
    fields: dict[str, Any] = {**first, **optional}
    return create_model(f"{spec.__name__}Keys", __base__=Section, **fields)
