"""What is learnt: the objective of weighted ALS, its presets, and their defaults.

One equation serves every objective. For a row (a user; items are the mirror image) with observed
pairs S, the other side's factors Y and every row of the other side in the Gram matrix:

    ( w0 Y'Y + sum_S a_j y_j y_j' + L I ) x = sum_S b_j y_j,     L = lambda (n + beta N)^nu

symbol  key                  meaning
w0      unobserved_weight    weight of a pair that was not observed
a_j     weighting, alpha     extra weight of an observed pair, on top of w0
b_j     target               right-hand weight; the pair's target is b_j / (w0 + a_j)
lambda  regularization       strength of the L2 penalty
n       counted              the row's observed pairs: all of them, or those with a value above 0
N       -                    number of rows on the other side
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from recsys_spark.errors import ConfigError

Weighting = Literal["binary", "linear", "log"]
Target = Literal["weight", "unit", "value"]
Counted = Literal["all", "positive"]
Order = Literal["users_first", "items_first"]
Init = Literal["normal", "unit_norm"]
PresetName = Literal["ials", "hu2008", "mllib", "explicit"]


@dataclass(frozen=True)
class WalsSpec:
    """A complete objective; two equal specs on equal data and seed give equal factors."""

    rank: int = 64
    iterations: int = 15
    unobserved_weight: float = 0.1
    weighting: Weighting = "binary"
    alpha: float = 1.0
    epsilon: float = 1.0
    target: Target = "weight"
    regularization: float = 0.003
    nu: float = 1.0
    beta: float = 0.0
    counted: Counted = "all"
    order: Order = "users_first"
    init: Init = "normal"
    init_scale: float = 0.1
    nonnegative: bool = False
    seed: int = 42

    @property
    def explicit(self) -> bool:
        """Whether predictions are on the scale of the values, so that RMSE means something."""
        return self.target == "value"


PRESETS: dict[str, WalsSpec] = {
    # Rendle et al., "Revisiting the performance of iALS" (2021), equations 1-5; Google's iALS.
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
    # pyspark.ml.recommendation.ALS with implicitPrefs=False (Zhou et al. 2008, ALS-WR).
    "explicit": WalsSpec(
        unobserved_weight=0.0,
        target="value",
        regularization=0.1,
        order="items_first",
        init="unit_norm",
    ),
}

_MINIMUM = {
    "rank": 1,
    "iterations": 1,
    "unobserved_weight": 0.0,
    "alpha": 0.0,
    "regularization": 0.0,
    "nu": 0.0,
    "beta": 0.0,
    "init_scale": 0.0,
}


def resolve_spec(preset: str, **given: Any) -> WalsSpec:
    """The preset with the given keys in place of its own; None stands for the preset's value.

    Raises ConfigError for an unknown preset, a value out of range, or a key without effect.
    """
    if preset not in PRESETS:
        raise ConfigError(f"objective.preset is {preset!r}; choose one of {', '.join(PRESETS)}.")
    changes = {key: value for key, value in given.items() if value is not None}
    spec = replace(PRESETS[preset], **changes)
    if preset == "ials" and "beta" not in changes:
        # Google's iALS counts every unobserved pair at its weight: n + w0 N.
        spec = replace(spec, beta=spec.unobserved_weight if spec.nu > 0 else 0.0)
    _refuse_out_of_range(spec)
    _refuse_without_effect(preset, spec, changes)
    return spec


def _refuse_out_of_range(spec: WalsSpec) -> None:
    for field in fields(spec):
        value = getattr(spec, field.name)
        minimum = _MINIMUM.get(field.name)
        if minimum is not None and not minimum <= value < float("inf"):
            raise ConfigError(f"objective.{field.name} is {value}; it must be {minimum} or more.")
    if not spec.epsilon > 0:
        raise ConfigError(f"objective.epsilon is {spec.epsilon}; it must be above 0.")


def _refuse_without_effect(preset: str, spec: WalsSpec, given: dict[str, Any]) -> None:
    reasons = {
        key: f"with objective.preset: {preset} (every rating counts once, at its own value)"
        for key in ("unobserved_weight", "weighting", "alpha", "epsilon")
        if preset == "explicit" and spec.explicit
    }
    if spec.weighting == "binary":
        reasons.setdefault("alpha", "with objective.weighting: binary")
    if spec.weighting != "log":
        reasons.setdefault("epsilon", f"with objective.weighting: {spec.weighting}")
    if spec.nu == 0:
        constant = "with objective.nu: 0 (the penalty does not grow with the row)"
        reasons["beta"] = reasons["counted"] = constant
    if spec.init == "unit_norm":
        reasons["init_scale"] = "with objective.init: unit_norm"
    for key in given:
        if key in reasons:
            raise ConfigError(f"objective.{key} has no effect {reasons[key]}; remove it.")
