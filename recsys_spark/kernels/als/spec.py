"""What is learnt: the objective of weighted ALS, its presets, and their defaults.

One equation serves every objective. For a row (a user; items are the mirror image) with observed
pairs S, the other side's factors Y and every row of the other side in the Gram matrix:

    ( Y' diag(w0) Y + sum_S a_j y_j y_j' + L I ) x = sum_S b_j y_j,     L = lambda (n + beta N)^nu

symbol  keys                                     meaning
w0      unobserved_weight, *_unobserved_exponent weight of a pair that was not observed
a_j     weighting and what multiplies it         extra weight of an observed pair, on top of w0
b_j     target                                   right-hand weight; the target is b_j / (w0 + a_j)
lambda  regularization, of a side or of both     strength of the L2 penalty
n       counted                                  all of the row's pairs, those with b above 0, or
                                                 the sum of their a
N       -                                        number of rows on the other side

docs/objectives.md says which published system is which choice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from math import inf
from typing import Any, Literal, get_args

from recsys_spark.errors import ConfigError

SIDES = ("user", "item")
Weighting = Literal["binary", "linear", "log", "power", "bm25", "tfidf"]
Confidence = Literal["extra", "total"]
Target = Literal["weight", "unit", "value"]
Counted = Literal["all", "positive", "weights"]
Biases = Literal["none", "learned", "means", "damped"]
Order = Literal["users_first", "items_first"]
Init = Literal["normal", "unit_norm", "uniform", "squared_normal"]
PresetName = Literal[
    "ials",
    "hu2008",
    "mllib",
    "mllib_explicit",
    "explicit",
    "implicit",
    "irspack",
    "lenskit",
    "lenskit_explicit",
    "tf_wals",
]


def other_side(side: str) -> str:
    """The side that stays while this one is solved."""
    return "item" if side == "user" else "user"


@dataclass(frozen=True)
class WalsSpec:
    """A complete objective; two equal specs on equal data and seed give equal factors."""

    rank: int = 64
    iterations: int = 15
    unobserved_weight: float = 0.1
    user_unobserved_exponent: float = 0.0
    item_unobserved_exponent: float = 0.0
    weighting: Weighting = "binary"
    alpha: float = 1.0
    epsilon: float = 1.0
    exponent: float = 0.5
    bm25_k1: float = 100.0
    bm25_b: float = 0.8
    user_frequency_exponent: float = 0.0
    item_frequency_exponent: float = 0.0
    half_life_days: float | None = None
    decay_reference: str | None = None
    min_positive_value: float | None = None
    negative_alpha: float | None = None
    confidence: Confidence = "extra"
    target: Target = "weight"
    regularization: float = 0.003
    user_regularization: float | None = None
    item_regularization: float | None = None
    nu: float = 1.0
    beta: float = 0.0
    counted: Counted = "all"
    nu_star: float | None = None
    biases: Biases = "none"
    bias_damping: float = 5.0
    clip: tuple[float, float] | None = None
    order: Order = "users_first"
    init: Init = "normal"
    init_scale: float = 0.1
    nonnegative: bool = False
    seed: int = 42

    @property
    def explicit(self) -> bool:
        """Whether predictions are on the scale of the values, so that RMSE means something."""
        return self.target == "value"

    @property
    def width(self) -> int:
        """Length of a factor vector: the rank, and two coordinates that carry the biases."""
        return self.rank + (0 if self.biases == "none" else 2)

    @property
    def trained_width(self) -> int:
        """Length of the vectors that are trained; biases estimated before it are added later."""
        return self.width if self.biases == "learned" else self.rank

    def strength(self, side: str) -> float:
        """lambda of a side."""
        own = self.user_regularization if side == "user" else self.item_regularization
        return self.regularization if own is None else own

    def unobserved_exponent(self, side: str) -> float:
        """Power of a side's frequency in the unobserved weight."""
        if side == "user":
            return self.user_unobserved_exponent
        return self.item_unobserved_exponent

    def frequency_exponent(self, side: str) -> float:
        """Power of a side's frequency in the weights of observed pairs."""
        return self.user_frequency_exponent if side == "user" else self.item_frequency_exponent


# pyspark.ml.recommendation.ALS with implicitPrefs=False (Zhou et al. 2008, ALS-WR).
_MLLIB_EXPLICIT = WalsSpec(
    unobserved_weight=0.0,
    target="value",
    regularization=0.1,
    order="items_first",
    init="unit_norm",
)

PRESETS: dict[str, WalsSpec] = {
    # Rendle et al., "Revisiting the performance of iALS" (2021), equations 1-5; Google's iALS, ALX.
    "ials": WalsSpec(),
    # Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets" (2008), eq. 3.
    "hu2008": WalsSpec(
        unobserved_weight=1.0,
        weighting="linear",
        alpha=40.0,
        target="unit",
        regularization=1.0,
        nu=0.0,
    ),
    # pyspark.ml.recommendation.ALS with implicitPrefs=True.
    "mllib": WalsSpec(
        unobserved_weight=1.0,
        weighting="linear",
        target="unit",
        regularization=0.1,
        counted="positive",
        order="items_first",
        init="unit_norm",
    ),
    "mllib_explicit": _MLLIB_EXPLICIT,
    "explicit": _MLLIB_EXPLICIT,
    # implicit.cpu.als: alpha times the value is the whole weight of a pair, not on top of 1.
    "implicit": WalsSpec(
        unobserved_weight=1.0,
        weighting="linear",
        confidence="total",
        target="unit",
        regularization=0.01,
        nu=0.0,
        init="uniform",
        init_scale=0.01,
    ),
    # irspack's IALSConfig, loss_type IALSPP (IALSTrainer.hpp); target: unit gives ORIGINAL.
    "irspack": WalsSpec(unobserved_weight=1.0, weighting="linear", regularization=0.001),
    # lenskit.als ImplicitMFScorer, use_ratings=False; weighting: linear gives use_ratings=True.
    "lenskit": WalsSpec(
        unobserved_weight=1.0,
        weighting="power",
        exponent=0.0,
        alpha=40.0,
        target="unit",
        regularization=0.1,
        nu=0.0,
        init="squared_normal",
        init_scale=0.01,
    ),
    # lenskit.als BiasedMFScorer: ridge regression of what a damped bias model leaves over.
    "lenskit_explicit": WalsSpec(
        unobserved_weight=0.0,
        target="value",
        regularization=0.1,
        biases="damped",
        init="unit_norm",
    ),
    # TensorFlow's WALSModel (factorization_ops.py) with row and column weights, and the defaults
    # of Google's sample that trains it: the pair's own value is the target.
    "tf_wals": WalsSpec(
        unobserved_weight=0.01,
        weighting="power",
        exponent=0.0,
        target="value",
        regularization=0.07,
        nu=0.0,
    ),
}
_COUNTS_UNOBSERVED = ("ials", "irspack")
_PLAIN_RATINGS = ("explicit", "mllib_explicit", "lenskit_explicit")

_CHOICES: dict[str, tuple[str, ...]] = {
    "weighting": get_args(Weighting),
    "confidence": get_args(Confidence),
    "target": get_args(Target),
    "counted": get_args(Counted),
    "biases": get_args(Biases),
    "order": get_args(Order),
    "init": get_args(Init),
}
_MINIMUM = {
    "rank": 1,
    "iterations": 1,
    "unobserved_weight": 0.0,
    "user_unobserved_exponent": -inf,
    "item_unobserved_exponent": -inf,
    "alpha": 0.0,
    "exponent": 0.0,
    "bm25_k1": 0.0,
    "bm25_b": 0.0,
    "user_frequency_exponent": -inf,
    "item_frequency_exponent": -inf,
    "min_positive_value": -inf,
    "negative_alpha": 0.0,
    "regularization": 0.0,
    "user_regularization": 0.0,
    "item_regularization": 0.0,
    "nu": 0.0,
    "beta": 0.0,
    "nu_star": 0.0,
    "bias_damping": 0.0,
    "init_scale": 0.0,
}


def restored_spec(kept: Mapping[str, Any]) -> WalsSpec:
    """The objective whose fields these are, as JSON gives them back."""
    clip = kept["clip"]
    return WalsSpec(**{**kept, "clip": clip if clip is None else tuple(clip)})


def resolve_spec(preset: str, **given: Any) -> WalsSpec:
    """The preset with the given keys in place of its own; None stands for the preset's value.

    Raises ConfigError for an unknown preset, a value out of range, or a key without effect.
    """
    if preset not in PRESETS:
        raise ConfigError(f"objective.preset is {preset!r}; choose one of {', '.join(PRESETS)}.")
    changes = {key: value for key, value in given.items() if value is not None}
    if "clip" in changes:
        changes["clip"] = tuple(changes["clip"])
    spec = replace(PRESETS[preset], **changes)
    if preset in _COUNTS_UNOBSERVED and "beta" not in changes:
        # Google's iALS and irspack count every unobserved pair at its weight: n + w0 N.
        uses = spec.nu > 0 or spec.nu_star is not None
        spec = replace(spec, beta=spec.unobserved_weight if uses else 0.0)
    _refuse_out_of_range(spec)
    _refuse_contradictions(spec)
    _refuse_without_effect(preset, spec, changes)
    return spec


def _refuse_out_of_range(spec: WalsSpec) -> None:
    for key, choices in _CHOICES.items():
        value = getattr(spec, key)
        if value not in choices:
            raise ConfigError(f"objective.{key} is {value!r}; choose one of {', '.join(choices)}.")
    for field in fields(spec):
        value = getattr(spec, field.name)
        minimum = _MINIMUM.get(field.name)
        if minimum is None or value is None:
            continue
        if not (minimum <= value < inf) or value == -inf:
            must = "finite" if minimum == -inf else f"{minimum} or more"
            raise ConfigError(f"objective.{field.name} is {value}; it must be {must}.")
    for key in ("epsilon", "half_life_days"):
        value = getattr(spec, key)
        if value is not None and not 0 < value < inf:
            raise ConfigError(f"objective.{key} is {value}; it must be above 0.")
    if spec.bm25_b > 1:
        raise ConfigError(f"objective.bm25_b is {spec.bm25_b}; it must be 1 or less.")
    if spec.clip is not None and not (
        len(spec.clip) == 2 and -inf < spec.clip[0] < spec.clip[1] < inf
    ):
        raise ConfigError(f"objective.clip is {list(spec.clip)}; it must be [low, high].")
    _refuse_bad_time(spec.decay_reference)


def _refuse_bad_time(text: str | None) -> None:
    try:
        datetime.fromisoformat(text or "2000-01-01")
    except ValueError:
        raise ConfigError(
            f"objective.decay_reference is {text!r}; write it as 2024-05-31 or 2024-05-31T06:00."
        ) from None


def _refuse_contradictions(spec: WalsSpec) -> None:
    if spec.biases != "none" and not (spec.explicit and spec.unobserved_weight == 0):
        raise ConfigError(
            f"objective.biases is {spec.biases}, which needs ratings as targets and no weight on "
            "unobserved pairs: take objective.preset: mllib_explicit, or remove it."
        )
    if spec.biases == "learned" and spec.nonnegative:
        raise ConfigError(
            "objective.biases: learned and objective.nonnegative exclude each other, since biases "
            "have signs; choose biases: means or damped, or remove one of the two."
        )
    if spec.confidence == "total" and spec.target == "weight":
        raise ConfigError(
            "objective.confidence: total and objective.target: weight exclude each other, since "
            "the target of a whole weight is no share of it; set target: unit, or remove one."
        )
    if spec.clip is not None and not spec.explicit:
        raise ConfigError(
            f"objective.clip limits predicted ratings, but the target is {spec.target}; remove it."
        )


def _refuse_without_effect(preset: str, spec: WalsSpec, given: dict[str, Any]) -> None:
    reasons = _idle_keys(preset, spec)
    for key in given:
        if key in reasons:
            raise ConfigError(f"objective.{key} has no effect {reasons[key]}; remove it.")


def _idle_keys(preset: str, spec: WalsSpec) -> dict[str, str]:
    """Keys that change nothing under this objective, each with the reason."""
    weighting = f"with objective.weighting: {spec.weighting}"
    plain = f"with objective.preset: {preset} (every rating counts once, at its own value)"
    constant = "with objective.nu: 0 (the penalty does not grow with the row)"
    unweighted = "with objective.unobserved_weight: 0"
    rules: list[tuple[bool, tuple[str, ...], str]] = [
        (
            preset in _PLAIN_RATINGS and spec.explicit,
            ("unobserved_weight", "weighting", "alpha", "epsilon", "confidence"),
            plain,
        ),
        (spec.weighting == "binary", ("alpha",), weighting),
        (spec.weighting != "log", ("epsilon",), weighting),
        (spec.weighting != "power", ("exponent",), weighting),
        (spec.weighting != "bm25", ("bm25_k1", "bm25_b"), weighting),
        (spec.half_life_days is None, ("decay_reference",), "without objective.half_life_days"),
        (spec.explicit, ("min_positive_value", "negative_alpha"), "with objective.target: value"),
        (
            spec.unobserved_weight == 0,
            ("user_unobserved_exponent", "item_unobserved_exponent", "confidence"),
            unweighted,
        ),
        (spec.nu == 0 and spec.nu_star is None, ("beta", "counted"), constant),
        (
            spec.user_regularization is not None and spec.item_regularization is not None,
            ("regularization",),
            "beside a regularization of users and one of items",
        ),
        (spec.biases != "damped", ("bias_damping",), f"with objective.biases: {spec.biases}"),
        (spec.init == "unit_norm", ("init_scale",), "with objective.init: unit_norm"),
    ]
    idle: dict[str, str] = {}
    for applies, keys, reason in rules:
        for key in keys if applies else ():
            idle.setdefault(key, reason)
    return idle
