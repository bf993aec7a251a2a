"""What is said of settings, once: ranges, choices, names and texts."""

from dataclasses import dataclass, field, fields
from math import inf, nan
from typing import Literal

import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.kernels.als.keys import key, keys_of
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import PRESETS, WalsSpec


@dataclass(frozen=True)
class Sample:
    most_steps: int = field(default=3, metadata=key("Steps ({default}).", least=1))
    share: float | None = field(
        default=None, metadata=key("Of {most_steps}; {unset}: none.", above=0, most=1)
    )
    kind: Literal["one", "two"] = field(default="one", metadata=key("Kind.", parameter="sort"))
    moved: float = field(default=0.5, metadata=key("From 0 ({default:g})."))
    inner: int = 0


KEYS = keys_of(Sample)


def test_keys_are_the_fields_with_a_text():
    assert list(KEYS) == ["most_steps", "share", "kind", "moved"]
    assert [own.parameter for own in KEYS.values()] == ["mostSteps", "share", "sort", "moved"]
    assert [own.kind for own in KEYS.values()] == [int, float, Literal["one", "two"], float]
    assert [own.default for own in KEYS.values()] == [3, None, "one", 0.5]


def test_texts_have_the_default_the_word_for_none_and_the_names_of_others():
    assert KEYS["most_steps"].described({}, "null") == "Steps (3)."
    assert KEYS["share"].described({"most_steps": "mostSteps"}, "unset") == (
        "Of mostSteps; unset: none."
    )


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("most_steps", 0, "it must be 1 or more"),
        ("share", 0.0, "it must be above 0"),
        ("share", nan, "it must be above 0"),
        ("share", 1.5, "it must be 1 or less"),
        ("share", inf, "it must be above 0"),
        ("moved", -inf, "it must be finite"),
        ("moved", nan, "it must be finite"),
        ("kind", "three", "choose one of one, two"),
    ],
)
def test_values_out_of_range_are_refused(name, value, must):
    with pytest.raises(ConfigError) as refused:
        KEYS[name].check(value)
    assert str(refused.value).startswith(f"{name} is {value!r}; {must}")


@pytest.mark.parametrize(
    ("name", "value"),
    [("most_steps", 1), ("share", 1.0), ("share", None), ("moved", -9.0), ("kind", "two")],
)
def test_values_in_range_are_accepted(name, value):
    KEYS[name].check(value)


def test_every_field_of_the_objective_is_a_key():
    assert list(keys_of(WalsSpec)) == [own.name for own in fields(WalsSpec)]
    assert list(keys_of(Solver)) == ["method", "cg_steps", "subspace_block"]


@pytest.mark.parametrize("preset", PRESETS)
def test_values_of_presets_are_in_range(preset):
    for name, own in keys_of(WalsSpec).items():
        own.check(getattr(PRESETS[preset], name))
