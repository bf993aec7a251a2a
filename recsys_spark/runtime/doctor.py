"""Is everything in place, on the driver and on every executor?"""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import SparkSession
from threadpoolctl import threadpool_info

from recsys_spark.spark_internals import java_class

_PACKAGES = ("recsys-spark", "pyspark", "numpy", "scipy", "numba", "pyarrow", "pandas")
_TASK_PACKAGES = ("recsys-spark", "numpy", "numba", "pyarrow")


@dataclass(frozen=True)
class Environment:
    """A Python process: where it runs and what it has."""

    host: str
    python: str
    packages: dict[str, str]
    blas: str
    memory_gib: float


def examine_here() -> Environment:
    """The process that calls."""
    import numpy  # noqa: F401 - loads the BLAS that is reported

    blas = {
        f"{lib['internal_api']} {lib['version']}"
        for lib in threadpool_info()
        if lib["user_api"] == "blas"
    }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = {name: _version(name) for name in _PACKAGES}
    return Environment(
        platform.node(),
        platform.python_version(),
        packages,
        ", ".join(sorted(blas)) or "none",
        round(memory, 1),
    )


def examine_executors(spark: SparkSession) -> list[Environment]:
    """A process on each executor, found by giving every slot a task; one entry a host."""
    slots = max(spark.sparkContext.defaultParallelism, 2)

    def look(_part: Iterable[int]) -> Iterable[dict[str, Any]]:
        yield asdict(examine_here())

    found = spark.sparkContext.parallelize(range(slots), slots).mapPartitions(look).collect()
    environments = {
        (row["host"], row["python"], str(row["packages"])): Environment(**row) for row in found
    }
    return [environments[key] for key in sorted(environments)]


def java_version() -> str:
    """Of the driver's JVM."""
    return str(java_class("java.lang.System").getProperty("java.version"))


def mismatches(driver: Environment, executors: list[Environment]) -> list[str]:
    """What differs between the driver and an executor, in words."""
    found = []
    for place in executors:
        if place.python.split(".")[:2] != driver.python.split(".")[:2]:
            found.append(f"{place.host} runs Python {place.python}, the driver {driver.python}")
        for name in _TASK_PACKAGES:
            here, there = driver.packages[name], place.packages[name]
            if here != there:
                found.append(f"{place.host} has {name} {there}, the driver {here}")
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
