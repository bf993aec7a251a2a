"""The systems that are compared, each as a function that trains for so many iterations.

What `prepare` does is not timed: the session, the input cached in Spark, or in memory as a
sparse matrix. What the trainer does is timed: everything from that input to factors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp
from loss import ALPHA, REGULARIZATION, Penalty
from pyspark.sql import DataFrame, SparkSession

from recsys_spark import WALS
from recsys_spark.config import Spark
from recsys_spark.kernels.als.spec import PRESETS
from recsys_spark.runtime.session import open_session

Factors = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
Trainer = Callable[[int], Callable[[], Factors]]
"""Trains for so many iterations; what it returns collects the factors of users and items."""

PENALTY: dict[str, Penalty] = {
    "wals": "mllib",
    "mllib": "mllib",
    "wals_as_implicit": "implicit",
    "implicit_cholesky": "implicit",
    "implicit_cg": "implicit",
}
"""The objective that each system minimises; values compare within an objective only."""

_INIT_SCALE = PRESETS["hu2008"].init_scale
_WALS_OBJECTIVES: dict[str, dict[str, Any]] = {
    "wals": {"objective": "mllib", "regParam": REGULARIZATION["mllib"]},
    "wals_as_implicit": {"objective": "hu2008", "regParam": REGULARIZATION["implicit"]},
}


@dataclass(frozen=True)
class Setting:
    """One child's task; `system` may name a solver of WALS after a colon."""

    system: str
    rank: int
    seed: int
    cores: int
    driver_memory: str
    mllib_blocks: int
    implicit_start: str
    data: Path

    @property
    def name(self) -> str:
        return self.system.partition(":")[0]

    @property
    def solver(self) -> str:
        return self.system.partition(":")[2]


def prepare(setting: Setting, matrix: sp.csr_matrix) -> tuple[Trainer, dict[str, Any]]:
    """The system's trainer, and notes on what it runs on."""
    if setting.name.startswith("implicit"):
        return _implicit(setting, matrix)
    spark = session(setting.cores, setting.driver_memory, setting.data.parent / "spark.log")
    ratings = spark.read.parquet(str(setting.data)).repartition(2 * setting.cores).persist()
    ratings.count()
    if setting.name == "mllib":
        return _mllib(setting, ratings, matrix.shape)
    return _wals(setting, ratings, matrix.shape)


def session(cores: int, driver_memory: str, log_file: Path) -> SparkSession:
    """The project's own session on this machine's cores."""
    config = Spark(master=f"local[{cores}]", driver_memory=driver_memory, app_name="benchmark")
    spark = open_session(config, log_file)
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _wals(
    setting: Setting, ratings: DataFrame, shape: tuple[int, int]
) -> tuple[Trainer, dict[str, Any]]:
    def train(iterations: int) -> Callable[[], Factors]:
        estimator = WALS(
            rank=setting.rank,
            maxIter=iterations,
            alpha=ALPHA,
            seed=setting.seed,
            **_WALS_OBJECTIVES[setting.name],
        )
        if setting.solver:
            estimator.set(estimator.getParam("solver"), setting.solver)
        return _materialised(estimator.fit(ratings), shape)

    return train, {}


def _mllib(
    setting: Setting, ratings: DataFrame, shape: tuple[int, int]
) -> tuple[Trainer, dict[str, Any]]:
    from pyspark.ml.recommendation import ALS

    def train(iterations: int) -> Callable[[], Factors]:
        estimator = ALS(
            implicitPrefs=True,
            rank=setting.rank,
            maxIter=iterations,
            alpha=ALPHA,
            regParam=REGULARIZATION["mllib"],
            seed=setting.seed,
            numUserBlocks=setting.mllib_blocks,
            numItemBlocks=setting.mllib_blocks,
        )
        return _materialised(estimator.fit(ratings), shape)

    return train, {"blocks": setting.mllib_blocks, **mllib_linear_algebra(ratings.sparkSession)}


def _materialised(model: Any, shape: tuple[int, int]) -> Callable[[], Factors]:
    model.userFactors.count()
    model.itemFactors.count()
    return lambda: (_dense(model.userFactors, shape[0]), _dense(model.itemFactors, shape[1]))


def _dense(factors: DataFrame, size: int) -> npt.NDArray[np.float32]:
    """Factors by id; zeros for the ids that have no interactions."""
    table: pa.Table = factors.toArrow()
    values = table["features"].combine_chunks().flatten().to_numpy()
    out = np.zeros((size, len(values) // len(table)), dtype=np.float32)
    out[table["id"].to_numpy()] = values.reshape(len(table), -1)
    return out


def mllib_linear_algebra(spark: SparkSession) -> dict[str, str]:
    """The classes that MLlib's ALS adds up (BLAS) and solves (LAPACK) its equations with.

    dev.ludovic.netlib's JNI... is native, Vector... Java's vector instructions, F2j... plain Java.
    """
    jvm = spark.sparkContext._jvm
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()

    def scala_object(name: str) -> Any:
        return loader.loadClass(f"{name}$").getField("MODULE$").get(None)

    blas = scala_object("org.apache.spark.ml.linalg.BLAS").nativeBLAS()
    lapack = scala_object("org.apache.spark.mllib.linalg.LAPACK").nativeLAPACK()
    return {"blas": blas.getClass().getName(), "lapack": lapack.getClass().getName()}


def _implicit(setting: Setting, matrix: sp.csr_matrix) -> tuple[Trainer, dict[str, Any]]:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_info

    confidence = matrix.copy()
    confidence.data = 1 + ALPHA * confidence.data

    def train(iterations: int) -> Callable[[], Factors]:
        model = AlternatingLeastSquares(
            factors=setting.rank,
            regularization=REGULARIZATION["implicit"],
            iterations=iterations,
            use_cg=setting.name == "implicit_cg",
            num_threads=setting.cores,
            random_state=setting.seed,
        )
        if setting.implicit_start == "normal":
            model.user_factors, model.item_factors = _normal_start(setting, matrix.shape)
        model.fit(confidence, show_progress=False)
        return lambda: (model.user_factors, model.item_factors)

    blas = {entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}
    notes = {"threads": setting.cores, "blas_threads": sorted(blas)}
    return train, {**notes, "start": setting.implicit_start}


def _normal_start(setting: Setting, shape: tuple[int, int]) -> list[npt.NDArray[np.float32]]:
    """Factors from the distribution that WALS starts from, in place of uniform [0, 0.01)."""
    random = np.random.default_rng(setting.seed)
    scale = np.float32(_INIT_SCALE / np.sqrt(setting.rank))
    return [
        scale * random.standard_normal((size, setting.rank), dtype=np.float32) for size in shape
    ]
