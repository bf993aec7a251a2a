"""Lists of each user's best unseen items: recsys_spark, MLlib and implicit on the same factors.

The factors are trained once, by implicit on the invented interactions; those are also what each
user has seen. Every system runs in a fresh process; all but MLlib three times, because at first
Spark starts its workers and Java compiles what it runs. Lists of a sample are compared by the
exact scores of their items. Progress goes to stderr, tables in Markdown to stdout, everything to
the JSON file of --out.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from data import CACHE, CASES, Shape, key, read_matrix, saved
from loss import ALPHA, REGULARIZATION
from measure import HERE, answer, machine, markdown, run_child, save, say, warm_kernels
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from systems import session

from recsys_spark.arrow import list_array
from recsys_spark.config import Recommend
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.kernels.topn.inner_product import arrange, top_n
from recsys_spark.pipeline.resumable_write import plan_layout
from recsys_spark.storage.parquet_files import write_parquet
from recsys_spark.topn.catalog import with_factors
from recsys_spark.topn.recommend import make_lists, read_catalog
from recsys_spark.topn.request import ByFactors, Request

Result = dict[str, Any]
ItemIndices = npt.NDArray[np.int64]

_SAMPLE = 500  # users whose lists are compared
_ITERATIONS = 5  # of the training of the factors
_MARGIN = 100  # seen items that MLlib's lists make room for


@dataclass(frozen=True)
class Problem:
    """What one child computes."""

    shape: Shape
    rank: int
    n: int
    cores: int
    driver_memory: str
    batch: int

    @property
    def folder(self) -> Path:
        return CACHE / f"factors-{key(self.shape)}-rank{self.rank}"

    @property
    def sample(self) -> npt.NDArray[np.int64]:
        return np.linspace(0, self.shape.users - 1, _SAMPLE).astype(np.int64)


def main() -> None:
    options = _options()
    problem = _problem(options)
    if options.one:
        answer(lambda: _SYSTEMS[options.one](problem))
        return
    warm_kernels()
    report: Result = {
        "command": " ".join(["python", "benchmarks/topn_vs_peers.py", *sys.argv[1:]]),
        "machine": machine(),
        "case": options.case,
        "results": [],
    }
    for rank in options.ranks:
        prepared = replace(problem, rank=rank)
        _train(prepared)
        for name in options.systems:
            say(f"rank {rank}: {name}")
            arguments = ["--one", name, "--case", options.case, "--ranks", rank, "--n", options.n]
            arguments += ["--times-users", options.times_users, "--cores", options.cores]
            arguments += ["--times-items", options.times_items, "--batch", options.batch]
            threads = {"OPENBLAS_NUM_THREADS": "1"} if name == "implicit_one_blas_thread" else {}
            answered = run_child(Path(__file__), arguments, threads, options.limit_minutes)
            lists = answered.pop("lists", None)
            answered |= {} if lists is None else _compared(prepared, np.array(lists))
            say(f"  {answered}")
            report["results"].append({"system": name, "rank": rank, **answered})
            save(options.out, report)
    print(_table(report["results"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--case", choices=CASES, default="smoke")
    add("--times-users", type=int, default=1, help="so many times the users of the case")
    add("--times-items", type=int, default=1)
    add("--ranks", type=int, nargs="+", default=[64])
    add("--n", type=int, default=100)
    add("--systems", nargs="+", choices=_SYSTEMS, default=list(_SYSTEMS))
    add("--cores", type=int, default=2)
    add("--driver-memory", default="6g")
    add("--batch", type=int, default=4096, help="MLlib's blockSize, and a tenth of implicit's")
    add("--limit-minutes", type=float, default=60, help="a child's time")
    add("--out", type=Path, default=HERE / ".cache" / "topn_vs_peers.json")
    add("--one", choices=_SYSTEMS, help=argparse.SUPPRESS)  # the child's task
    return parser.parse_args()


def _problem(options: argparse.Namespace) -> Problem:
    shape = CASES[options.case]
    shape = replace(
        shape,
        users=shape.users * options.times_users,
        items=shape.items * options.times_items,
        interactions=shape.interactions * options.times_users,
    )
    return Problem(
        shape, options.ranks[0], options.n, options.cores, options.driver_memory, options.batch
    )


def _train(problem: Problem) -> None:
    """Factors in Parquet, columns id and features, once."""
    if problem.folder.exists():
        return
    from implicit.cpu.als import AlternatingLeastSquares

    say(f"training the factors of {problem.folder.name}")
    confidence = read_matrix(saved(problem.shape), problem.shape)
    confidence.data = 1 + ALPHA * confidence.data
    model = AlternatingLeastSquares(
        factors=problem.rank,
        regularization=REGULARIZATION["implicit"],
        iterations=_ITERATIONS,
        num_threads=problem.cores,
        random_state=1,
    )
    model.fit(confidence, show_progress=False)
    making = problem.folder.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for side, factors in (("users", model.user_factors), ("items", model.item_factors)):
        bounds = np.arange(len(factors) + 1) * problem.rank
        content = list_array(bounds, pa.array(factors.ravel()))
        table = pa.table({"id": pa.array(np.arange(len(factors)), pa.int32()), "features": content})
        pq.write_table(table, making / f"{side}.parquet", row_group_size=-(-len(factors) // 8))
    making.rename(problem.folder)


def _matrix(problem: Problem, side: str) -> npt.NDArray[np.float32]:
    column = pq.read_table(problem.folder / f"{side}.parquet")["features"].combine_chunks()
    return column.flatten().to_numpy().reshape(-1, problem.rank)


def _timed(work: Callable[[], Any], repeats: int = 3) -> tuple[list[float], Any]:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        found = work()
        seconds.append(round(time.perf_counter() - started, 2))
    return seconds, found


def _spark(problem: Problem) -> tuple[SparkSession, DataFrame, DataFrame, DataFrame]:
    """The session; factors of users and of items, and seen pairs, all of them cached."""
    spark = session(problem.cores, problem.driver_memory, CACHE / "spark.log")
    paths = [problem.folder / "users.parquet", problem.folder / "items.parquet"]
    frames = [spark.read.parquet(str(path)) for path in [*paths, saved(problem.shape)]]
    parts = 4 * problem.cores
    users, items, seen = (frame.repartition(parts, frame.columns[0]).persist() for frame in frames)
    for frame in (users, items, seen):
        frame.count()
    return spark, users, items, seen


def _ours(problem: Problem) -> Result:
    """The recommend stage: seen items grouped by user, joined, ranked; written to Parquet."""
    spark, users, items, seen = _spark(problem)
    target = problem.folder / "lists"
    ids = items.select(F.col("id"), F.col("id").alias("index"))
    layout = plan_layout(Recommend(n=problem.n), problem.shape.users, problem.cores)

    def lists() -> None:
        every_user = users.select(F.col("id").alias("user_id"), F.col("id").alias("user"))
        catalog = with_factors(read_catalog(seen, ids), items)
        by = ByFactors(users.toDF("id", "factors"))
        request = Request(every_user, catalog, problem.n, ranked_by=by, seen=seen, layout=layout)
        made = make_lists(request)
        shutil.rmtree(target, ignore_errors=True)
        write_parquet(made.of(made.rows), str(target), append=False)

    seconds, _ = _timed(lists)
    found = spark.read.parquet(str(target)).select(
        F.col("user_id").alias("user"), F.col("recommendations.item_id").alias("items")
    )
    return {"seconds": seconds, "lists": _sampled(problem, found)}


def _sampled(problem: Problem, found: DataFrame) -> list[list[int]]:
    """The lists of the sample, by user, filled up with -1."""
    rows = found.where(F.col("user").isin(problem.sample.tolist())).collect()
    lists = {row["user"]: list(row["items"])[: problem.n] for row in rows}
    return [
        (own := lists.get(user, [])) + [-1] * (problem.n - len(own))
        for user in problem.sample.tolist()
    ]


def _kernel(problem: Problem) -> Result:
    """The same search without Spark, on one core: what a task does, and how much is ruled out."""
    users, items = _matrix(problem, "users"), _matrix(problem, "items")
    some = np.array(users[:: max(1, len(users) // 10_000)])
    seen = read_matrix(saved(problem.shape), problem.shape)[:: max(1, len(users) // 10_000)]
    arranged = arrange(items, np.ones(len(items), dtype=bool))
    indptr, positions = seen.indptr.astype(np.int64), seen.indices.astype(np.int32)
    with single_threaded():
        seconds, found = _timed(lambda: top_n(some, arranged, indptr, positions, problem.n))
    return {
        "seconds": seconds,
        "users": len(some),
        "microseconds_a_user": round(seconds[-1] / len(some) * 1e6, 1),
        "share_of_scores_computed": round(found.computed / len(some) / len(items), 4),
    }


def _mllib(problem: Problem, margin: int = 0) -> Result:
    """ALSModel.recommendForAllUsers; with a margin, what was seen is left out by an anti-join."""
    from pyspark.ml.recommendation import ALSModel

    spark, users, items, seen = _spark(problem)
    jvm = spark.sparkContext._jvm.org.apache.spark.ml.recommendation
    java = jvm.ALSModel("topn", problem.rank, users._jdf, items._jdf)
    model = ALSModel(java.setUserCol("user").setItemCol("item").setBlockSize(problem.batch))
    target = problem.folder / "mllib"

    def lists() -> None:
        made = model.recommendForAllUsers(problem.n + margin)
        if margin:
            long = made.select("user", F.inline("recommendations"))
            kept = long.join(seen.select("user", "item"), ["user", "item"], "left_anti")
            pair = F.struct((-F.col("rating")).alias("score"), "item")
            best = kept.groupBy("user").agg(F.sort_array(F.collect_list(pair)).alias("pairs"))
            made = best.select("user", F.slice("pairs", 1, problem.n).alias("recommendations"))
        made.write.mode("overwrite").parquet(str(target))

    seconds, _ = _timed(lists, repeats=1)
    found = spark.read.parquet(str(target))
    short = found.where(F.size("recommendations") < problem.n).count()
    answered: Result = {"seconds": seconds, "short_lists": short}
    if margin:
        column = F.col("recommendations.item").alias("items")
        answered["lists"] = _sampled(problem, found.select("user", column))
    return answered


def _implicit(problem: Problem) -> Result:
    """implicit's recommend, in batches, on all cores; without a file."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=problem.rank, num_threads=problem.cores)
    model.user_factors, model.item_factors = (_matrix(problem, side) for side in ("users", "items"))
    seen: sp.csr_matrix = read_matrix(saved(problem.shape), problem.shape)
    size = 10 * problem.batch

    def lists() -> ItemIndices:
        parts = []
        for first in range(0, problem.shape.users, size):
            users = np.arange(first, min(first + size, problem.shape.users))
            parts.append(model.recommend(users, seen[users], problem.n)[0])
        return np.concatenate(parts)

    seconds, found = _timed(lists)
    return {"seconds": seconds, "lists": found[problem.sample].tolist()}


_SYSTEMS: dict[str, Callable[[Problem], Result]] = {
    "recsys_spark": _ours,
    "kernel": _kernel,
    "implicit": _implicit,
    "implicit_one_blas_thread": _implicit,
    "mllib": _mllib,
    "mllib_anti_join": lambda problem: _mllib(problem, _MARGIN),
}


def _compared(problem: Problem, lists: ItemIndices) -> Result:
    """Whether a system's lists are right: by exact scores, so that ties may be in any order."""
    users, items = _matrix(problem, "users")[problem.sample], _matrix(problem, "items")
    seen = read_matrix(saved(problem.shape), problem.shape)[problem.sample]
    exact = users.astype(np.float64) @ items.astype(np.float64).T
    exact[seen.nonzero()] = -np.inf
    best = -np.sort(-exact, axis=1)[:, : problem.n]
    theirs = np.take_along_axis(exact, np.maximum(lists, 0), axis=1)
    theirs[lists < 0] = -np.inf
    with np.errstate(invalid="ignore"):
        gaps = np.where(best == theirs, 0.0, best - theirs)
    return {"sample": len(lists), "same": int((gaps <= 1e-6).all(axis=1).sum())}


def _table(results: list[Result]) -> str:
    rows = [
        [
            answered["rank"],
            answered["system"],
            *[*answered.get("seconds", ["failed", answered.get("error", "")]), "", ""][:3],
            f"{answered['same']} of {answered['sample']}" if "same" in answered else "",
            answered.get("short_lists", ""),
            answered.get("share_of_scores_computed", ""),
        ]
        for answered in results
    ]
    header = [
        "rank",
        "system",
        "first, s",
        "again, s",
        "third, s",
        "right lists",
        "short",
        "scores computed",
    ]
    return markdown(header, rows)


if __name__ == "__main__":
    main()
