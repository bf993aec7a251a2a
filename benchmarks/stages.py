"""What the stages of a run cost beside one another: measuring, making lists, training.

Every case is prepared once (ingest, split, train) in the cache; then its configurations of
`evaluate`, and `recommend`, are done in turn in one session of one fresh process, `--repeats`
times, by the functions that the commands call. Seconds are those of the stages' records, jobs those
that Spark started meanwhile. Progress goes to stderr, a table in Markdown to stdout, everything to
the JSON file of --out.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from data import CACHE, CASES, Shape, key, saved
from measure import HERE, answer, machine, markdown, run_child, save, say, warm_kernels
from pyspark.sql import SparkSession

from recsys_spark.config import Config
from recsys_spark.pipeline.run_choice import Options
from recsys_spark.pipeline.runner import run_stages
from recsys_spark.pipeline.sessions import lazy_session
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config

_START = 1_600_000_000  # seconds since 1970 of the first event
_SPAN = 300 * 86_400


@dataclass(frozen=True)
class Case:
    """settings: of the run. measured: further ones of `evaluate`, by what it is called."""

    shape: Shape
    settings: tuple[str, ...]
    measured: dict[str, tuple[str, ...]]


_BASELINES = "evaluate.baselines=[popularity, random, recent_popularity]"
_STAGES: dict[str, Case] = {
    "wide": Case(
        CASES["wide"],
        ("objective.rank=64", "objective.iterations=2", "split.method=random"),
        {"alone": ("evaluate.baselines=[]",), "with three baselines": (_BASELINES,)},
    ),
    "published": Case(
        Shape(users=30_000, items=41_000, interactions=1_000_000),
        ("objective.rank=256", "objective.iterations=15", "split.method=random"),
        {"with item-kNN": ("evaluate.baselines=[item_knn]",)},
    ),
    "smoke": Case(
        CASES["smoke"],
        ("objective.rank=32", "objective.iterations=2", "split.method=random"),
        {"alone": ("evaluate.baselines=[]",), "with three baselines": (_BASELINES,)},
    ),
}


def main() -> None:
    options = _options()
    if options.one:
        answer(lambda: _measure(options))
        return
    warm_kernels()
    report: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/stages.py", *sys.argv[1:]]),
        "machine": machine(),
        "results": {},
    }
    for name in options.cases:
        say(name)
        arguments = ["--one", name, "--repeats", options.repeats, "--cores", options.cores]
        answered = run_child(
            Path(__file__), [*arguments, "--driver-memory", options.driver_memory], {}, 60
        )
        say(f"  {answered}")
        report["results"][name] = answered
        save(options.out, report)
    print(_table(report["results"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cases", nargs="+", choices=_STAGES, default=["wide", "published"])
    add("--repeats", type=int, default=2)
    add("--cores", type=int, default=2)
    add("--driver-memory", default="6g")
    add("--out", type=Path, default=HERE / ".cache" / "stages.json")
    add("--one", choices=_STAGES, help=argparse.SUPPRESS)  # the child's task
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    case = _STAGES[options.one]
    root = CACHE / f"stages-{options.one}"
    base = [
        f"paths.root={root}",
        f"ingest.source.path={_events(case.shape)}",
        "ingest.source.columns={user: user, item: item, value: rating, timestamp: timestamp}",
        "ingest.source.format=parquet",
        "evaluate.k=[5, 10, 20, 50, 100]",
        "train.refit=false",
        "tracking.backend=none",
        f"spark.master=local[{options.cores}]",
        f"spark.driver_memory={options.driver_memory}",
        *case.settings,
    ]
    log, found = Log([]), []
    config = load_config(overrides=base)
    with lazy_session(config, log) as session:
        prepared = run_stages(config, ["ingest", "split", "train"], Options("base"), log, session)
        found.append(_row("train", prepared.records["train"].seconds, 0))
        wanted = [(f"evaluate {what}", "evaluate", own) for what, own in case.measured.items()]
        wanted.append(("recommend", "recommend", ("recommend.n=100",)))
        for repeat in range(options.repeats):
            for what, stage, own in wanted:
                with _counted(session()) as jobs:
                    made = _once(load_config(overrides=[*base, *own]), stage, root, log, session)
                found.append(_row(what, made, jobs[0]) | {"repeat": repeat})
                say(f"  {found[-1]}")
    return {"rows": found}


def _once(config: Config, stage: str, root: Path, log: Log, session: Any) -> float:
    """Seconds of a stage that was not done before."""
    done = run_stages(config, [stage], Options("again"), log, session).records[stage].seconds
    for folder in root.rglob("again*"):
        shutil.rmtree(folder, ignore_errors=True)
    return done


@contextmanager
def _counted(spark: SparkSession) -> Iterator[list[int]]:
    """The number of jobs that Spark started inside."""
    before, found = _next_job(spark), [0]
    yield found
    found[0] = _next_job(spark) - before


def _next_job(spark: SparkSession) -> int:
    return int(spark._jsc.sc().dagScheduler().numTotalJobs())


def _row(what: str, seconds: float, jobs: int) -> dict[str, Any]:
    return {"what": what, "seconds": seconds, "jobs": jobs}


def _events(shape: Shape) -> Path:
    """The invented interactions with times, in Parquet."""
    folder = CACHE / f"events-{key(shape)}"
    if folder.exists():
        return folder
    making = folder.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    draw = np.random.default_rng(3)
    for file in sorted(saved(shape).iterdir()):
        table = pq.read_table(file)
        times = pa.array(_START + draw.integers(0, _SPAN, size=len(table)))
        pq.write_table(table.append_column("timestamp", times), making / file.name)
    making.rename(folder)
    return folder


def _table(results: dict[str, Any]) -> str:
    rows = [
        [case, row["what"], row.get("repeat", ""), row["seconds"], row["jobs"] or ""]
        for case, answered in results.items()
        for row in answered.get("rows", [{"what": answered.get("error"), "seconds": "", "jobs": 0}])
    ]
    return markdown(["case", "stage", "repeat", "seconds", "jobs"], rows)


if __name__ == "__main__":
    main()
