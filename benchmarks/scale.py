"""How training grows with the data: generated through Spark to Parquet, then some sweeps.

Every size is generated in one fresh process and trained in another. Progress goes to stderr, a
table in Markdown to stdout, everything to the JSON file of --out. Generated data stay in the
cache; delete it with `rm -r benchmarks/.cache`.
"""

import argparse
import os
import shutil
import sys
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from data import CACHE, Shape, batches, key
from measure import (
    HERE,
    answer,
    folder_bytes,
    machine,
    markdown,
    run_child,
    save,
    say,
    warm_kernels,
)
from pyspark.sql import SparkSession
from systems import session

from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.trainer import fit_factors
from recsys_spark.kernels.als.spec import resolve_spec

Result = dict[str, Any]

SIZES = [10_000_000, 100_000_000, 500_000_000, 1_000_000_000]
_PER_FILE = 4_000_000  # interactions


def main() -> None:
    options = _options()
    if options.one:
        task = generate if options.one == "generate" else _train
        answer(lambda: task(shape_of(options.sizes[0], options), options))
        return
    warm_kernels()
    report: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/scale.py", *sys.argv[1:]]),
        "machine": machine(),
        "rank": options.rank,
        "results": [],
    }
    for size in options.sizes:
        report["results"].append(_run(size, options))
        save(options.out, report)
    print(_table(report["results"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=SIZES, help="interactions; 10_000_000 is fine")
    add("--per-user", type=int, default=100, help="mean interactions of a user")
    add("--items", type=int, default=100_000, help="or a twentieth of the interactions, if fewer")
    add("--rank", type=int, default=64)
    add("--sweeps", type=int, default=3)
    add("--blocks", type=int, help="blocks a side; by default, WALS chooses")
    add("--broadcast-budget-mb", type=int, help="by default, WALS's own")
    add("--cores", type=int, default=2)
    add("--driver-memory", default="8g")
    add("--limit-minutes", type=float, default=120, help="a child's time")
    add("--out", type=Path, default=HERE / ".cache" / "scale.json")
    add("--one", choices=["generate", "train"], help=argparse.SUPPRESS)  # the child's task
    return parser.parse_args()


def shape_of(size: int, options: argparse.Namespace) -> Shape:
    items = min(options.items, size // 20)
    return Shape(users=size // options.per_user, items=items, interactions=size)


def generated(shape: Shape) -> Path:
    return CACHE / f"scale-{key(shape)}"


def _run(size: int, options: argparse.Namespace) -> Result:
    """The parent: both children of a size."""
    shape = shape_of(size, options)
    result: Result = {"size": size, "shape": asdict(shape)}
    arguments = ["--sizes", size, "--per-user", options.per_user, "--items", options.items]
    arguments += ["--rank", options.rank, "--sweeps", options.sweeps, "--cores", options.cores]
    arguments += ["--driver-memory", options.driver_memory]
    if options.blocks:
        arguments += ["--blocks", options.blocks]
    if options.broadcast_budget_mb:
        arguments += ["--broadcast-budget-mb", options.broadcast_budget_mb]
    for task in ("generate", "train"):
        say(f"{size:,} interactions: {task}")
        answered = run_child(Path(__file__), ["--one", task, *arguments], {}, options.limit_minutes)
        say(f"  {answered}")
        result[task] = answered
        if "error" in answered:
            break
    return result


def generate(shape: Shape, options: argparse.Namespace) -> Result:
    """Write the interactions in parallel, unless they are there."""
    folder = generated(shape)
    seconds = None
    if not (folder / "_SUCCESS").exists():
        shutil.rmtree(folder, ignore_errors=True)
        started = time.perf_counter()
        files = max(2 * options.cores, -(-shape.interactions // _PER_FILE))
        spark = session(options.cores, options.driver_memory, CACHE / "spark.log")
        spark.range(0, shape.users, 1, files).mapInArrow(
            lambda ranges: batches(shape, ranges), "user int, item int, rating float"
        ).write.parquet(str(folder))
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "bytes": folder_bytes(folder)}


def _train(shape: Shape, options: argparse.Namespace) -> Result:
    """Seconds of each sweep; the first one's hold the building of the blocks too."""
    spark = session(options.cores, options.driver_memory, CACHE / "spark.log")
    ratings = spark.read.parquet(str(generated(shape))).withColumnRenamed("rating", "value")
    spec = resolve_spec("ials", rank=options.rank, iterations=options.sweeps)
    budget = options.broadcast_budget_mb
    given: dict[str, Any] = {"broadcast_budget_bytes": budget * 2**20} if budget else {}
    given["folder"] = f"{os.environ['SPARK_LOCAL_DIRS']}/training"  # as the pipeline's stage does
    moments = [time.perf_counter()]
    losses = []

    def on_sweep(state: Any) -> None:
        moments.append(time.perf_counter())
        losses.append(state.losses[-1].total)
        say(f"  sweep {len(losses)}: {moments[-1] - moments[-2]:.1f} s, loss {losses[-1]:.8g}")

    fit_factors(ratings, spec, Plan(options.blocks, **given), on_sweep)
    total = time.perf_counter() - moments[0]
    sweeps = [later - sooner for sooner, later in pairwise(moments)]
    later = median(sweeps[1:]) if len(sweeps) > 1 else None
    return {
        "fit_seconds": total,
        "sweep_seconds": sweeps,
        "seconds_per_sweep": later,
        "layout_seconds": None if later is None else sweeps[0] - later,
        "losses": losses,
        **_shuffled(spark),
    }


def _shuffled(spark: SparkSession) -> dict[str, int]:
    """Bytes that the executors report: written for shuffles, and held on disk by caches."""
    executors = spark.sparkContext._jsc.sc().statusStore().executorList(False)
    rows = [executors.apply(at) for at in range(executors.size())]
    return {"shuffle_write_bytes": sum(row.totalShuffleWrite() for row in rows)}


def _table(results: list[Result]) -> str:
    header = ["interactions", "users", "Parquet, MiB", "generate, s", "blocks, s", "sweep, s"]
    header += ["fit, s", "shuffled, MiB", "scratch, MiB", "JVM, MiB", "workers", "driver"]
    return markdown(header, [_row(result) for result in results])


def _row(result: Result) -> list[object]:
    made, trained = result["generate"], result.get("train", {})
    failed = made.get("error") or trained.get("error")
    row: list[object] = [f"{result['size']:,}", f"{result['shape']['users']:,}"]
    row += [_mib(made.get("bytes")), _seconds(made.get("seconds"))]
    if failed:
        return [*row, failed, *[""] * 7]
    row += [_seconds(trained[k]) for k in ("layout_seconds", "seconds_per_sweep", "fit_seconds")]
    peaks = trained["peak_mib"]
    row += [_mib(trained["shuffle_write_bytes"]), peaks.get("scratch_disk", "")]
    return row + [peaks.get(kind, "") for kind in ("jvm", "workers", "driver")]


def _mib(size: int | None) -> str:
    return "" if size is None else f"{size / 2**20:,.0f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    main()
