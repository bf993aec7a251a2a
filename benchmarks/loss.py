"""The one function that judges every system's factors, in double precision.

MLlib and implicit share all of the objective but the penalty: an observed pair with value r has
weight 1 + alpha r and target 1, every other pair weight 1 and target 0.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Literal

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Matrix = npt.NDArray[np.floating]
Penalty = Literal["mllib", "implicit"]

ALPHA = 1.0
REGULARIZATION = {"mllib": 0.1, "implicit": 0.01}
_CHUNK_ENTRIES = 1_000_000


def objective(matrix: sp.csr_matrix, users: Matrix, items: Matrix, penalty: Penalty) -> float:
    """Sum of weighted squared errors over all pairs, plus the system's own penalty.

    The penalty is `mllib`: lambda n |x|^2 with the row's n interactions; or `implicit`:
    lambda |x|^2.
    """
    everywhere = float(np.sum(_gram(users) * _gram(items)))
    return everywhere + _observed(matrix, users, items) + _penalty(matrix, users, items, penalty)


def _gram(factors: Matrix) -> npt.NDArray[np.float64]:
    wide = factors.astype(np.float64)
    return wide.T @ wide


def _penalty(matrix: sp.csr_matrix, users: Matrix, items: Matrix, penalty: Penalty) -> float:
    counted = penalty == "mllib"
    user_counts = np.diff(matrix.indptr) if counted else np.ones(len(users))
    item_counts = matrix.getnnz(axis=0) if counted else np.ones(len(items))
    total = user_counts @ _squares(users) + item_counts @ _squares(items)
    return REGULARIZATION[penalty] * float(total)


def _squares(factors: Matrix) -> npt.NDArray[np.float64]:
    return np.einsum("nd,nd->n", factors, factors, dtype=np.float64)


def _observed(matrix: sp.csr_matrix, users: Matrix, items: Matrix) -> float:
    """What the observed pairs cost beyond what `everywhere` has counted for them already."""
    indptr = matrix.indptr.astype(np.int64)
    edges = np.searchsorted(indptr, np.arange(0, matrix.nnz, _CHUNK_ENTRIES))
    parts = pairwise(np.unique(np.append(edges, len(users))).tolist())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sums = pool.map(
            lambda part: _rows(*part, indptr, matrix.indices, matrix.data, users, items, ALPHA),
            parts,
        )
        return sum(sums)


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _rows(start, stop, indptr, columns, values, users, items, alpha):
    total = 0.0
    for row in range(start, stop):
        x = users[row].astype(np.float64)
        for at in range(indptr[row], indptr[row + 1]):
            y = items[columns[at]]
            prediction = 0.0
            for k in range(len(x)):
                prediction += x[k] * y[k]
            weight = 1.0 + alpha * values[at]
            total += weight * (prediction - 1.0) ** 2 - prediction**2
    return total
