"""Python functions over rows, through one entry point: Spark's workers have to run this Python.

Left to itself Spark starts the `python3` of PATH, which in a virtual environment that is not
activated is another one.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pyarrow as pa
from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from recsys_spark.errors import ConfigError
from recsys_spark.spark_internals import set_worker_python, worker_python

_SPARKS_DEFAULT = "python3"
_UNUSABLE = ("No module named", "Cannot run program", "PYTHON_VERSION_MISMATCH")
_found: set[tuple[str, str]] = set()  # applications and interpreters that have the package


Batches = Iterator[pa.RecordBatch]
Function = Callable[[Batches], Batches]

_RAISED = re.compile(r"^([A-Za-z_][\w.]*): (.+)$", re.MULTILINE)


def raised_in_task(text: str) -> tuple[str, str] | None:
    """Class and message, a line, of the last exception of a task's Python that Spark reports."""
    _, trace, message = text.rpartition("Traceback (most recent call last):\n")
    found = _RAISED.search(message) if trace else None
    return None if found is None else (found[1], found[2])


def map_in_arrow(frame: DataFrame, function: Callable[..., Any], schema: StructType) -> DataFrame:
    """`frame.mapInArrow`."""
    _prepare(frame)
    return frame.mapInArrow(function, schema)


@dataclass(frozen=True)
class TaskRows:
    """Rows that tasks make in Python; they are computed when they are written, or a frame read.

    source: what the rows are made of. function: makes them, batch by batch. schema: of the rows.
    """

    source: DataFrame
    function: Function
    schema: StructType

    def frame(self) -> DataFrame:
        """The rows as a frame."""
        return map_in_arrow(self.source, self.function, self.schema)

    def then(self, function: Function, schema: StructType) -> "TaskRows":
        """These rows passed through one more function in the same tasks."""
        return TaskRows(self.source, _Composed(self.function, function), schema)


@dataclass(frozen=True)
class _Composed:
    """One function after another; of a class, so that no frame is in its closure."""

    first: Function
    second: Function

    def __call__(self, batches: Batches) -> Batches:
        return self.second(self.first(batches))


def group_in_arrow(
    frame: DataFrame, keys: Iterable[str], function: Callable[..., Any], schema: StructType
) -> DataFrame:
    """`frame.groupBy(*keys).applyInArrow`."""
    _prepare(frame)
    return frame.groupBy(*keys).applyInArrow(function, schema)


def cogroup_in_arrow(
    one: DataFrame, other: DataFrame, key: str, function: Callable[..., Any], schema: StructType
) -> DataFrame:
    """Both frames' groups of a key, through `applyInArrow`."""
    _prepare(one)
    return one.groupBy(key).cogroup(other.groupBy(key)).applyInArrow(function, schema)


def start_workers(spark: SparkSession) -> Thread | None:
    """Let the Python workers of local mode load what tasks need while other work goes on.

    Nothing need wait for the thread; what fails here fails again in the task that needs it.
    """
    if not str(spark.sparkContext.master).startswith("local"):
        return None

    def start() -> None:
        with suppress(Exception):
            row = spark.range(0, 1, 1, numPartitions=1)
            map_in_arrow(row, lambda batches: batches, row.schema).collect()

    thread = Thread(target=start, daemon=True)
    thread.start()
    return thread


def use_this_python(context: SparkContext) -> None:
    """Let the workers of a local master run this interpreter, unless another one was chosen."""
    by_default = worker_python(context) == _SPARKS_DEFAULT and "PYSPARK_PYTHON" not in os.environ
    if by_default and str(context.master).startswith("local"):
        chosen = context.getConf().get("spark.pyspark.python")
        set_worker_python(context, chosen or sys.executable)


def _prepare(frame: DataFrame) -> None:
    context = frame.sparkSession.sparkContext
    use_this_python(context)
    python = worker_python(context)
    application = (context.applicationId, python)
    if python != sys.executable and application not in _found:
        _require_package(context)
        _found.add(application)


def _require_package(context: SparkContext) -> None:
    """One small task, in place of a page of Java where the workers' Python is not set up."""
    try:
        context.parallelize([0], 1).map(_load).collect()
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if _is_unusable(line)), None)
        if reason is None:
            raise
        raise ConfigError(
            f"The Python of Spark's workers, {worker_python(context)}, cannot run recsys-spark "
            f"({reason.strip()}): set PYSPARK_PYTHON or spark.pyspark.python to one that has it "
            "installed, on every host."
        ) from None


def _is_unusable(line: str) -> bool:
    return any(sign in line for sign in _UNUSABLE)


def _load(_: int) -> int:
    import recsys_spark.arrow
    import recsys_spark.kernels.als.solve  # noqa: F401

    return 0
