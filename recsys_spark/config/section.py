"""What every group of keys has in common."""

from pydantic import BaseModel, ConfigDict

Fraction = float
Scalar = bool | int | float | str


class Section(BaseModel):
    """A frozen group of keys; an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)
