"""The side that stays during a half-sweep, in the basis of its Gram matrix."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from recsys_spark.kernels.threads import in_threads

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

_SUMMED, _ROTATED = 4096, 512  # rows at a time


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


def gram(factors: Single, weights: Single | None = None, threads: int = 1) -> Double:
    """Y'CY in double precision, shape (rank, rank); C = diag(weights), by default 1.

    Summed in chunks of fixed size, so that the result depends on the factors alone.
    """
    weighted = weights is not None and len(weights)

    def chunk(start: int) -> Double:
        part = factors[start : start + _SUMMED].astype(np.float64)
        scaled = part * weights[start : start + _SUMMED, None] if weighted else part  # type: ignore[index]
        return part.T @ scaled

    total = np.zeros((factors.shape[1], factors.shape[1]))
    for product in in_threads(chunk, range(0, len(factors), _SUMMED), threads):
        total += product
    return total


def fix(
    factors: Single,
    gram: Double,
    weights: Single | None = None,
    offsets: Single | None = None,
    rotate: bool = True,
    threads: int = 1,
) -> Fixed:
    """Prepare a side with its Gram matrix; without rotation for solvers bound to coordinates."""
    none = np.empty(0, np.float32)
    more = (none if weights is None else weights, none if offsets is None else offsets)
    if not rotate or not np.isfinite(gram).all():
        return Fixed(factors, np.eye(factors.shape[1], dtype=np.float32), gram, *more)
    eigenvalues, vectors = scipy.linalg.eigh(gram, driver="evd")
    rotation = vectors.astype(np.float32)
    turned = rotated(factors, rotation, threads)
    return Fixed(turned, rotation, np.diag(np.maximum(eigenvalues, 0.0)), *more)


def rotated(rows: Single, rotation: Single, threads: int = 1) -> Single:
    """rows @ rotation, in products of one shape.

    BLAS takes other ways, with other rounding, for other shapes; so a row would come out
    differently in another block.
    """
    turned = np.empty_like(rows)

    def turn(start: int) -> None:
        part = rows[start : start + _ROTATED]
        tile = part
        if len(part) < _ROTATED:
            tile = np.zeros((_ROTATED, rows.shape[1]), np.float32)
            tile[: len(part)] = part
        turned[start : start + len(part)] = (tile @ rotation)[: len(part)]

    for _ in in_threads(turn, range(0, len(rows), _ROTATED), threads):
        pass
    return turned
