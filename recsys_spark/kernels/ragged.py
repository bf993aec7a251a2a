"""Lists of positions of different lengths in one array."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Ragged(NamedTuple):
    """Row i's positions are positions[indptr[i]:indptr[i + 1]]."""

    indptr: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int32]

    def where(self, rows: npt.NDArray[np.bool_]) -> "Ragged":
        """Some of the rows, by a mask."""
        lengths = np.diff(self.indptr)
        indptr = np.concatenate([[0], np.cumsum(lengths[rows])]).astype(np.int64)
        return Ragged(indptr, self.positions[np.repeat(rows, lengths)])

    def without(self, position: int) -> "Ragged":
        """The rows without a position."""
        found = self.positions != position
        kept = np.concatenate([[0], np.cumsum(found)]).astype(np.int64)
        return Ragged(kept[self.indptr], self.positions[found])

    def rows(self, rows: slice) -> "Ragged":
        """Consecutive rows."""
        indptr = self.indptr[rows.start : rows.stop + 1]
        return Ragged(indptr - indptr[0], self.positions[indptr[0] : indptr[-1]])


class Coded(NamedTuple):
    """Row i's items are codes[indptr[i]:indptr[i + 1]]."""

    indptr: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]


def no_entries(rows: int) -> Ragged:
    """Rows without positions."""
    return Ragged(np.zeros(rows + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))
