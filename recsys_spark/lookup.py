"""From ids to the positions at which their items stand in an array."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

_SPREAD = 100


@dataclass(frozen=True)
class Lookup:
    """ids: (items,), each once, in any order."""

    ids: npt.NDArray[np.int64]

    def positions(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Where ids stand, -1 for unknown ones."""
        if not len(self.ids):
            return np.full(len(ids), -1, dtype=np.int32)
        if self._table is not None:
            last = len(self._table) - 1  # which is of no item
            return self._table[np.where((ids < 0) | (ids > last), last, ids)]
        at = np.searchsorted(self.ids, ids, sorter=self._sorter)
        found = self._sorter[np.minimum(at, len(self.ids) - 1)]
        return np.where(self.ids[found] == ids, found, -1).astype(np.int32)

    @cached_property
    def _sorter(self) -> npt.NDArray[np.int64]:
        return np.argsort(self.ids)

    @cached_property
    def _table(self) -> npt.NDArray[np.int32] | None:
        """Positions by the id itself; None where ids are few and far between, or negative."""
        size = int(self.ids.max()) + 2
        if self.ids.min() < 0 or size > _SPREAD * (len(self.ids) + _SPREAD):
            return None
        table = np.full(size, -1, dtype=np.int32)
        table[self.ids] = np.arange(len(self.ids), dtype=np.int32)
        return table
