"""Training time and final loss of WALS, MLlib and implicit on one implicit-feedback objective.

MLlib's objective (w0 = 1, a = alpha r, L = lambda n) for WALS and MLlib; implicit has a constant L,
so its loss is not comparable and only its time is reported. The loss is computed by one function.
"""

import argparse
import json
import os
import platform
import sys
import time
from typing import Any

import numpy as np
import scipy.sparse as sp
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession
from threadpoolctl import threadpool_limits

from recsys_spark import WALS
from recsys_spark.config import Generate
from recsys_spark.stages.generate import generate


def main() -> None:
    options = _options()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.master(f"local[{options.cores}]")
        .config("spark.ui.showConsoleProgress", False)
        .config("spark.driver.memory", "8g")
        .config("spark.executorEnv.OPENBLAS_NUM_THREADS", "1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    ratings = _ratings(spark, options).persist()
    columns = ratings.toArrow()
    matrix = sp.csr_matrix(
        (columns["rating"], (columns["user"], columns["item"])), dtype=np.float32
    )
    systems = {"wals": _wals, "mllib": _mllib, "implicit": _implicit}
    results = [
        {"system": name, "repeat": repeat, **run(ratings, matrix, options)}
        for repeat in range(options.repeats)
        for name, run in systems.items()
    ]
    machine = {"cpu": platform.processor(), "cores": options.cores, "python": sys.version}
    print(json.dumps({"machine": machine, "case": vars(options), "results": results}, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("users", 20_000),
        ("items", 5_000),
        ("interactions", 1_000_000),
        ("rank", 64),
        ("iterations", 10),
        ("cores", 2),
        ("repeats", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def _ratings(spark: SparkSession, options: argparse.Namespace) -> DataFrame:
    config = Generate(
        users=options.users,
        items=options.items,
        interactions=options.interactions,
        kind="implicit",
    )
    return generate(spark, config).ratings.selectExpr(
        "cast(substring(user_id, 2) as int) user",
        "cast(substring(item_id, 2) as int) item",
        "cast(rating as float) rating",
    )


def _wals(ratings: DataFrame, matrix: sp.csr_matrix, options: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    model = WALS(objective="mllib", rank=options.rank, maxIter=options.iterations).fit(ratings)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "loss": _loss(model, matrix)}


def _mllib(
    ratings: DataFrame, matrix: sp.csr_matrix, options: argparse.Namespace
) -> dict[str, Any]:
    started = time.perf_counter()
    model = ALS(
        rank=options.rank,
        maxIter=options.iterations,
        implicitPrefs=True,
        userCol="user",
        itemCol="item",
        numUserBlocks=options.cores,
        numItemBlocks=options.cores,
    ).fit(ratings)
    model.userFactors.count()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "loss": _loss(model, matrix)}


def _implicit(
    _ratings: DataFrame, matrix: sp.csr_matrix, options: argparse.Namespace
) -> dict[str, Any]:
    from implicit.cpu.als import AlternatingLeastSquares

    confidence = matrix.copy()
    confidence.data = 1 + confidence.data
    started = time.perf_counter()
    with threadpool_limits(1, "blas"):  # implicit's own threads are the parallelism
        AlternatingLeastSquares(
            factors=options.rank,
            iterations=options.iterations,
            use_cg=False,
            num_threads=options.cores,
        ).fit(confidence, show_progress=False)
    return {"seconds": time.perf_counter() - started}


def _loss(model: Any, matrix: sp.csr_matrix, alpha: float = 1.0, reg: float = 0.1) -> float:
    """MLlib's implicit objective in double precision, from a model's factor tables."""
    X = _dense(model.userFactors, matrix.shape[0])
    Y = _dense(model.itemFactors, matrix.shape[1])
    rows, cols = matrix.nonzero()
    predictions = np.einsum("nd,nd->n", X[rows], Y[cols])
    weight = 1 + alpha * matrix.data.astype(np.float64)
    everywhere = np.sum((X.T @ X) * (Y.T @ Y))
    observed = np.sum(weight * (predictions - 1) ** 2) + everywhere - np.sum(predictions**2)
    penalty = np.bincount(rows, minlength=len(X)) @ np.square(X).sum(axis=1)
    penalty += np.bincount(cols, minlength=len(Y)) @ np.square(Y).sum(axis=1)
    return float(observed + reg * penalty)


def _dense(factors: DataFrame, size: int) -> np.ndarray:
    table = factors.toArrow()
    vectors = np.stack(table["features"].to_numpy()).astype(np.float64)
    out = np.zeros((size, vectors.shape[1]))
    out[table["id"].to_numpy()] = vectors
    return out


if __name__ == "__main__":
    main()
