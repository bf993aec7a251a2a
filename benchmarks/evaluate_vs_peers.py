"""What measuring lists costs, beside making them, Spark's RankingEvaluator and ranx.

Every system is a fresh process on the same invented lists and held-out rows, which stay in the
cache. Progress goes to stderr, tables in Markdown to stdout, everything to the JSON file of --out.
Values that two systems give for one metric are compared; the largest difference is reported.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from data import CACHE
from measure import HERE, answer, machine, markdown, run_child, save, say, warm_kernels
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import LongType
from systems import session

from recsys_spark.evaluation import measure_ranking, summarise
from recsys_spark.evaluation.ranking import ranked_lists
from recsys_spark.kernels.metrics.ranking import METRICS
from recsys_spark.topn.catalog import Catalog, Listing
from recsys_spark.topn.distributed import recommend_top_n

Result = dict[str, Any]

CUTOFFS = [5, 10, 20, 50, 100]
# Metrics by the names of the others.
SPARK = {"precision": "precisionAtK", "recall": "recallAtK", "ndcg": "ndcgAtK",
         "map_min": "meanAveragePrecisionAtK"}  # fmt: skip
RANX = {"precision": "precision", "recall": "recall", "f1": "f1", "hit_rate": "hit_rate",
        "mrr": "mrr", "map": "map", "ndcg": "ndcg"}  # fmt: skip
_SEEN, _RELEVANT = 100, 20  # items of a user


def main() -> None:
    options = _options()
    if options.one:
        answer(lambda: _SYSTEMS[options.one](options))
        return
    warm_kernels()
    _saved(options)
    report: Result = {
        "command": " ".join(["python", "benchmarks/evaluate_vs_peers.py", *sys.argv[1:]]),
        "machine": machine(),
        "results": {},
    }
    for name in options.systems:
        say(name)
        arguments = ["--one", name, "--users", options.users, "--items", options.items]
        arguments += ["--rank", options.rank, "--resamples", options.resamples]
        answered = run_child(Path(__file__), [*arguments, "--cores", options.cores], {}, 60)
        say(f"  { ({key: value for key, value in answered.items() if key != 'values'}) }")
        report["results"][name] = answered
        save(options.out, report)
    print(_table(report["results"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--users", type=int, default=138_000)
    add("--items", type=int, default=27_000)
    add("--rank", type=int, default=64, help="of the factors that lists are made of")
    add("--resamples", type=int, default=1000)
    add("--cores", type=int, default=2)
    add("--driver-memory", default="4g")
    add("--systems", nargs="+", choices=_SYSTEMS, default=list(_SYSTEMS))
    add("--out", type=Path, default=HERE / ".cache" / "evaluate.json")
    add("--one", choices=_SYSTEMS, help=argparse.SUPPRESS)  # the child's task
    return parser.parse_args()


def _folder(options: argparse.Namespace) -> Path:
    return CACHE / f"lists-{options.users}x{options.items}"


def _saved(options: argparse.Namespace) -> None:
    """Lists of a hundred, and relevant items of which a part is on them."""
    folder = _folder(options)
    if (folder / "truth.parquet").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(7)
    n = max(CUTOFFS)
    starts = draw.integers(0, options.items, size=options.users)
    steps = np.arange(n) * 131  # so that no item is twice on a list
    lists = (starts[:, None] + steps[None, :]) % options.items
    on_list = lists[np.arange(options.users)[:, None], draw.integers(0, n, (options.users, 8))]
    others = draw.integers(0, options.items, (options.users, _RELEVANT - 8))
    users = np.repeat(np.arange(options.users), _RELEVANT)
    truth = pa.table({"user_id": users, "item_id": np.hstack([on_list, others]).ravel()})
    entries = pa.StructArray.from_arrays(
        [pa.array(lists.ravel()), pa.array(np.tile(np.arange(1, n + 1), options.users))],
        names=["item_id", "rank"],
    )
    offsets = pa.array(np.arange(options.users + 1) * n, pa.int32())
    recommendations = pa.ListArray.from_arrays(offsets, entries)
    table = pa.table({"user_id": np.arange(options.users), "recommendations": recommendations})
    pq.write_table(table, folder / "lists.parquet", row_group_size=options.users // 8)
    distinct = truth.group_by(["user_id", "item_id"]).aggregate([])
    pq.write_table(distinct, folder / "truth.parquet", row_group_size=500_000)


def _session(options: argparse.Namespace) -> SparkSession:
    return session(options.cores, options.driver_memory, CACHE / "spark.log")


def _frames(options: argparse.Namespace) -> tuple[DataFrame, DataFrame]:
    spark, folder = _session(options), _folder(options)
    lists, truth = (folder / f"{name}.parquet" for name in ("lists", "truth"))
    return spark.read.parquet(str(lists)), spark.read.parquet(str(truth))


def _seconds(work: Callable[[], Any], repeats: int = 2) -> tuple[list[float], Any]:
    """Of every repeat, the first of which starts workers and compiles plans."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        found = work()
        seconds.append(round(time.perf_counter() - started, 2))
    return seconds, found


def _make(options: argparse.Namespace) -> Result:
    """The lists themselves: each user's hundred best of the catalog, without what they have."""
    spark, n = _session(options), max(CUTOFFS)
    draw = np.random.default_rng(5)
    items = draw.normal(size=(options.items, options.rank)).astype(np.float32)
    catalog = Catalog(
        np.arange(options.items), pa.array(np.arange(options.items)), LongType(), items,
        np.ones(options.items, dtype=bool), np.zeros(options.items),
    )  # fmt: skip
    users = spark.range(0, options.users, 1, 4 * options.cores).select(
        F.col("id").alias("user_id"),
        F.transform(F.sequence(F.lit(1), F.lit(options.rank)), _noise).alias("factors"),
        F.transform(F.sequence(F.lit(1), F.lit(_SEEN)), lambda at: F.pmod(
            F.xxhash64("id", at), F.lit(options.items))).alias("seen"),
    )  # fmt: skip
    users = users.persist()
    users.count()

    def make() -> None:
        lists = recommend_top_n(users, "user_id", Listing(catalog, n)).frame()
        lists.write.format("noop").mode("overwrite").save()

    return {"seconds": _seconds(make)[0]}


def _noise(at: Any) -> Any:
    return (F.xxhash64("id", at) / F.lit(2.0**63)).cast("float")


def _ours(options: argparse.Namespace) -> Result:
    """All metrics at all cut-offs, by user, then means with intervals for all and four segments."""
    lists, truth = _frames(options)
    segments = lists.select("user_id", F.concat(F.lit("s"), F.col("user_id") % 4).alias("segment"))
    folder = str(_folder(options) / "per_user")

    def per_user() -> None:
        measure_ranking(lists, truth, CUTOFFS).write.mode("overwrite").parquet(folder)

    def means() -> list[Any]:
        saved = lists.sparkSession.read.parquet(folder)
        return summarise(saved, "run", segments, options.resamples).collect()

    measured, _ = _seconds(per_user)
    averaged, rows = _seconds(means)
    values = {f"{r['metric']}@{r['k']}": r["value"] for r in rows if r["segment"] == "all"}
    seconds = [round(sum(pair), 2) for pair in zip(measured, averaged, strict=True)]
    parts = {"by_user": measured, "means_and_intervals": averaged}
    return {"seconds": seconds, "parts": parts, "values": values}


def _spark(options: argparse.Namespace) -> Result:
    """Four metrics at the same cut-offs, each a job, without intervals."""
    from pyspark.ml.evaluation import RankingEvaluator

    lists, truth = _frames(options)
    ranked = ranked_lists(lists, "model").withColumn(
        "prediction", F.col("list").cast("array<double>")
    )
    relevant = truth.groupBy("user_id").agg(
        F.collect_list(F.col("item_id").cast("double")).alias("label")
    )
    frame = ranked.join(relevant, "user_id").select("prediction", "label").persist()
    frame.count()

    def evaluate() -> dict[str, float]:
        return {
            f"{ours}@{k}": RankingEvaluator(metricName=theirs, k=k).evaluate(frame)
            for ours, theirs in SPARK.items()
            for k in CUTOFFS
        }

    seconds, values = _seconds(evaluate)
    return {"seconds": seconds, "values": values}


def _ranx(options: argparse.Namespace) -> Result:
    """Seven metrics at the same cut-offs, from dictionaries in memory, all cores."""
    import ranx

    folder = _folder(options)
    lists, truth = (pq.read_table(folder / f"{name}.parquet") for name in ("lists", "truth"))
    relevant: dict[str, dict[str, int]] = {}
    for user, item in zip(*(truth[name].to_pylist() for name in truth.column_names), strict=True):
        relevant.setdefault(str(user), {})[str(item)] = 1
    ranked = {
        str(row["user_id"]): {str(e["item_id"]): 1 / e["rank"] for e in row["recommendations"]}
        for row in lists.to_pylist()
    }
    started = time.perf_counter()
    qrels, run = ranx.Qrels(relevant), ranx.Run(ranked)
    building = round(time.perf_counter() - started, 2)
    names = {f"{theirs}@{k}": f"{ours}@{k}" for ours, theirs in RANX.items() for k in CUTOFFS}

    def evaluate() -> dict[str, float]:
        found = ranx.evaluate(qrels, run, list(names), threads=options.cores)
        return {names[name]: float(value) for name, value in found.items()}

    seconds, values = _seconds(evaluate)
    return {"seconds": seconds, "parts": {"building": building}, "values": values}


_SYSTEMS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "making the lists": _make,
    "measure_ranking, summarise": _ours,
    "RankingEvaluator": _spark,
    "ranx": _ranx,
}


def _table(results: dict[str, Result]) -> str:
    ours = results.get("measure_ranking, summarise", {}).get("values", {})
    rows = []
    for name, answered in results.items():
        values = answered.get("values", {})
        gap = max(
            (abs(ours[key] - value) for key, value in values.items() if key in ours), default=0
        )
        seconds = answered.get("seconds", ["failed", answered.get("error", "")])
        metrics = f"{len(values)} of {len(METRICS) * len(CUTOFFS)}" if values else ""
        rows.append([name, *seconds, metrics, f"{gap:.1e}" if values and values is not ours else "",
                     answered.get("parts", "")])  # fmt: skip
    header = ["", "first, s", "again, s", "metrics at cut-offs", "largest difference", "parts, s"]
    return markdown(header, rows)


if __name__ == "__main__":
    main()
