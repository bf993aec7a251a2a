"""The two decorators for compiled code."""

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, ParamSpec, TypeVar, cast

import numba

# Sums may be vectorised; NaN and infinity keep their meaning, so bad input still shows.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile as a part of the kernels that call it."""
    return cast(Callable[P, R], _compiled(function))


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile at the first call, and keep the machine code on disk for later processes.

    Numba holds the machine code for stale only when the function's own file has changed; here it
    is when any file of the kernels has, because a kernel calls functions of other files.
    """
    compiled = _compiled(function, cache=True)
    stored = compiled._cache._cache_file
    stored._source_stamp = (stored._source_stamp, kernels_digest())
    return cast(Callable[P, R], compiled)


def _compiled(function: Callable[P, R], **options: bool) -> Any:
    return numba.njit(nogil=True, error_model="numpy", fastmath=_FASTMATH, **options)(function)


@cache
def kernels_digest() -> str:
    """Digest of the sources of all kernels, wherever they are installed, also in an archive."""
    digest = hashlib.sha256()
    for source in _sources(files("recsys_spark.kernels")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _sources(folder: Traversable) -> list[Traversable]:
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    nested = [_sources(entry) if entry.is_dir() else [entry] for entry in entries]
    return [entry for part in nested for entry in part if entry.name.endswith(".py")]
