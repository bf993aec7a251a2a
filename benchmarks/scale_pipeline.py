"""How a run grows with the data: ingest, split, train and recommend, from files to tables.

Every size is generated through Spark to Parquet, as by `scale.py`, and then every stage is done in
a process of its own, by the function that its command calls. A size that was begun goes on where
it stopped: stages in --out, or finished in the root in the cache, are not done again. Progress
goes to stderr, tables in Markdown to stdout, everything to --out.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from data import CACHE, key
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
from scale import generate, generated, shape_of

from recsys_spark.pipeline.run_choice import Options
from recsys_spark.pipeline.runner import run_stages
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config

Result = dict[str, Any]

STAGES = ("ingest", "split", "train", "recommend")
_BILLION = 1_000_000_000


def main() -> None:
    options = _options()
    if options.one:
        task = _generate if options.one == "generate" else _stage
        answer(lambda: task(options))
        return
    warm_kernels()
    report = _held(options.out)
    for size in options.sizes:
        results = report["results"].setdefault(str(size), {})
        for task in ("generate", *STAGES):
            if task in results and "error" not in results[task]:
                continue
            say(f"{size:,} interactions: {task}")
            results[task] = _child(task, size, options)
            say(f"  {results[task]}")
            save(options.out, report)
            if "error" in results[task]:
                break
    print(_table(report["results"]))
    print()
    print(_extrapolated(report["results"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[10_000_000], help="interactions")
    add("--per-user", type=int, default=100, help="mean interactions of a user")
    add("--items", type=int, default=100_000, help="or a twentieth of the interactions, if fewer")
    add("--rank", type=int, default=64)
    add("--sweeps", type=int, default=3)
    add("--n", type=int, default=10, help="length of the lists")
    add("--cores", type=int, default=2)
    add("--driver-memory", default="8g")
    add("--limit-minutes", type=float, default=120, help="a child's time")
    add("--out", type=Path, default=HERE / ".cache" / "scale_pipeline.json")
    add("--one", choices=["generate", *STAGES], help=argparse.SUPPRESS)  # the child's task
    return parser.parse_args()


def _held(path: Path) -> dict[str, Any]:
    """What an earlier call has found."""
    if path.exists():
        return dict(json.loads(path.read_text()))
    command = " ".join(["python", "benchmarks/scale_pipeline.py", *sys.argv[1:]])
    return {"command": command, "machine": machine(), "results": {}}


def _child(task: str, size: int, options: argparse.Namespace) -> Result:
    arguments: list[object] = ["--one", task, "--sizes", size]
    for name in ("per_user", "items", "rank", "sweeps", "n", "cores", "driver_memory"):
        arguments += [f"--{name.replace('_', '-')}", getattr(options, name)]
    return run_child(Path(__file__), arguments, {}, options.limit_minutes)


def _generate(options: argparse.Namespace) -> Result:
    return generate(shape_of(options.sizes[0], options), options)


def _stage(options: argparse.Namespace) -> Result:
    """Seconds of the stage's record, and bytes of its tables."""
    shape = shape_of(options.sizes[0], options)
    root = CACHE / f"pipeline-{key(shape)}"
    config = load_config(
        overrides=[
            f"paths.root={root}",
            f"ingest.source.path={generated(shape)}",
            "ingest.source.columns={user: user, item: item, value: rating, timestamp: null}",
            "ingest.source.format=parquet",
            "split.method=none",
            f"objective.rank={options.rank}",
            f"objective.iterations={options.sweeps}",
            f"recommend.n={options.n}",
            "tracking.backend=none",
            f"spark.master=local[{options.cores}]",
            f"spark.driver_memory={options.driver_memory}",
        ]
    )
    before = folder_bytes(root)
    log = Log([lambda event: say("   ", event["msg"])])
    outcome = run_stages(config, [options.one], Options("scale"), log)
    record = outcome.records[options.one]
    return {"seconds": record.seconds, "bytes": folder_bytes(root) - before}


def _table(results: dict[str, dict[str, Result]]) -> str:
    header = ["interactions", "stage", "s", "written, MiB", "scratch, MiB"]
    header += ["JVM, MiB", "workers, MiB", "driver, MiB"]
    rows = [
        [f"{int(size):,}", task, *_cells(found)]
        for size, tasks in results.items()
        for task, found in tasks.items()
    ]
    return markdown(header, rows)


def _cells(found: Result) -> list[object]:
    if "error" in found:
        return [found["error"], *[""] * 5]
    peaks = found["peak_mib"]
    seconds = "" if found["seconds"] is None else f"{found['seconds']:,.1f}"
    kinds = ("scratch_disk", "jvm", "workers", "driver")
    sizes = [f"{peaks[kind]:,}" if kind in peaks else "" for kind in kinds]
    return [seconds, f"{found['bytes'] / 2**20:,.0f}", *sizes]


def _extrapolated(results: dict[str, dict[str, Result]]) -> str:
    """Of each stage: seconds = fixed + slope * interactions, by least relative squares."""
    header = ["stage", "fixed, s", "s / 100 million", "largest residual", "at a billion, s"]
    rows = []
    for stage in STAGES:
        found = {
            int(size): tasks[stage]["seconds"]
            for size, tasks in results.items()
            if tasks.get(stage, {}).get("seconds")
        }
        if len(found) > 1:
            rows.append([stage, *_line(np.array(list(found)), np.array(list(found.values())))])
    return markdown(header, rows)


def _line(sizes: npt.NDArray[np.int64], seconds: npt.NDArray[np.float64]) -> list[str]:
    terms = np.stack([np.ones(len(sizes)), sizes / 1e8], axis=1)
    fixed, slope = np.linalg.lstsq(terms / seconds[:, None], np.ones(len(sizes)), rcond=None)[0]
    off = (terms @ [fixed, slope]) / seconds - 1
    worst = off[np.abs(off).argmax()]
    return [
        f"{fixed:.1f}",
        f"{slope:.1f}",
        f"{worst:+.0%}",
        f"{fixed + slope * _BILLION / 1e8:,.0f}",
    ]


if __name__ == "__main__":
    main()
