"""One level of parallelism: Spark's tasks."""

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits


def single_threaded() -> AbstractContextManager[object]:
    """Hold every BLAS of this process to one thread; opened at the top of each task."""
    limits: AbstractContextManager[object] = threadpool_limits(limits=1)
    return limits
