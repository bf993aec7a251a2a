"""`WALS`: the Spark ML estimator, a drop-in for `pyspark.ml.recommendation.ALS`."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark import keyword_only
from pyspark.ml import Estimator
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.als import parquet_spill
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.trainer import Factorization, fit_factors
from recsys_spark.ml.columns import id_type, whole_ids
from recsys_spark.ml.model import WALSModel
from recsys_spark.ml.params import EstimatorParams
from recsys_spark.spark_internals import with_uid


class WALS(
    Estimator[WALSModel], EstimatorParams, DefaultParamsReadable["WALS"], DefaultParamsWritable
):
    """Weighted alternating least squares with any of the published objectives.

    `WALS(objective="ials", rank=64, maxIter=15, regParam=0.003, unobservedWeight=0.1,
    userCol="user", itemCol="item", ratingCol="rating")`; `objective="mllib"` gives MLlib's
    implicit result and `objective="mllib_explicit"` its explicit one; docs/objectives.md has the
    other presets. Ids are whole numbers of any numeric type. Parameters that the objective does not
    use are refused, and so are those that only MLlib has, naming their counterpart.
    """

    @keyword_only
    def __init__(
        self,
        *,
        objective: str = "ials",
        rank: int | None = None,
        maxIter: int | None = None,
        unobservedWeight: float | None = None,
        userUnobservedExponent: float | None = None,
        itemUnobservedExponent: float | None = None,
        weighting: str | None = None,
        alpha: float | None = None,
        epsilon: float | None = None,
        exponent: float | None = None,
        bm25K1: float | None = None,
        bm25B: float | None = None,
        userFrequencyExponent: float | None = None,
        itemFrequencyExponent: float | None = None,
        halfLifeDays: float | None = None,
        decayReference: str | None = None,
        minPositiveValue: float | None = None,
        negativeAlpha: float | None = None,
        confidence: str | None = None,
        target: str | None = None,
        regParam: float | None = None,
        userRegParam: float | None = None,
        itemRegParam: float | None = None,
        nu: float | None = None,
        beta: float | None = None,
        counted: str | None = None,
        nuStar: float | None = None,
        biases: str | None = None,
        biasDamping: float | None = None,
        clip: list[float] | None = None,
        order: str | None = None,
        init: str | None = None,
        initScale: float | None = None,
        nonnegative: bool | None = None,
        seed: int | None = None,
        userCol: str = "user",
        itemCol: str = "item",
        ratingCol: str = "rating",
        weightCol: str | None = None,
        targetCol: str | None = None,
        timestampCol: str | None = None,
        predictionCol: str = "prediction",
        coldStartStrategy: str = "nan",
        numItems: int = 0,
        recommendationsCol: str = "recommendations",
        numBlocks: int = 0,
        solver: str = "auto",
        cgSteps: int | None = None,
        subspaceBlock: int | None = None,
        placement: str = "auto",
        **others: Any,
    ) -> None:
        super().__init__()
        self._set_given(self._input_kwargs)

    @keyword_only
    def setParams(self, **kwargs: Any) -> "WALS":
        """Set the same parameters as the constructor takes."""
        return self._set_given(self._input_kwargs)

    def _set_given(self, kwargs: dict[str, Any]) -> "WALS":
        given = {
            key: value
            for key, value in kwargs.items()
            if value is not None or not self.hasParam(key)
        }
        return self._set(**given)

    def fitFrom(self, dataset: DataFrame, model: WALSModel) -> WALSModel:
        """Fit, beginning with the factors of an earlier model instead of random ones.

        They are taken over by id: new ids are initialised, ids without rows are dropped. Far fewer
        iterations than in a first fit will do. Raises ConfigError if the model's vectors are not
        as long as this objective's, else what `fit` does.
        """
        start = Factorization(model.known("user"), model.known("item"))
        return self._trained(dataset, start)

    def _fit(self, dataset: DataFrame) -> WALSModel:
        return self._trained(dataset, None)

    def _trained(self, dataset: DataFrame, start: Factorization | None) -> WALSModel:
        spec = self.spec()
        spark = dataset.sparkSession
        with _folder(spark) as folder:
            blocks, placement = (
                self.getOrDefault("numBlocks") or None,
                self.getOrDefault("placement"),
            )
            plan = Plan(blocks, solver=self.row_solver(), placement=placement, folder=folder)
            trained = fit_factors(self._ratings(dataset), spec, plan, start=start)
        names = [self.getOrDefault(name) for name in ("userCol", "itemCol")]
        user, item = (id_type(dataset.schema[name].dataType) for name in names)
        model = WALSModel.from_factorization(spark, trained, user, item, spec)
        pairs = (whole_ids(dataset, name) for name in names)
        model.known_pairs = dataset.select(*pairs).toDF("user", "item")
        return self._copyValues(with_uid(model, self.uid))


@contextmanager
def _folder(spark: SparkSession) -> Iterator[str | None]:
    """A folder of this fit's own in the checkpoint directory, if the context has one.

    What stays in it are the factors of the sharded placement, read as long as the model is.
    """
    directory = spark.sparkContext.getCheckpointDir()
    if directory is None:
        yield None
        return
    folder = f"{directory}/wals-{uuid.uuid4().hex}"
    try:
        yield folder
    except BaseException:
        parquet_spill.delete(spark, folder)
        raise
    parquet_spill.delete_empty(spark, folder)
