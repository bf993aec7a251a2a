"""`WALS`: the Spark ML estimator, a drop-in for `pyspark.ml.recommendation.ALS`."""

from typing import Any

from pyspark import StorageLevel, keyword_only
from pyspark.ml import Estimator
from pyspark.ml.param import Param
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.wals.fit import Plan, fit_factors
from recsys_spark.wals.model import WALSModel
from recsys_spark.wals.params import EstimatorParams


class WALS(
    Estimator[WALSModel], EstimatorParams, DefaultParamsReadable["WALS"], DefaultParamsWritable
):
    """Weighted alternating least squares with any of the published objectives.

    `WALS(objective="ials", rank=64, maxIter=15, regParam=0.003, unobservedWeight=0.1,
    userCol="user", itemCol="item", ratingCol="rating")`; `objective="mllib"` gives MLlib's
    implicit result and `objective="explicit"` its explicit one. Ids are whole numbers of any
    size. Parameters that the objective does not use are refused.
    """

    @keyword_only
    def __init__(
        self,
        *,
        objective: str = "ials",
        rank: int | None = None,
        maxIter: int | None = None,
        regParam: float | None = None,
        unobservedWeight: float | None = None,
        weighting: str | None = None,
        alpha: float | None = None,
        epsilon: float | None = None,
        nu: float | None = None,
        beta: float | None = None,
        nonnegative: bool | None = None,
        seed: int | None = None,
        userCol: str = "user",
        itemCol: str = "item",
        ratingCol: str = "rating",
        predictionCol: str = "prediction",
        coldStartStrategy: str = "nan",
        numBlocks: int = 0,
    ) -> None:
        super().__init__()
        self._set_given(self._input_kwargs)

    @keyword_only
    def setParams(self, **kwargs: Any) -> "WALS":
        """Set the same parameters as the constructor takes."""
        return self._set_given(self._input_kwargs)

    def _set_given(self, kwargs: dict[str, Any]) -> "WALS":
        return self._set(**{key: value for key, value in kwargs.items() if value is not None})

    def __getattr__(self, name: str) -> Any:
        """`setRank` and its like, one for each parameter, as MLlib's estimator has them."""
        param = name[3:4].lower() + name[4:]
        if name.startswith("set") and isinstance(getattr(type(self), param, None), Param):
            return lambda value: self._set(**{param: value})
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _fit(self, dataset: DataFrame) -> WALSModel:
        spec = self.spec()
        user, item, rating = (
            self.getOrDefault(name) for name in ("userCol", "itemCol", "ratingCol")
        )
        self._require_ids(dataset, user, item)
        self._require_columns(dataset, *([rating] if rating else []))
        value = F.col(rating).cast("double") if rating else F.lit(1.0)
        ratings = dataset.select(
            F.col(user).alias("user"), F.col(item).alias("item"), value.alias("value")
        ).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            trained = fit_factors(ratings, spec, Plan(self.getOrDefault("numBlocks") or None))
        finally:
            ratings.unpersist()
        types = {name: dataset.schema[name].dataType for name in (user, item)}
        model = WALSModel.from_factorization(
            dataset.sparkSession, trained, types[user], types[item]
        )
        return self._copyValues(model._resetUid(self.uid))
