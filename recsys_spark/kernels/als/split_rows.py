"""A row too long for one task: its normal equations in parts, summed before they are solved."""

from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg

from recsys_spark.kernels.als.csr import Csr
from recsys_spark.kernels.als.solve import JITTER, Fixed, nonnegative_solution

Double = npt.NDArray[np.float64]

_CHUNK = 8192


@dataclass(frozen=True)
class Partial:
    """Sums over some entries of a row, in the basis of the fixed side.

    left: (rank, rank) of a y y'. right: (rank,) of b y. shadow: (rank, rank) of w y y', with w
    the unobserved weight, once a pair. constant: of b^2 / (w + a), the loss of predicting zero, by
    pair, or by entry where w is 0, as in `Solution`.
    """

    left: Double
    right: Double
    shadow: Double
    constant: float

    def __add__(self, other: "Partial") -> "Partial":
        return Partial(
            self.left + other.left,
            self.right + other.right,
            self.shadow + other.shadow,
            self.constant + other.constant,
        )


class Shared(NamedTuple):
    """unobserved: w of a row. regularization: its L."""

    unobserved: float
    regularization: float


def partial_equations(entries: Csr, fixed: Fixed, unobserved: float) -> Partial:
    """The sums over all entries; `unobserved` is the row's own unobserved weight."""
    starts = np.flatnonzero(entries.first_of_pair())
    cols, w = entries.cols[starts], entries.unobserved(np.array([unobserved]), fixed.weights)
    a, b = (x.astype(np.float64) for x in (entries.a, entries.b))
    pair_a, pair_b = (np.add.reduceat(x, starts) if len(starts) else x for x in (a, b))
    pair_w = w[starts]
    constant = _constant(pair_b, pair_w + pair_a) if unobserved else _constant(b, a)
    chunks = (
        _chunk(cols[part], pair_a[part], pair_b[part], pair_w[part], fixed)
        for part in (slice(start, start + _CHUNK) for start in range(0, len(cols), _CHUNK))
    )
    nothing = _nothing(len(fixed.gram), constant)
    return reduce(Partial.__add__, chunks, nothing)


def _nothing(rank: int, constant: float) -> Partial:
    return Partial(np.zeros((rank, rank)), np.zeros(rank), np.zeros((rank, rank)), constant)


def _constant(b: Double, weight: Double) -> float:
    return float(np.divide(b**2, weight, out=np.zeros_like(weight), where=weight != 0).sum())


def _chunk(cols: npt.NDArray[np.int32], a: Double, b: Double, w: Double, fixed: Fixed) -> Partial:
    y = fixed.factors[cols].astype(np.float64)
    return Partial(y.T @ (a[:, None] * y), b @ y, y.T @ (w[:, None] * y), 0.0)


def solve_whole(
    sums: Partial,
    fixed: Fixed,
    shared: Shared,
    nonnegative: bool,
    start: npt.NDArray[np.float32] | None = None,
    block: slice = slice(None),
) -> npt.NDArray[np.float32] | None:
    """The row's factors in the original basis; None if no jitter makes the system solvable.

    Outside the block of coordinates they are those of `start`.
    """
    left = sums.left + shared.unobserved * fixed.gram
    left += shared.regularization * np.eye(len(sums.right))
    if nonnegative:
        return nonnegative_solution(left, sums.right)
    x = np.zeros(len(left))
    if start is not None and sums.right.any():  # a right side of zero solves to zero
        x += start
    missing = (sums.right - left @ x)[block]
    inside = left[block, block]
    scale = np.trace(inside) / len(inside)
    for jitter in JITTER:
        try:
            factor = scipy.linalg.cho_factor(inside + jitter * scale * np.eye(len(inside)))
        except (np.linalg.LinAlgError, ValueError):
            continue
        x[block] += scipy.linalg.cho_solve(factor, missing)
        solved = fixed.rotation @ x
        return solved.astype(np.float32)
    return None


def whole_loss(sums: Partial, x: npt.NDArray[np.float32], fixed: Fixed) -> tuple[float, float]:
    """`observed` and `shadowed` of the row, as in `Solution`; x in the original basis."""
    rotated = x.astype(np.float64) @ fixed.rotation
    shadowed = float(rotated @ sums.shadow @ rotated)
    gained = rotated @ sums.left @ rotated - 2.0 * sums.right @ rotated
    return float(gained) + shadowed + sums.constant, shadowed
