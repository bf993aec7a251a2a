"""Compressed rows: the form in which a block of interactions reaches the kernels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Csr:
    """Rows of sparse entries; row r owns entries indptr[r] to indptr[r + 1].

    ids: (rows,) identifiers, ascending. indptr: (rows + 1,). cols and values: (entries,), by
    ascending column within a row.
    """

    ids: npt.NDArray[np.int64]
    indptr: npt.NDArray[np.int64]
    cols: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]


def csr_from_triples(
    rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int32], values: npt.NDArray[np.float64]
) -> Csr:
    """Compress triples in any order; equal triples in another order give the same result."""
    order = np.lexsort((values, cols, rows))
    ids, starts = np.unique(rows[order], return_index=True)
    indptr = np.append(starts, len(rows)).astype(np.int64)
    return Csr(ids, indptr, cols[order], values[order])
