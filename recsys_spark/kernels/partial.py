"""A row too long for one task: its normal equations in parts, summed before they are solved."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
import scipy.linalg

from recsys_spark.kernels.csr import Csr
from recsys_spark.kernels.solve import JITTER, Fixed, nonnegative_solution

Double = npt.NDArray[np.float64]

_CHUNK = 8192


@dataclass(frozen=True)
class Partial:
    """Sums over some entries of a row, in the basis of the fixed side.

    left: (rank, rank) of a y y'. right: (rank,) of b y. shadow: (rank, rank) of w y y', with w
    the unobserved weight. constant: of b^2 / (w + a), the loss of predicting zero.
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


def partial_equations(entries: Csr, fixed: Fixed, unobserved: float) -> Partial:
    """The sums over all entries; `unobserved` is the row's own unobserved weight."""
    starts = range(0, len(entries.cols), _CHUNK)
    chunks = (_chunk(entries, slice(start, start + _CHUNK), fixed, unobserved) for start in starts)
    return reduce(Partial.__add__, chunks)


def _chunk(entries: Csr, part: slice, fixed: Fixed, unobserved: float) -> Partial:
    cols = entries.cols[part]
    a, b = (x[part].astype(np.float64) for x in (entries.a, entries.b))
    y = fixed.factors[cols].astype(np.float64)
    w = np.full(len(cols), unobserved)
    if len(fixed.weights):
        w *= fixed.weights[cols]
    total = w + a
    constant = np.divide(b**2, total, out=np.zeros_like(total), where=total != 0)
    return Partial(y.T @ (a[:, None] * y), b @ y, y.T @ (w[:, None] * y), float(constant.sum()))


def solve_whole(
    sums: Partial,
    fixed: Fixed,
    unobserved: float,
    regularization: float,
    nonnegative: bool,
    start: npt.NDArray[np.float32] | None = None,
    block: slice = slice(None),
) -> npt.NDArray[np.float32] | None:
    """The row's factors in the original basis; None if no jitter makes the system solvable.

    Outside the block of coordinates they are those of `start`.
    """
    left = sums.left + unobserved * fixed.gram + regularization * np.eye(len(sums.right))
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
