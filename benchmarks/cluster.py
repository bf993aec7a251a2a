"""Weak scaling on a cluster of one machine, and a simulation of larger ones from its rates.

Measured: WALS on `local-cluster[W,1,...]`, whose W workers are processes of one core each that
share no memory with the driver; the pairs grow with W. Of every sweep but the first: seconds, task
seconds, bytes broadcast and shuffled, and seconds in which only the driver worked, from Spark's
event log. With the fewest workers also on few pairs, which shows what a task costs by itself.
Beside them rates: of the driver's products, of broadcasts and answers, of jobs and tasks without
work. For reference, the placement `driver` in local mode.

Then `cluster_report.py` predicts those sweeps with `cost_model.py`, at rates of the runs of the
fewest workers and the lowest rank, and sweeps of clusters and data that are not there. Each run is
a fresh process. `--repeats 0` prints the tables of what --out holds, for other prices or networks;
other numbers add to it. Progress goes to stderr, tables in Markdown to stdout, everything to --out.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyspark
from cluster_report import PLACEMENTS, is_complete, shape_of, tables
from data import CACHE, saved
from event_log import SETTINGS, read_events, usage
from measure import HERE, answer, machine, run_child, save, say, warm_kernels
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import BinaryType, StructField, StructType

from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.mmap_broadcast import share
from recsys_spark.als.replicated import hold
from recsys_spark.als.trainer import fit_factors
from recsys_spark.config import Spark
from recsys_spark.kernels.als.spec import resolve_spec
from recsys_spark.runtime.session import open_session
from recsys_spark.workers import map_in_arrow

Result = dict[str, Any]
Run = Literal["cluster", "small", "driver", "dispatch"]

_WORKER_MIB = 2048
_PAYLOAD = 64 * 2**20  # bytes that are broadcast, and sent to the driver, for their rates
_CLAIMED = 8  # cores that a worker claims where it is the driver that is measured
_DISPATCHED = 2000
_BYTES = StructType([StructField("bytes", BinaryType())])


def main() -> None:
    options = _options()
    if options.one:
        answer(lambda: _CHILDREN[options.one](options))
        return
    report = _held(options.out)
    if options.repeats:
        warm_kernels()
    for repeat in range(options.repeats):
        for run, workers, rank, pairs in _runs(options):
            say(f"repeat {repeat}: {run}, {workers} workers, rank {rank}, {pairs:,} pairs each")
            report["results"].append(_child(run, workers, rank, pairs, options))
            save(options.out, report)
    if is_complete(report["results"]):
        print(tables(report["results"], options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--workers", type=int, nargs="+", default=[1, 2], help="of one core each")
    add("--pairs", type=int, default=2_000_000, help="of each worker")
    add("--small-pairs", type=int, default=200_000, help="of each worker, in the run `small`")
    add("--ranks", type=int, nargs="+", default=[64])
    add("--sweeps", type=int, default=5, help="of which the first is not counted")
    add("--runs", nargs="+", choices=get_args(Run), default=get_args(Run))
    add("--repeats", type=int, default=1, help="runs that are added to those in --out")
    add("--driver-memory", default="4g")
    add("--limit-minutes", type=float, default=10, help="a child's time")
    add("--executors", type=int, nargs="+", default=[10, 100, 1000], help="simulated")
    add("--executor-cores", type=int, default=4, help="simulated")
    add("--driver-heap-gib", type=int, default=8, help="simulated")
    add("--network-gbit", type=float, default=10, help="of a simulated host, a second")
    add("--simulated-ranks", type=int, nargs="+", default=[64, 128])
    add("--price", type=float, default=0.05, help="assumed, of a core for an hour, in dollars")
    add("--out", type=Path, default=HERE / ".cache" / "cluster.json")
    add("--one", choices=get_args(Run), help=argparse.SUPPRESS)  # the child's task
    return parser.parse_args()


def _held(out: Path) -> Result:
    """The report so far, under the command of now."""
    results = json.loads(out.read_text())["results"] if out.exists() else []
    command = " ".join(["python", "benchmarks/cluster.py", *sys.argv[1:]])
    return {"command": command, "machine": machine(), "results": results}


def _runs(options: argparse.Namespace) -> Iterator[tuple[Run, int, int, int]]:
    """What a repeat consists of: the run, its workers, its rank, and pairs of each worker."""
    least, most = min(options.workers), max(options.workers)
    rank, *_ = options.ranks
    found: list[tuple[Run, int, int, int]] = [("dispatch", most, rank, 0)]
    found.append(("small", least, rank, options.small_pairs))
    for rank in options.ranks:
        found += [("cluster", workers, rank, options.pairs) for workers in options.workers]
        found.append(("driver", most, rank, options.pairs))
    return (one for one in found if one[0] in options.runs)


def _child(run: Run, workers: int, rank: int, pairs: int, options: argparse.Namespace) -> Result:
    arguments = ["--one", run, "--workers", workers, "--ranks", rank, "--pairs", pairs]
    arguments += ["--sweeps", options.sweeps, "--driver-memory", options.driver_memory]
    found = run_child(Path(__file__), arguments, {}, options.limit_minutes)
    say(f"  {found}")
    named = {"run": run, "workers": workers, "rank": rank, "pairs": workers * pairs}
    return named | {"commit": machine()["commit"]} | found


# What a child measures.


def _measure_cluster(options: argparse.Namespace) -> Result:
    """Rates, then a fit with each placement."""
    workers, scratch = options.workers[0], Path(os.environ["SPARK_LOCAL_DIRS"])
    spark = _cluster(workers, 1, options)
    rates = _measured_rates(spark, workers, options.ranks[0])
    moments = {name: _fit(spark, name, options) for name in PLACEMENTS}
    spark.stop()
    events = read_events(scratch / "events")
    sweeps = {
        name: [asdict(usage(events, *window)) for window in pairwise(ends)]
        for name, ends in moments.items()
    }
    return {"rates": rates, "sweeps": sweeps}


def _measure_driver(options: argparse.Namespace) -> Result:
    """Seconds of the sweeps on the driver's threads, in local mode."""
    config = Spark(
        master=f"local[{options.workers[0]}]",
        driver_memory=options.driver_memory,
        app_name="benchmark",
    )
    spark = open_session(config, CACHE / "spark.log")
    return {"seconds": np.diff(_fit(spark, "driver", options)).tolist()}


def _measure_dispatch(options: argparse.Namespace) -> Result:
    """Seconds of the driver for a task: many without work, for more slots than there are cores.

    The executors take their share of the same cores, so that this is more than it would be alone.
    """
    spark = _cluster(options.workers[0], _CLAIMED, options)
    tasks = spark.range(0, _DISPATCHED, 1, _DISPATCHED).write.format("noop").mode("overwrite")
    return {"dispatch": _middle_seconds(tasks.save, 3) / _DISPATCHED}


_CHILDREN = {
    "cluster": _measure_cluster,
    "small": _measure_cluster,
    "driver": _measure_driver,
    "dispatch": _measure_dispatch,
}


def _cluster(workers: int, cores: int, options: argparse.Namespace) -> SparkSession:
    """A session whose executors are processes of their own, and log events."""
    scratch = Path(os.environ["SPARK_LOCAL_DIRS"])
    (scratch / "events").mkdir()
    os.environ |= {"SPARK_HOME": str(_spark_home(scratch)), "SPARK_LOCAL_IP": "127.0.0.1"}
    os.environ["PYSPARK_PYTHON"] = sys.executable
    conf = SETTINGS | {
        "spark.eventLog.dir": f"file://{scratch}/events",
        "spark.executor.memory": f"{_WORKER_MIB}m",
    }
    config = Spark(
        master=f"local-cluster[{workers},{cores},{_WORKER_MIB}]",
        driver_memory=options.driver_memory,
        app_name="benchmark",
        conf=conf,
    )
    spark = open_session(config, CACHE / "spark.log")
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _spark_home(scratch: Path) -> Path:
    """Spark's installation as links, since local-cluster writes logs into its folder `work`."""
    home = scratch / "spark"
    home.mkdir()
    for entry in Path(pyspark.__file__).parent.iterdir():
        if entry.name != "work":
            (home / entry.name).symlink_to(entry)
    return home


def _fit(spark: SparkSession, placement: Any, options: argparse.Namespace) -> list[float]:
    """When each sweep ended, in seconds since 1970."""
    shape = shape_of(options.workers[0] * options.pairs)
    ratings = spark.read.parquet(str(saved(shape))).withColumnRenamed("rating", "value")
    spec = resolve_spec("ials", rank=options.ranks[0], iterations=options.sweeps)
    folder = f"{os.environ['SPARK_LOCAL_DIRS']}/{placement}"
    ends: list[float] = []
    plan = Plan(placement=placement, folder=None if placement == "driver" else folder)
    fit_factors(ratings, spec, plan, lambda _: ends.append(time.time()))
    return ends


def _measured_rates(spark: SparkSession, workers: int, rank: int) -> dict[str, float]:
    """Those of `cost_model.Rates` that need no fit."""
    few = spark.range(0, workers, 1, workers)
    _rows(few, _nothing_to_say)  # starts the Python workers
    job = _middle_seconds(lambda: _rows(few, _nothing_to_say), 9)
    sent = _middle_seconds(lambda: _broadcast(few), 5)
    answered = _middle_seconds(lambda: _rows(few, _payload(_PAYLOAD // workers)), 5)
    return {
        "job": job,
        "broadcasting": (sent - job) / _PAYLOAD,
        "answering": (answered - job) / _PAYLOAD,
        "flops": _driver_flops(rank),
    }


def _middle_seconds(work: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return median(found)


def _rows(frame: DataFrame, function: Callable[..., Any]) -> pa.Table:
    return map_in_arrow(frame, function, _BYTES).toArrow()


def _nothing_to_say(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for _ in batches:
        yield from ()


def _payload(size: int) -> Callable[..., Any]:
    """A task that answers with so many bytes."""

    def answered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            yield pa.record_batch([pa.array([bytes(size)], pa.binary())], ["bytes"])

    return answered


def _broadcast(frame: DataFrame) -> None:
    """Send an array to all workers, as a half-sweep does."""
    array = np.random.default_rng(0).random(_PAYLOAD // 4, np.float32)  # nothing to compress
    shared = share(frame.sparkSession.sparkContext, array)

    def opened(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        shared.open()
        yield from _nothing_to_say(batches)

    _rows(frame, opened)
    shared.destroy()


def _driver_flops(rank: int) -> float:
    """Of a Gram matrix and of a rotation of single-precision vectors, a second."""
    spec, rows = resolve_spec("ials", rank=rank), _PAYLOAD // (4 * rank)
    vectors = np.random.default_rng(0).standard_normal((rows, rank), np.float32)
    weights, exact = np.empty(0, np.float32), Plan().solver

    def products() -> None:
        hold("user", vectors, weights, spec).as_fixed(spec, exact)

    return 4.0 * rows * rank**2 / _middle_seconds(products, 5)


if __name__ == "__main__":
    main()
