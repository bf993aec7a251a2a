"""Microseconds a row of the exact solver and of conjugate gradients, on one core without Spark.

Beside them stands what `choose_solver` believes, so that its constants can be checked and set anew.
A table in Markdown goes to stdout, everything to the JSON file of --out.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import HERE, machine, markdown, save, say, warm_kernels

from recsys_spark.kernels.als.csr import Csr
from recsys_spark.kernels.als.solve import Fixed, Problem, fix, gram, solve_rows
from recsys_spark.kernels.als.solver import Solver, row_seconds
from recsys_spark.kernels.threads import single_threaded

_COLUMNS = 30_000
_FLOPS = 5e9  # of about one measurement
_METHODS = Solver("cholesky"), Solver("cg")


def main() -> None:
    options = _options()
    warm_kernels()
    results = []
    with single_threaded():
        for rank in options.ranks:
            fixed, last = _side(rank)
            for length in options.lengths:
                say(f"rank {rank}, rows of {length}")
                results.append(_measure(rank, length, fixed, last, options.repeats))
    command = " ".join(["python", "benchmarks/solvers.py", *sys.argv[1:]])
    save(options.out, {"command": command, "machine": machine(), "results": results})
    print(_table(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--ranks", type=int, nargs="+", default=[16, 32, 64, 128, 256, 512, 1024])
    add("--lengths", type=int, nargs="+", default=[4, 16, 64, 128, 256, 512, 1024, 4096])
    add("--repeats", type=int, default=3, help="the fastest counts")
    add("--out", type=Path, default=HERE / ".cache" / "solvers.json")
    return parser.parse_args()


def _side(rank: int) -> tuple[Fixed, np.ndarray[Any, np.dtype[np.float32]]]:
    """A fixed side, and factors to begin from, which any row may have."""
    random = np.random.default_rng(rank)
    factors = (random.standard_normal((_COLUMNS, rank)) / rank).astype(np.float32)
    return fix(factors, gram(factors)), factors


def _measure(rank: int, length: int, fixed: Fixed, last: Any, repeats: int) -> dict[str, Any]:
    short, long = min(rank, length), max(rank, length)
    rows = int(np.clip(_FLOPS / (short**2 * long + short**3), 16, 20_000))
    problem = _problem(rows, length)
    answered: dict[str, Any] = {"rank": rank, "length": length, "rows": rows}
    for solver in _METHODS:
        spent = []
        for _ in range(repeats):
            before = time.process_time()
            solve_rows(problem, fixed, solver, last[:rows], loss=False)
            spent.append((time.process_time() - before) / rows * 1e6)
        believed = row_seconds(solver, rank, np.array([length]))[0] * 1e6
        answered[solver.method] = {"measured": min(spent), "believed": believed}
    return answered


def _problem(rows: int, length: int) -> Problem:
    random = np.random.default_rng(rows)
    cols = random.integers(0, _COLUMNS, rows * length, dtype=np.int32)
    ones = np.ones(rows * length, np.float32)
    entries = Csr(np.arange(rows + 1) * length, cols, ones, ones)
    return Problem(entries, np.full(rows, 0.1), np.full(rows, 0.5))


def _table(results: list[dict[str, Any]]) -> str:
    header = ["rank", "row", "cholesky, us", "believed", "cg, us", "believed"]
    header += ["cholesky / cg", "believed"]
    return markdown(header, [_row(result) for result in results])


def _row(result: dict[str, Any]) -> list[object]:
    exact, by_cg = result["cholesky"], result["cg"]
    row = [result["rank"], result["length"]]
    row += [_number(each[k]) for each in (exact, by_cg) for k in ("measured", "believed")]
    return row + [_number(exact[k] / by_cg[k]) for k in ("measured", "believed")]


def _number(value: float) -> str:
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
