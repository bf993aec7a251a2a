"""The process that forks Spark's Python workers in local mode.

It loads what tasks need once, before the first fork, where Spark's own daemon leaves that to every
worker: two seconds each.
"""

from contextlib import suppress

from recsys_spark.spark_internals import fork_workers


def _load() -> None:
    """What is not there is reported by the task that needs it."""
    with suppress(ImportError):
        import recsys_spark.pipeline.runner  # noqa: F401 - imports the modules of all tasks


if __name__ == "__main__":
    _load()
    fork_workers()
