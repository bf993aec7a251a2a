"""Training time and final objective of WALS, pyspark.ml ALS and implicit on the same data.

Every (system, rank, repeat) runs in a fresh process, the systems in turn. Progress goes to
stderr, tables in Markdown to stdout, everything to the JSON file of --out.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from data import CASES, read_matrix, saved
from loss import ALPHA, REGULARIZATION, objective
from measure import (
    HERE,
    answer,
    cpu_seconds,
    machine,
    markdown,
    run_child,
    save,
    say,
    stolen_seconds,
    warm_kernels,
)
from systems import PENALTY, Setting, Trainer, prepare

from recsys_spark import WALS

Result = dict[str, Any]

_NIGHT = 15  # iterations of an ordinary training
_EXACT_PEERS = {"mllib": "mllib", "implicit": "implicit_cholesky"}


def main() -> None:
    options = _options()
    if options.one:
        answer(lambda: _one(options))
        return
    warm_kernels()
    saved(CASES[options.case])
    report: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/train_vs_peers.py", *sys.argv[1:]]),
        "machine": machine(),
        "case": {"name": options.case, **asdict(CASES[options.case])},
        "objective": {"alpha": ALPHA, "regularization": REGULARIZATION},
        "iterations": options.iterations,
        "results": [],
    }
    for rank, repeat, system in _children(options):
        say(f"rank {rank}, repeat {repeat}: {system}")
        result = _run(options, rank, repeat, system)
        say(f"  {_brief(result)}")
        report["results"].append(result)
        save(options.out, report)
    print(_tables(report["results"]))
    for note in _notes(report["results"]):
        print(f"\n{note}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--case", choices=CASES, default="smoke")
    add("--ranks", type=int, nargs="+", default=[64])
    add("--systems", nargs="+", choices=PENALTY, default=list(PENALTY))
    add("--solver", nargs="+", default=[""], help="solvers of WALS to compare; none: its own")
    add("--iterations", type=int, default=15, help="of the cold, end-to-end fit")
    add("--sweeps", type=int, nargs="+", default=[1, 5], help="iterations of the warm fits")
    add("--repeats", type=int, default=3)
    add("--cores", type=int, default=2)
    add("--driver-memory", default="8g")
    add("--mllib-blocks", type=int, help="blocks a side of MLlib; by default, the cores")
    add("--mllib-libraries", default="", help="folders of libblas.so.3 and liblapack.so.3")
    add("--implicit-start", choices=["own", "normal"], default="own", help="normal: as WALS")
    add("--limit-minutes", type=float, default=180, help="a child's time")
    add("--out", type=Path, default=HERE / ".cache" / "train_vs_peers.json")
    add("--one", help=argparse.SUPPRESS)  # the child's system
    add("--seed", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if any(options.solver) and not WALS().hasParam("solver"):
        parser.error("--solver: this version of WALS has one solver, and no such parameter")
    return options


def _children(options: argparse.Namespace) -> Iterator[tuple[int, int, str]]:
    for rank in options.ranks:
        for repeat in range(1, options.repeats + 1):
            for name in options.systems:
                for solver in options.solver if name.startswith("wals") else [""]:
                    yield rank, repeat, f"{name}:{solver}" if solver else name


def _run(options: argparse.Namespace, rank: int, repeat: int, system: str) -> Result:
    arguments = ["--one", system, "--ranks", rank, "--seed", repeat, "--case", options.case]
    arguments += ["--iterations", options.iterations, "--sweeps", *options.sweeps]
    arguments += ["--cores", options.cores, "--driver-memory", options.driver_memory]
    arguments += ["--mllib-blocks", options.mllib_blocks or options.cores]
    arguments += ["--implicit-start", options.implicit_start]
    environment = _environment(system, options.mllib_libraries)
    script = Path(__file__)
    answered = run_child(script, arguments, environment, options.limit_minutes)
    return {"system": system, "rank": rank, "repeat": repeat, **answered}


def _environment(system: str, libraries: str) -> dict[str, str]:
    """implicit's and MLlib's own threads are the parallelism: their BLAS has one thread."""
    if system.startswith("wals"):
        return {}
    threads = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if system == "mllib" and libraries:
        inherited = os.environ.get("LD_LIBRARY_PATH", "")
        return {**threads, "LD_LIBRARY_PATH": os.pathsep.join([libraries, inherited])}
    return threads


def _one(options: argparse.Namespace) -> Result:
    """The child: a cold fit, then warm ones, then the objective of all of them."""
    shape = CASES[options.case]
    setting = Setting(
        system=options.one,
        rank=options.ranks[0],
        seed=options.seed,
        cores=options.cores,
        driver_memory=options.driver_memory,
        mllib_blocks=options.mllib_blocks,
        implicit_start=options.implicit_start,
        data=saved(shape),
    )
    matrix = read_matrix(setting.data, shape)
    train, notes = prepare(setting, matrix)
    cold, *warm = (
        _fit(train, iterations, setting, matrix)
        for iterations in (options.iterations, *options.sweeps)
    )
    slope, rest = _line(warm, "seconds")
    cpu_slope, cpu_rest = _line(warm, "cpu_seconds")
    return {
        "minimises": PENALTY[setting.name],
        "fit_seconds": cold["seconds"],
        "objective": cold["objective"],
        "seconds_per_iteration": slope,
        "other_seconds": rest,
        "cpu_seconds_per_iteration": cpu_slope,
        "other_cpu_seconds": cpu_rest,
        "cpu_seconds": cold["cpu_seconds"],
        "stolen_seconds": sum(fit["stolen_seconds"] for fit in (cold, *warm)),
        "warm": warm,
        "notes": notes,
    }


def _fit(train: Trainer, iterations: int, setting: Setting, matrix: Any) -> Result:
    before = time.perf_counter(), cpu_seconds(os.getpid()), stolen_seconds()
    collect = train(iterations)
    after = time.perf_counter(), cpu_seconds(os.getpid()), stolen_seconds()
    spent = dict(
        zip(("seconds", "cpu_seconds", "stolen_seconds"), np.subtract(after, before), strict=True)
    )
    value = objective(matrix, *collect(), PENALTY[setting.name])
    return {"iterations": iterations, **spent, "objective": value}


def _line(warm: Sequence[Result], clock: str) -> tuple[float | None, float | None]:
    """Seconds an iteration, and those that do not depend on their number, by least squares."""
    x = [fit["iterations"] for fit in warm]
    if len(set(x)) < 2:
        return None, None
    slope, rest = np.polyfit(x, [fit[clock] for fit in warm], 1)
    return float(slope), float(rest)


def _brief(result: Result) -> str:
    if "error" in result:
        return str(result["error"])
    iteration = result["seconds_per_iteration"]
    return f"{result['fit_seconds']:.1f} s, {_number(iteration)} s an iteration"


def _tables(results: Sequence[Result]) -> str:
    good = [result for result in results if "error" not in result]
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for result in sorted(good, key=lambda r: (r["minimises"] != "mllib", r["rank"])):
        name = (result["minimises"], result["rank"], result["system"])
        groups.setdefault(name, []).append(result)
    tables = [_fit_table(groups)]
    if any(len(result["warm"]) > 2 for result in good):
        tables += [_curve_table(groups), _target_table(groups)]
    return "\n\n".join(tables)


def _notes(results: Sequence[Result]) -> list[str]:
    """What the systems ran on, and what failed."""
    runs_on = {
        f"{result['system']}: " + ", ".join(f"{k} {v}" for k, v in result["notes"].items())
        for result in results
        if result.get("notes")
    }
    failed = [
        f"{result['system']}, rank {result['rank']}, repeat {result['repeat']} failed: "
        f"{result['error']}"
        for result in results
        if "error" in result
    ]
    return [*sorted(runs_on), *failed]


def _fit_table(groups: dict[tuple[str, int, str], list[Result]]) -> str:
    header = ["objective", "rank", "system", "fit, s", "least..most", "beside WALS"]
    header += ["s/iteration", "other, s", f"{_NIGHT} iterations, s"]
    header += ["cpu s/iteration", "cpu other, s", f"{_NIGHT} iterations, cpu s"]
    header += ["stolen, s", "objective's value"]
    header += ["JVM, MiB", "workers", "driver"]
    rows = []
    for (minimises, rank, system), runs in groups.items():
        fits = [run["fit_seconds"] for run in runs]
        own = _wals_seconds(groups, minimises, rank)
        beside = f"{median(fits) / own:.2f}" if own else ""
        row = [minimises, rank, system, f"{median(fits):.1f}", f"{min(fits):.1f}..{max(fits):.1f}"]
        row.append(beside)
        for clock in ("seconds", "cpu_seconds"):
            each, rest = f"{clock}_per_iteration", f"other_{clock}"
            row += [_middle(runs, each), _middle(runs, rest), _number(_on_line(runs, each, rest))]
        row.append(f"{median(run['stolen_seconds'] for run in runs):.0f}")
        row.append(f"{median(run['objective'] for run in runs):.8g}")
        row += [_peak(runs, kind) for kind in ("jvm", "workers", "driver")]
        rows.append(row)
    return markdown(header, rows)


def _wals_seconds(
    groups: dict[tuple[str, int, str], list[Result]], minimises: str, rank: int
) -> float | None:
    """Seconds of the first system of ours with this objective and rank."""
    for (objective_of, rank_of, system), runs in groups.items():
        if (objective_of, rank_of) == (minimises, rank) and system.startswith("wals"):
            return median(run["fit_seconds"] for run in runs)
    return None


def _middle(runs: Sequence[Result], field: str) -> str:
    values = [run[field] for run in runs if run[field] is not None]
    return _number(median(values) if values else None)


def _on_line(runs: Sequence[Result], each: str, rest: str) -> float | None:
    """Seconds of a warm fit of so many iterations, by the line through the shorter ones."""
    seconds = [run[rest] + _NIGHT * run[each] for run in runs if run[each] is not None]
    return median(seconds) if seconds else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _peak(runs: Sequence[Result], kind: str) -> object:
    return max(run["peak_mib"].get(kind, 0) for run in runs) or ""


def _curve_table(groups: dict[tuple[str, int, str], list[Result]]) -> str:
    """The objective after each number of iterations, and the seconds of that warm fit."""
    header = ["objective", "rank", "system", "iterations", "seconds", "objective's value"]
    rows = [
        [*name, iterations, f"{seconds:.2f}", f"{value:.8g}"]
        for name, runs in groups.items()
        for iterations, seconds, value in _curve(runs)
    ]
    return markdown(header, rows)


def _curve(runs: Sequence[Result]) -> list[tuple[int, float, float]]:
    """Iterations, seconds and objective of the warm fits; medians over the repeats."""
    return [
        (
            fits[0]["iterations"],
            median(fit["seconds"] for fit in fits),
            median(fit["objective"] for fit in fits),
        )
        for fits in zip(*(run["warm"] for run in runs), strict=True)
    ]


def _target_table(groups: dict[tuple[str, int, str], list[Result]]) -> str:
    """When each system is as low as the exact peer after its last warm fit."""
    header = ["objective", "rank", "system", "target", "iterations", "seconds", "iterating, s"]
    rows: list[list[object]] = []
    for (minimises, rank, system), runs in groups.items():
        reference = groups.get((minimises, rank, _EXACT_PEERS[minimises]))
        if reference:
            target = _curve(reference)[-1][2]
            row = [minimises, rank, system, f"{target:.8g}"]
            rows.append(row + _reached(runs, target))
    return markdown(header, rows)


def _reached(runs: Sequence[Result], target: float) -> list[object]:
    for iterations, seconds, value in _curve(runs):
        if value <= target:
            slope = median(run["seconds_per_iteration"] for run in runs)
            return [iterations, f"{seconds:.2f}", f"{iterations * slope:.2f}"]
    return ["not reached", "", ""]


if __name__ == "__main__":
    main()
