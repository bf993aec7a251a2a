"""Weights that follow from counts: of unobserved pairs, L of each row, and their balance."""

import numpy as np
import numpy.typing as npt

from recsys_spark.errors import setting
from recsys_spark.kernels.als.spec import WalsSpec

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


def unobserved_weights(
    counts: npt.ArrayLike, exponent: float, side: npt.ArrayLike | None = None
) -> Floats:
    """c of each row, in proportion to counts^exponent, with mean 1 over its side.

    counts: (rows,) observed pairs of every row, 1 or more. side: those of all rows of the side, if
    it is not these rows that make it up. A pair's unobserved weight is
    w0 c_user c_item, so that the mean stays w0; with exponents (0, e) these are eALS's weights by
    popularity (He et al. 2016), whose c0 is w0 times the number of items.
    """
    powers: Floats = np.power(np.asarray(counts, dtype=np.float64), exponent)
    over = powers if side is None else np.power(np.asarray(side, dtype=np.float64), exponent)
    powers /= over.mean()
    return powers


def counted_pairs(a: Singles, b: Singles, spec: WalsSpec) -> Singles:
    """What each pair adds to its row's n: 1, or 1 for those with b above 0, or its weight a."""
    if spec.counted == "weights":
        return a
    return (b > 0).astype(np.float32) if spec.counted == "positive" else np.ones_like(a)


def row_regularization(counts: Floats, other_side: int, spec: WalsSpec, side: str) -> Floats:
    """L = lambda (n + beta N)^nu of each row of a side; N = `other_side` rows on the other side."""
    return spec.strength(side) * _penalty_growth(counts, other_side, spec, spec.nu)


def nu_star_scale(user_counts: Floats, item_counts: Floats, spec: WalsSpec) -> float:
    """What lambda is multiplied by so that it keeps the meaning it has at nu = nu_star; 1 without.

    The penalties of all rows, for factors of length one, sum to what they sum to at nu_star:
    Rendle et al. 2021 and irspack's compute_reg_scale. counts: (rows,) n of every row.
    """
    if spec.nu_star is None:
        return 1.0
    sides = ((user_counts, len(item_counts)), (item_counts, len(user_counts)))
    wanted, present = (
        sum(float(_penalty_growth(n, other, spec, nu).sum()) for n, other in sides)
        for nu in (spec.nu_star, spec.nu)
    )
    return wanted / present


def _penalty_growth(counts: Floats, other_side: int, spec: WalsSpec, nu: float) -> Floats:
    growth: Floats = np.power(counts + spec.beta * other_side, nu)
    return growth


def weight_ratio(a: float, b: float, cells: float, spec: WalsSpec) -> float:
    """Total weight that pulls predictions to 1 over the weight that pulls them to 0.

    a, b: sums over the training rows. cells: users times items. A pair of weight w0 + a and target
    b / (w0 + a) is one of weight b with target 1 and one of the rest with target 0. Infinite where
    nothing pulls to 0.
    """
    negative = spec.unobserved_weight * cells + a - b
    return b / negative if negative > 0 else np.inf


# Rendle et al. tuned w0 on four data sets (Google's ials/README): the ratio of their optima is
# 0.04 (MovieLens 20M, w0 0.1), 0.07 (Million Songs, 0.02), 0.15 (MovieLens 1M, 0.3) and 0.4
# (Pinterest, 0.007). A ratio ten times below the least or above the largest is called far off.
_USUAL_RATIO = (0.004, 4.0)


def ratio_warning(ratio: float, spec: WalsSpec) -> str | None:
    """The warning to give for this ratio; None if it is usual, or values are targets."""
    low, high = _USUAL_RATIO
    if spec.explicit or low <= ratio <= high:
        return None
    if ratio > high:
        effect, cure = "nearly every pair will score the same", "raise"
    else:
        effect, cure = "nearly every score will be close to 0", "lower"
    cure += f" {setting('unobserved_weight')}"
    cure += "" if spec.weighting == "binary" else f" or change {setting('alpha')}"
    if ratio == np.inf:
        return f"Nothing pulls a score to 0: {effect}. To avoid that, {cure}."
    return (
        f"Observed positives weigh {ratio:.2g} times what negatives weigh, where {low:g} to "
        f"{high:g} is usual: {effect}. To balance them, {cure}."
    )
