"""The process that forks Spark's Python workers in local mode.

It loads what tasks need once, before the first fork, where Spark's own daemon leaves that to every
worker: two seconds each. What is loaded is kept out of garbage collection, of which Spark does a
full one after every task: a tenth of a second with these modules.
"""

import gc
from contextlib import suppress

from recsys_spark.spark_internals import fork_workers


def _load() -> None:
    """What is not there is reported by the task that needs it."""
    with suppress(ImportError):
        import recsys_spark.pipeline.runner  # noqa: F401 - imports the modules of all tasks


if __name__ == "__main__":
    _load()
    gc.freeze()
    fork_workers()
