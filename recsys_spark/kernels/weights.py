"""From values to the engine's weights: a and b of each pair, L of each row."""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.spec import WalsSpec

Floats = npt.NDArray[np.float64]


def pair_weights(values: Floats, spec: WalsSpec) -> tuple[Floats, Floats]:
    """Extra weight a and right-hand weight b of observed pairs with these values.

    Under `weight` and `unit` targets a value of 0 or below is an observed dislike: it keeps its
    weight a = c(|r|) and its target is 0, as in MLlib's and implicit's handling of negatives.
    """
    a = _confidence(np.abs(values), spec)
    if spec.target == "value":
        return a, values * (spec.unobserved_weight + a)
    unit = spec.unobserved_weight if spec.target == "unit" else 0.0
    return a, np.where(values > 0, a + unit, 0.0)


def _confidence(magnitude: Floats, spec: WalsSpec) -> Floats:
    if spec.weighting == "linear":
        return spec.alpha * magnitude
    if spec.weighting == "log":
        return spec.alpha * np.log1p(magnitude / spec.epsilon)
    return np.ones_like(magnitude)


def counted_pairs(values: Floats, spec: WalsSpec) -> Floats:
    """1 for each pair that counts towards its row's n, 0 for the others."""
    return (values > 0).astype(np.float64) if spec.counted == "positive" else np.ones_like(values)


def row_regularization(counts: Floats, other_side: int, spec: WalsSpec) -> Floats:
    """L = lambda (n + beta N)^nu of each row; N = `other_side` rows on the other side."""
    scale: Floats = np.power(counts + spec.beta * other_side, spec.nu)
    return spec.regularization * scale
