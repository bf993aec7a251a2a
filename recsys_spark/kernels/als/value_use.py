"""What an objective does with the values of the rows, in words."""

from dataclasses import dataclass

from recsys_spark.errors import setting
from recsys_spark.kernels.als.spec import WalsSpec


@dataclass(frozen=True)
class ValueRange:
    """Least and largest value of the rows, and how many rows there are."""

    low: float
    high: float
    rows: int

    @property
    def text(self) -> str:
        """Such as 0.5 to 5."""
        return f"{_number(self.low)} to {_number(self.high)}"


def weighs_values(spec: WalsSpec, values: ValueRange) -> bool:
    """Whether the size of a value changes its weight or its target."""
    flat = {"binary": 0.0, "power": spec.exponent, "bm25": spec.bm25_k1}
    grows = flat.get(spec.weighting, 1.0) != 0
    scales = {_scale(spec, _liked(spec, value)) for value in (values.low, values.high)}
    return spec.explicit or (grows and any(scales))


def parts_values(spec: WalsSpec, values: ValueRange) -> bool:
    """Whether some of the values are likes and some are dislikes."""
    if spec.explicit:
        return False
    if spec.min_positive_value is None:
        return values.low <= 0 < values.high
    return values.low < spec.min_positive_value <= values.high


def values_ignored(spec: WalsSpec, values: ValueRange) -> bool:
    """Whether values differ and the objective treats all of them as equal."""
    differ = values.low < values.high
    return differ and not weighs_values(spec, values) and not parts_values(spec, values)


def describe_values(spec: WalsSpec, values: ValueRange) -> str:
    """One line: that values are not used, and which settings use them, or else how they are."""
    rows = "the row" if values.rows == 1 else f"each of {values.rows:,} rows"
    counts = f"{rows} counts as a {'like' if _liked(spec, values.high) else 'dislike'}"
    if values_ignored(spec, values):
        return f"values {values.text} are not used: {counts}; {_users_of_values()}"
    if values.low == values.high and not spec.explicit:
        return f"every value is {_number(values.low)}: {counts}"
    named = f"values {values.text}"
    if values.low == values.high:
        named = f"values, all {_number(values.low)},"
    return f"{named} are used: " + ", ".join(_uses(spec, values))


def _users_of_values() -> str:
    objective = ", ".join(map(setting, ("weighting", "preset", "min_positive_value")))
    relevant = setting("min_relevant_value")
    return f"{objective} or, in evaluation alone, {relevant} use them"


def _uses(spec: WalsSpec, values: ValueRange) -> list[str]:
    found = [
        f"confidence = {_confidence(spec, values, _scale(spec, liked=True))}",
        f"target = {_target(spec)}",
    ]
    return [*found, _dislikes(spec, values)] if parts_values(spec, values) else found


def _dislikes(spec: WalsSpec, values: ValueRange) -> str:
    least, scale = spec.min_positive_value, _scale(spec, liked=False)
    below = "those of 0 or below" if least is None else f"those below {_number(least)}"
    if scale == 0:
        return f"{below} count as unobserved"
    if spec.negative_alpha is None:
        return f"{below} are dislikes, with target 0"
    return f"{below} are dislikes, with target 0 and confidence {_confidence(spec, values, scale)}"


def _scale(spec: WalsSpec, liked: bool) -> float:
    """What the form of a value is multiplied by."""
    if not liked and spec.negative_alpha is not None:
        return spec.negative_alpha
    return 1.0 if spec.weighting == "binary" else spec.alpha


def _confidence(spec: WalsSpec, values: ValueRange, scale: float) -> str:
    r = "|value|" if values.low < 0 else "value"
    scaled = "" if spec.epsilon == 1 else f" / {_number(spec.epsilon)}"
    form = {
        "binary": "",
        "linear": r,
        "log": f"ln(1 + {r}{scaled})",
        "power": f"{r}^{_number(spec.exponent)}" if spec.exponent else "",
        "bm25": f"bm25({r})",
        "tfidf": f"tfidf({r})",
    }[spec.weighting]
    return form if form and scale == 1 else f"{_number(scale)} {form}".strip()


def _target(spec: WalsSpec) -> str:
    if spec.explicit:
        return "value" if spec.biases == "none" else f"value less its {spec.biases} biases"
    if spec.target == "unit" or spec.unobserved_weight == 0:
        return "1"
    return f"confidence / ({_number(spec.unobserved_weight)} + confidence)"


def _liked(spec: WalsSpec, value: float) -> bool:
    least = spec.min_positive_value
    return spec.explicit or (value > 0 if least is None else value >= least)


def _number(value: float) -> str:
    """Without needless zeros: 5, 0.5, 352,698."""
    return f"{value:,.10g}"
