"""What each item that a user has adds to the score of another."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

Double = npt.NDArray[np.float64]


def contributions(
    history: Double, a: Double, b: Double, listed: Double, gram: Double, penalty: float
) -> Double:
    """Parts of the scores, (items of the user, listed items); each column sums to a score.

    history: (s, rank) factors of the user's items; a, b: (s,) their extra and right-hand weights.
    listed: (n, rank). gram: (rank, rank) of all items, times the unobserved weight. The user's
    factors are linear in the b, so that the scores are too: Hu, Koren, Volinsky 2008, section 5.

    Raises scipy.linalg.LinAlgError if the user's system is singular.
    """
    system = gram + history.T @ (a[:, None] * history) + penalty * np.eye(len(gram))
    solved = cho_solve(cho_factor(system, check_finite=False), listed.T, check_finite=False)
    parts: Double = b[:, None] * (history @ solved)
    return parts


def largest(parts: Double, most: int) -> npt.NDArray[np.int64]:
    """Rows of the largest parts of every column, (most or fewer, columns), largest first."""
    most = min(most, len(parts))
    best = np.argpartition(-parts, most - 1, axis=0)[:most] if most < len(parts) else None
    if best is None:
        return np.argsort(-parts, axis=0, kind="stable")
    order = np.lexsort((best, -np.take_along_axis(parts, best, axis=0)), axis=0)
    return np.take_along_axis(best, order, axis=0)
