"""An array broadcast once a host: workers map the broadcast's file instead of unpickling it.

Spark hands a broadcast to the Python workers of an executor as one file. Here that file begins
with a small pickled header and goes on with the array's bytes, so that all workers of a host
share the pages of one copy, and the driver pickles nothing.
"""

import pickle
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from pyspark import Broadcast, SparkContext

from recsys_spark.spark_internals import broadcast_file, broadcast_path, encrypts_files

_ALIGNMENT = 4096


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: str
    offset: int


class SharedArray:
    """Made on the driver with `share`; `open` in a task gives the array, read-only."""

    def __init__(self, broadcast: "Broadcast[Any]") -> None:
        self._broadcast = broadcast

    def open(self) -> npt.NDArray[Any]:
        """The array, mapped from the broadcast's file; a copy where Spark encrypts its files."""
        value = self._broadcast.value
        if not isinstance(value, _Header):
            return value  # type: ignore[no-any-return]
        path = broadcast_path(self._broadcast)
        return np.memmap(path, value.dtype, "r", value.offset, value.shape)

    def destroy(self) -> None:
        """Release the memory and the files of driver and executors."""
        self._broadcast.destroy()


def share(context: SparkContext, array: npt.NDArray[Any]) -> SharedArray:
    """Broadcast the array; `array` must be C-contiguous."""
    if encrypts_files(context):
        return SharedArray(context.broadcast(array))
    return SharedArray(broadcast_file(context, lambda file: _write(array, file)))


def _write(array: npt.NDArray[Any], file: IO[bytes]) -> None:
    """Header and bytes; what is read back by unpickling is the header."""
    header = BytesIO()
    pickle.dump(_Header(array.shape, array.dtype.str, _ALIGNMENT), header)
    file.write(header.getvalue().ljust(_ALIGNMENT, b"\0"))
    file.write(array.data.cast("B") if array.size else b"")
