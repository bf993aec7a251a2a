"""`doctor` for people."""

from dataclasses import replace

from rich.console import Console
from rich.table import Table

from recsys_spark.als.driver import driver_pays
from recsys_spark.als.execution_plan import Sizes
from recsys_spark.als.memory_estimate import (
    available_memory,
    needs,
    refuse_what_cannot_fit,
    within_limits,
)
from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.pipeline.sessions import lazy_session, session
from recsys_spark.runtime.doctor import (
    Environment,
    examine_executors,
    examine_here,
    java_version,
    mismatches,
)
from recsys_spark.runtime.log import Log
from recsys_spark.storage.runs import Runs
from recsys_spark.storage.store import open_store
from recsys_spark.storage.tables import Tables


def diagnose(config: Config, log: Log) -> list[str]:
    """Print what driver and executors have; returns the mismatches."""
    driver = examine_here()
    with session(config, log, read_only=True) as spark:
        java, master = java_version(), spark.sparkContext.master
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


def show_plan(config: Config, log: Log) -> None:
    """Print what training on the newest split would need; ConfigError if it cannot fit."""
    spec, plan = config.objective.spec(), make_plan(config, config.paths.root)
    with lazy_session(config, log, read_only=True) as spark:
        store = open_store(config.paths.root, spark)
        largest = _newest_sizes(Runs(store), Tables(store), config.train.refit)
        context = spark().sparkContext
        sizes = replace(largest, slots=context.defaultParallelism)
        sizes = replace(
            sizes, on_driver=driver_pays(sizes, spec, plan, context, available_memory())
        )
        plan = within_limits(plan, context)
        refuse_what_cannot_fit(sizes, spec, plan, context)
    for sink in log.sinks:
        getattr(sink, "stop", lambda: None)()
    print(
        f"Training rank {spec.rank} on {sizes.pairs:,} pairs of at most {sizes.users:,} users and "
        f"{sizes.items:,} items, {sizes.slots} tasks at once, needs {needs(sizes, spec, plan)}."
    )


def _newest_sizes(runs: Runs, tables: Tables, refit: bool) -> Sizes:
    """Of the training rows, or of all that a refit trains on."""
    record = runs.newest("split")
    if record is None:
        raise ConfigError(
            "There is nothing to plan for: run `recsys-spark ingest` and `split` first."
        )
    rows = ("interactions", "ingest") if refit else ("train", "split")
    made = (rows, ("user_ids", "ingest"), ("item_ids", "ingest"))
    manifests = (tables.manifest(table, record.lineage[stage]) for table, stage in made)
    pairs, users, items = (manifest.rows if manifest else 0 for manifest in manifests)
    return Sizes(pairs, users, items, 0.0, 0.0, slots=0)


def _table(driver: Environment, executors: list[Environment]) -> Table:
    table = Table("", "driver", *(f"executor {p.host}" for p in executors), box=None)
    environments = [driver, *executors]
    table.add_row("Python", *(environment.python for environment in environments))
    for name in driver.packages:
        table.add_row(name, *(environment.packages[name] for environment in environments))
    table.add_row("BLAS", *(environment.blas for environment in environments))
    table.add_row("memory", *(f"{environment.memory_gib:.1f} GiB" for environment in environments))
    return table
