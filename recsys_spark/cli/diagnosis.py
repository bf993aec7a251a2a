"""`doctor` for people."""

from rich.console import Console
from rich.table import Table

from recsys_spark.config import Config
from recsys_spark.pipeline.night import session
from recsys_spark.runtime.doctor import (
    Place,
    examine_executors,
    examine_here,
    java_version,
    mismatches,
)
from recsys_spark.runtime.log import Log


def diagnose(config: Config, log: Log) -> list[str]:
    """Print what driver and executors have; returns the mismatches."""
    driver = examine_here()
    with session(config, log) as spark:
        java, master = java_version(spark), spark.sparkContext.master
        executors = examine_executors(spark)
    for sink in log.sinks:
        getattr(sink, "stop", lambda: None)()
    console = Console(highlight=False)
    console.print(f"Java {java}, Spark master {master}")
    console.print(_table(driver, executors))
    problems = mismatches(driver, executors)
    if not problems:
        console.print("Everything needed is there; driver and executors agree.")
    return problems


def _table(driver: Place, executors: list[Place]) -> Table:
    table = Table("", "driver", *(f"executor {p.host}" for p in executors), box=None)
    places = [driver, *executors]
    table.add_row("Python", *(place.python for place in places))
    for name in driver.packages:
        table.add_row(name, *(place.packages[name] for place in places))
    table.add_row("BLAS", *(place.blas for place in places))
    table.add_row("memory", *(f"{place.memory_gib:.1f} GiB" for place in places))
    return table
