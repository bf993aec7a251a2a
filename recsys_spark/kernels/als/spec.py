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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import inf
from typing import Any, Literal

from recsys_spark.errors import ConfigError, setting
from recsys_spark.kernels.als.keys import Key, key, keys_of

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

    rank: int = field(default=64, metadata=key("Length of a factor vector ({default}).", least=1))
    iterations: int = field(
        default=15,
        metadata=key("Sweeps over both sides ({default}).", least=1, parameter="maxIter"),
    )
    unobserved_weight: float = field(
        default=0.1, metadata=key("Weight w0 of unobserved pairs.", least=0.0)
    )
    user_unobserved_exponent: float = field(
        default=0.0,
        metadata=key("w0 grows with this power of the user's frequency; its mean stays."),
    )
    item_unobserved_exponent: float = field(
        default=0.0, metadata=key("The same for items, as in eALS, where it is 0.4 to 0.5.")
    )
    weighting: Weighting = field(
        default="binary",
        metadata=key(
            "Confidence c of value r. binary: 1; linear: alpha*r; log: alpha*ln(1 + r/epsilon); "
            "power: alpha*r^exponent; bm25, tfidf: alpha times implicit's of that name."
        ),
    )
    alpha: float = field(
        default=1.0, metadata=key("Scale of every weighting but binary.", least=0.0)
    )
    epsilon: float = field(default=1.0, metadata=key("Scale of r in log weights.", above=0))
    exponent: float = field(
        default=0.5, metadata=key("Power of r in power weights ({default:g}).", least=0.0)
    )
    bm25_k1: float = field(
        default=100.0, metadata=key("Where bm25 weights level off ({default:g}).", least=0.0)
    )
    bm25_b: float = field(
        default=0.8,
        metadata=key(
            "How much bm25 discounts frequent items, 0 to 1 ({default:g}).", least=0.0, most=1
        ),
    )
    user_frequency_exponent: float = field(
        default=0.0,
        metadata=key("c grows with this power of the user's frequency; its mean stays."),
    )
    item_frequency_exponent: float = field(
        default=0.0, metadata=key("The same for items; below 0, popular items count less.")
    )
    half_life_days: float | None = field(
        default=None,
        metadata=key("Age at which c has fallen to a half; days; {unset}: no decay.", above=0),
    )
    decay_reference: str | None = field(
        default=None,
        metadata=key(
            "Time from which ages are counted; UTC; {unset}: the newest training row.",
            read_as=datetime,
        ),
    )
    min_positive_value: float | None = field(
        default=None,
        metadata=key("Values below are dislikes, with target 0; {unset}: those of 0 or below are."),
    )
    negative_alpha: float | None = field(
        default=None,
        metadata=key(
            "Scale of c for dislikes, 0: as if unobserved; {unset}: as for likes.", least=0.0
        ),
    )
    confidence: Confidence = field(
        default="extra",
        metadata=key("extra: c on top of w0; total: c is all the weight of a pair (implicit)."),
    )
    target: Target = field(
        default="weight",
        metadata=key("weight: b = a (Google iALS); unit: target 1 (Hu); value: target r."),
    )
    regularization: float = field(
        default=0.003,
        metadata=key("Strength lambda of the L2 penalty.", least=0.0, parameter="regParam"),
    )
    user_regularization: float | None = field(
        default=None,
        metadata=key(
            "lambda of the users; {unset}: {regularization}.", least=0.0, parameter="userRegParam"
        ),
    )
    item_regularization: float | None = field(
        default=None,
        metadata=key(
            "lambda of the items; {unset}: {regularization}.", least=0.0, parameter="itemRegParam"
        ),
    )
    nu: float = field(
        default=1.0, metadata=key("Exponent of the penalty in the row's length.", least=0.0)
    )
    beta: float = field(
        default=0.0,
        metadata=key("Share of the other side's size counted into the row's length.", least=0.0),
    )
    counted: Counted = field(
        default="all",
        metadata=key("The row's length: all rows, positive values, or the sum of weights."),
    )
    nu_star: float | None = field(
        default=None,
        metadata=key(
            "Rescale lambda to mean what it would at this nu; {unset}: do not.", least=0.0
        ),
    )
    biases: Biases = field(
        default="none",
        metadata=key(
            "Of ratings. none; learned: with the factors; means: halfway between the means of user "
            "and item; damped: LensKit's. The last two are subtracted before training."
        ),
    )
    bias_damping: float = field(
        default=5.0,
        metadata=key(
            "Number of average ratings that damped biases begin with ({default:g}).", least=0.0
        ),
    )
    clip: tuple[float, float] | None = field(
        default=None, metadata=key("Range [low, high] that predicted ratings are held in.")
    )
    order: Order = field(
        default="users_first", metadata=key("users_first or items_first in a sweep.")
    )
    init: Init = field(
        default="normal",
        metadata=key("Initial factors: normal, unit_norm, uniform or squared_normal."),
    )
    init_scale: float = field(
        default=0.1,
        metadata=key(
            "normal: standard deviation times sqrt(rank); uniform: upper end; squared_normal: "
            "standard deviation before squaring.",
            above=0,
        ),
    )
    nonnegative: bool = field(default=False, metadata=key("Keep every factor at 0 or above."))
    seed: int = field(default=42, metadata=key("Seed of the initial factors ({default})."))

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


def restored_spec(kept: Mapping[str, Any]) -> WalsSpec:
    """The objective whose fields these are, as JSON gives them back."""
    clip = kept["clip"]
    return WalsSpec(**{**kept, "clip": clip if clip is None else tuple(clip)})


def resolve_spec(preset: str, **given: Any) -> WalsSpec:
    """The preset with the given keys in place of its own; None stands for the preset's value.

    Raises ConfigError for an unknown preset, a value out of range, or a key without effect.
    """
    if preset not in PRESETS:
        raise ConfigError(f"{setting('preset')} is {preset!r}; choose one of {', '.join(PRESETS)}.")
    changes = {name: value for name, value in given.items() if value is not None}
    if "clip" in changes:
        changes["clip"] = tuple(changes["clip"])
    spec = replace(PRESETS[preset], **changes)
    if preset in _COUNTS_UNOBSERVED and "beta" not in changes:
        # Google's iALS and irspack count every unobserved pair at its weight: n + w0 N.
        uses = spec.nu > 0 or spec.nu_star is not None
        spec = replace(spec, beta=spec.unobserved_weight if uses else 0.0)
    _refuse_out_of_range(spec)
    _refuse_contradictions(spec)
    _refuse_weightless(spec)
    _refuse_without_effect(preset, spec, changes)
    return spec


def _refuse_out_of_range(spec: WalsSpec) -> None:
    for own in keys_of(WalsSpec).values():
        check_value(own, getattr(spec, own.name))


def check_value(own: Key, value: Any) -> None:
    """Raise ConfigError for a value that the key does not take, whatever the other keys are."""
    own.check(value)
    if own.name == "clip":
        _refuse_bad_range(value)
    if own.name == "decay_reference":
        _refuse_bad_time(value)


def _refuse_bad_range(clip: Sequence[float] | None) -> None:
    if clip is not None and not (len(clip) == 2 and -inf < clip[0] < clip[1] < inf):
        raise ConfigError(f"{setting('clip')} is {list(clip)}; it must be [low, high].")


def _refuse_bad_time(text: str | None) -> None:
    try:
        datetime.fromisoformat(text or "2000-01-01")
    except ValueError:
        raise ConfigError(
            f"{setting('decay_reference')} is {text!r}; write it as 2024-05-31 or 2024-05-31T06:00."
        ) from None


def _refuse_contradictions(spec: WalsSpec) -> None:
    if spec.biases != "none" and not (spec.explicit and spec.unobserved_weight == 0):
        raise ConfigError(
            f"{setting('biases')} is {spec.biases}, which needs ratings as targets and no weight "
            f"on unobserved pairs: take {setting('preset')}: mllib_explicit, or remove it."
        )
    if spec.biases == "learned" and spec.nonnegative:
        raise ConfigError(
            f"{setting('biases')}: learned and {setting('nonnegative')} exclude each other, since "
            "biases have signs; choose biases: means or damped, or remove one of the two."
        )
    if spec.confidence == "total" and spec.target == "weight":
        raise ConfigError(
            f"{setting('confidence')}: total and {setting('target')}: weight exclude each other, "
            "since the target of a whole weight is no share of it; set target: unit, or remove one."
        )
    if spec.clip is not None and not spec.explicit:
        raise ConfigError(
            f"{setting('clip')} limits predicted ratings, but the target is {spec.target}; remove "
            "it."
        )


def _refuse_weightless(spec: WalsSpec) -> None:
    """Refuse a scale by which every right-hand side is 0, and with it every factor."""
    if spec.weighting == "binary" or spec.alpha > 0:
        return
    if spec.confidence == "total" or spec.target == "weight" or spec.unobserved_weight == 0:
        raise ConfigError(
            f"{setting('alpha')} is 0, so that no observed pair has a weight and every score would "
            "be 0; set it above 0, such as 1."
        )


def _refuse_without_effect(preset: str, spec: WalsSpec, given: dict[str, Any]) -> None:
    reasons = _idle_keys(preset, spec)
    for name in given:
        if name in reasons:
            raise ConfigError(f"{setting(name)} has no effect {reasons[name]}; remove it.")


def _idle_keys(preset: str, spec: WalsSpec) -> dict[str, str]:
    """Keys that change nothing under this objective, each with the reason."""
    weighting = f"with {setting('weighting')}: {spec.weighting}"
    plain = f"with {setting('preset')}: {preset} (every rating counts once, at its own value)"
    constant = f"with {setting('nu')}: 0 (the penalty does not grow with the row)"
    unweighted = f"with {setting('unobserved_weight')}: 0"
    dated, values = f"without {setting('half_life_days')}", f"with {setting('target')}: value"
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
        (spec.half_life_days is None, ("decay_reference",), dated),
        (spec.explicit, ("min_positive_value", "negative_alpha"), values),
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
        (spec.biases != "damped", ("bias_damping",), f"with {setting('biases')}: {spec.biases}"),
        (spec.init == "unit_norm", ("init_scale",), f"with {setting('init')}: unit_norm"),
    ]
    idle: dict[str, str] = {}
    for applies, names, reason in rules:
        for name in names if applies else ():
            idle.setdefault(name, reason)
    return idle
