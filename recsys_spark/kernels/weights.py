"""The engine's weights of rows: how pairs count, and L."""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.spec import WalsSpec

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


def counted_pairs(a: Singles, b: Singles, spec: WalsSpec) -> Singles:
    """What each pair adds to its row's n: 1 for all of them, or for those with b above 0."""
    return (b > 0).astype(np.float32) if spec.counted == "positive" else np.ones_like(a)


def row_regularization(counts: Floats, other_side: int, spec: WalsSpec) -> Floats:
    """L = lambda (n + beta N)^nu of each row; N = `other_side` rows on the other side."""
    scale: Floats = np.power(counts + spec.beta * other_side, spec.nu)
    return spec.regularization * scale
