"""Spark's tasks are the parallelism; the driver has threads of its own while it waits for none."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

from threadpoolctl import threadpool_limits

from recsys_spark.kernels.blas import load_blas

R = TypeVar("R")
_AHEAD = 2  # calls for each thread that are begun before their values are taken


def single_threaded() -> AbstractContextManager[object]:
    """Hold every BLAS of this process to one thread; opened at the top of each task."""
    load_blas()  # a library that is loaded later would not be limited
    limits: AbstractContextManager[object] = threadpool_limits(limits=1)
    return limits


def in_threads(function: Callable[[int], R], starts: Sequence[int], threads: int) -> Iterator[R]:
    """The function's value for each start, in their order, `threads` of them computed at a time.

    For work that is cut the same whatever the number of threads, so that no bit depends on it.
    """
    if threads == 1:
        yield from map(function, starts)
        return
    with ThreadPoolExecutor(threads) as pool:
        begun: deque[Future[R]] = deque()
        for start in starts:
            if len(begun) == _AHEAD * threads:  # no more results than that are held
                yield begun.popleft().result()
            begun.append(pool.submit(function, start))
        yield from (one.result() for one in begun)
