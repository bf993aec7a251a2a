"""The one decorator for compiled kernels."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

# Sums may be vectorised; NaN and infinity keep their meaning, so bad input still shows.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile at the first call and keep the machine code on disk.

    A cached function and all compiled functions that it calls stand in one file, because a
    change in another file would not invalidate the cache.
    """
    compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FASTMATH)(function)
    return cast(Callable[P, R], compiled)
