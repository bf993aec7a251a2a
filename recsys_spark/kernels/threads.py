"""One level of parallelism: Spark's tasks."""

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits

from recsys_spark.kernels.blas import load_blas


def single_threaded() -> AbstractContextManager[object]:
    """Hold every BLAS of this process to one thread; opened at the top of each task."""
    load_blas()  # a library that is loaded later would not be limited
    limits: AbstractContextManager[object] = threadpool_limits(limits=1)
    return limits
