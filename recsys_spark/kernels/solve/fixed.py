"""The side that stays during a half-sweep, in the basis of its Gram matrix."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

_ROTATED = 512


@dataclass(frozen=True)
class Fixed:
    """The side that stays, in the basis of the columns of `rotation`.

    factors: (columns, rank) = Y Q. rotation: (rank, rank) = Q, orthogonal. gram: (rank, rank) =
    Q'GQ, diagonal if Q holds G's eigenvectors. weights: (columns,) unobserved weight of each
    column; empty: all 1. offsets: (columns,) what is subtracted from the targets of a column;
    empty: nothing.
    """

    factors: Single
    rotation: Single
    gram: Double
    weights: Single
    offsets: Single


def gram(factors: Single, weights: Single | None = None) -> Double:
    """Y'CY in double precision, shape (rank, rank); C = diag(weights), by default 1.

    Summed in chunks of fixed size, so that the result depends on the factors alone.
    """
    total = np.zeros((factors.shape[1], factors.shape[1]))
    for start in range(0, len(factors), 4096):
        part = factors[start : start + 4096].astype(np.float64)
        scaled = (
            part if weights is None or not len(weights) else part * weights[start:][:4096, None]
        )
        total += part.T @ scaled
    return total


def fix(
    factors: Single,
    gram: Double,
    weights: Single | None = None,
    offsets: Single | None = None,
    rotate: bool = True,
) -> Fixed:
    """Prepare a side with its Gram matrix; without rotation for solvers bound to coordinates."""
    none = np.empty(0, np.float32)
    more = (none if weights is None else weights, none if offsets is None else offsets)
    if not rotate or not np.isfinite(gram).all():
        return Fixed(factors, np.eye(factors.shape[1], dtype=np.float32), gram, *more)
    eigenvalues, vectors = scipy.linalg.eigh(gram, driver="evd")
    rotation = vectors.astype(np.float32)
    return Fixed(rotated(factors, rotation), rotation, np.diag(np.maximum(eigenvalues, 0.0)), *more)


def rotated(rows: Single, rotation: Single) -> Single:
    """rows @ rotation, in products of one shape.

    BLAS takes other ways, with other rounding, for other shapes; so a row would come out
    differently in another block.
    """
    rotated = np.empty_like(rows)
    tile = np.zeros((_ROTATED, rows.shape[1]), np.float32)
    for first in range(0, len(rows), _ROTATED):
        part = rows[first : first + _ROTATED]
        tile[: len(part)] = part
        rotated[first : first + len(part)] = (tile @ rotation)[: len(part)]
    return rotated
