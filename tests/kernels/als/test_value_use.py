"""What is said of the values, for every preset and weighting, beside what the weights do."""

from dataclasses import replace

import pytest

from recsys_spark.kernels.als.spec import PRESETS, resolve_spec
from recsys_spark.kernels.als.value_use import ValueRange, describe_values, values_ignored
from tests.reference.weighting import weigh_rows

STARS = ValueRange(1.0, 5.0, 100)
SIGNED = ValueRange(-2.0, 3.0, 100)
KEYS = ("weighting", "preset", "min_positive_value", "min_relevant_value")

SAID = [
    ("ials", {}, STARS, "values 1 to 5 are not used: each of 100 rows counts as a like; "),
    ("lenskit", {}, STARS, "values 1 to 5 are not used: each of 100 rows counts as a like; "),
    ("ials", {"target": "unit"}, STARS, "values 1 to 5 are not used: "),
    ("ials", {"weighting": "power", "exponent": 0.0}, STARS, "values 1 to 5 are not used: "),
    ("ials", {"weighting": "bm25", "bm25_k1": 0.0}, STARS, "values 1 to 5 are not used: "),
    ("hu2008", {"alpha": 0.0}, STARS, "values 1 to 5 are not used: "),
    ("ials", {"negative_alpha": 2.0}, STARS, "values 1 to 5 are not used: "),
    ("ials", {"min_positive_value": 0.5}, STARS, "values 1 to 5 are not used: "),
    (
        "ials",
        {"min_positive_value": 6.0},
        STARS,
        "values 1 to 5 are not used: each of 100 rows counts as a dislike; ",
    ),
    (
        "ials",
        {},
        SIGNED,
        "values -2 to 3 are used: confidence = 1, target = confidence / (0.1 + confidence), "
        "those of 0 or below are dislikes, with target 0",
    ),
    (
        "ials",
        {"min_positive_value": 4.0},
        STARS,
        "values 1 to 5 are used: confidence = 1, target = confidence / (0.1 + confidence), "
        "those below 4 are dislikes, with target 0",
    ),
    (
        "ials",
        {"min_positive_value": 4.0, "negative_alpha": 0.0, "target": "unit"},
        STARS,
        "values 1 to 5 are used: confidence = 1, target = 1, those below 4 count as unobserved",
    ),
    (
        "hu2008",
        {"negative_alpha": 0.5},
        SIGNED,
        "values -2 to 3 are used: confidence = 40 |value|, target = 1, "
        "those of 0 or below are dislikes, with target 0 and confidence 0.5 |value|",
    ),
    ("hu2008", {}, STARS, "values 1 to 5 are used: confidence = 40 value, target = 1"),
    ("mllib", {}, STARS, "values 1 to 5 are used: confidence = value, target = 1"),
    ("implicit", {}, STARS, "values 1 to 5 are used: confidence = value, target = 1"),
    (
        "irspack",
        {},
        STARS,
        "values 1 to 5 are used: confidence = value, target = confidence / (1 + confidence)",
    ),
    (
        "irspack",
        {"unobserved_weight": 0.0},
        STARS,
        "values 1 to 5 are used: confidence = value, target = 1",
    ),
    ("mllib_explicit", {}, STARS, "values 1 to 5 are used: confidence = 1, target = value"),
    ("explicit", {}, STARS, "values 1 to 5 are used: confidence = 1, target = value"),
    (
        "lenskit_explicit",
        {},
        STARS,
        "values 1 to 5 are used: confidence = 1, target = value less its damped biases",
    ),
    ("tf_wals", {"alpha": 0.5}, STARS, "values 1 to 5 are used: confidence = 0.5, target = value"),
    (
        "hu2008",
        {"weighting": "log", "alpha": 0.18, "epsilon": 0.5},
        ValueRange(1.0, 352_698.0, 92_834),
        "values 1 to 352,698 are used: confidence = 0.18 ln(1 + value / 0.5), target = 1",
    ),
    (
        "hu2008",
        {"weighting": "power"},
        STARS,
        "values 1 to 5 are used: confidence = 40 value^0.5, target = 1",
    ),
    (
        "hu2008",
        {"weighting": "bm25"},
        STARS,
        "values 1 to 5 are used: confidence = 40 bm25(value), target = 1",
    ),
    (
        "hu2008",
        {"weighting": "tfidf", "alpha": 1.0},
        STARS,
        "values 1 to 5 are used: confidence = tfidf(value), target = 1",
    ),
    ("ials", {}, ValueRange(1.0, 1.0, 7), "every value is 1: each of 7 rows counts as a like"),
    ("hu2008", {}, ValueRange(0.5, 0.5, 1), "every value is 0.5: the row counts as a like"),
    ("ials", {}, ValueRange(0.0, 0.0, 7), "every value is 0: each of 7 rows counts as a dislike"),
    (
        "explicit",
        {},
        ValueRange(3.0, 3.0, 7),
        "values, all 3, are used: confidence = 1, target = value",
    ),
]


@pytest.mark.parametrize(("preset", "given", "values", "said"), SAID)
def test_values_are_described_as_the_objective_uses_them(preset, given, values, said):
    spec = resolve_spec(preset, **given)
    line = describe_values(spec, values)
    assert line.startswith(said)
    ignored = " are not used: " in said
    assert values_ignored(spec, values) == ignored
    assert line == said or (ignored and all(key in line for key in KEYS))


def test_every_preset_is_among_the_described():
    assert {preset for preset, *_ in SAID} == set(PRESETS)


@pytest.mark.parametrize(("preset", "given", "values", "said"), SAID)
def test_values_that_are_not_used_change_no_weight(preset, given, values, said):
    """The weights of rows at both ends of the range are equal if, and only if, it says so."""
    spec = replace(resolve_spec(preset, **given), half_life_days=None)
    rows = [
        {"user": user, "item": item, "value": value}
        for item, value in enumerate((values.low, values.high))
        for user in range(3)
    ]
    rows += [{"user": 9, "item": item, "value": values.high} for item in range(5, 40)]
    low, *_ = weigh_rows(rows, spec)
    high = weigh_rows(rows, spec)[3]
    if values.low < values.high:
        assert (low == pytest.approx(high)) == (" are not used: " in said)
