"""Parameters that the Estimator and the Model share, under MLlib's names where MLlib has them."""

from typing import Any

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasPredictionCol, HasSeed
from pyspark.sql import DataFrame
from pyspark.sql.types import IntegralType

from recsys_spark.errors import ContractError
from recsys_spark.kernels.spec import WalsSpec, resolve_spec

# The estimator's parameter for each key of the objective; unset ones take the preset's value.
_SPEC_PARAMS = {
    "rank": "rank",
    "maxIter": "iterations",
    "regParam": "regularization",
    "unobservedWeight": "unobserved_weight",
    "weighting": "weighting",
    "alpha": "alpha",
    "epsilon": "epsilon",
    "nu": "nu",
    "beta": "beta",
    "nonnegative": "nonnegative",
    "seed": "seed",
}


def with_accessors(cls: type) -> type:
    """Give every parameter `p` of the class its `getP`, as MLlib's classes have."""
    for name in [key for key, value in vars(cls).items() if isinstance(value, Param)]:
        method = "get" + name[0].upper() + name[1:]
        setattr(cls, method, lambda self, name=name: self.getOrDefault(name))
    return cls


@with_accessors
class ModelParams(HasPredictionCol):
    """Column names, and what to predict for ids without factors."""

    userCol: "Param[str]" = Param(
        Params._dummy(), "userCol", "column of the user ids, whole numbers", TypeConverters.toString
    )
    itemCol: "Param[str]" = Param(
        Params._dummy(), "itemCol", "column of the item ids, whole numbers", TypeConverters.toString
    )
    coldStartStrategy: "Param[str]" = Param(
        Params._dummy(),
        "coldStartStrategy",
        "prediction for ids without factors: 'nan', or 'drop' the row",
        TypeConverters.toString,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(
            userCol="user", itemCol="item", coldStartStrategy="nan", predictionCol="prediction"
        )

    def _require_columns(self, dataset: DataFrame, *columns: str) -> None:
        for column in columns:
            if column not in dataset.columns:
                have = ", ".join(dataset.columns)
                raise ContractError(f"The data has no column {column}; it has {have}.")

    def _require_ids(self, dataset: DataFrame, *columns: str) -> None:
        self._require_columns(dataset, *columns)
        for column in columns:
            kind = dataset.schema[column].dataType
            if not isinstance(kind, IntegralType):
                raise ContractError(
                    f"Column {column} is {kind.simpleString()}; ids must be whole numbers. Index "
                    "them with StringIndexer and cast to int, or use the pipeline's ingest stage."
                )


@with_accessors
class EstimatorParams(ModelParams, HasSeed):
    """The objective's parameters; those not set take the value of the preset `objective`."""

    ratingCol: "Param[str]" = Param(
        Params._dummy(), "ratingCol", "column of the values; '' counts 1", TypeConverters.toString
    )
    objective: "Param[str]" = Param(
        Params._dummy(), "objective", "ials, hu2008, mllib or explicit", TypeConverters.toString
    )
    rank: "Param[int]" = Param(
        Params._dummy(), "rank", "length of the factors", TypeConverters.toInt
    )
    maxIter: "Param[int]" = Param(
        Params._dummy(), "maxIter", "number of sweeps", TypeConverters.toInt
    )
    regParam: "Param[float]" = Param(
        Params._dummy(), "regParam", "strength of the L2 penalty", TypeConverters.toFloat
    )
    unobservedWeight: "Param[float]" = Param(
        Params._dummy(),
        "unobservedWeight",
        "weight of unobserved pairs",
        TypeConverters.toFloat,
    )
    weighting: "Param[str]" = Param(
        Params._dummy(), "weighting", "binary, linear or log", TypeConverters.toString
    )
    alpha: "Param[float]" = Param(
        Params._dummy(), "alpha", "scale of linear and log weights", TypeConverters.toFloat
    )
    epsilon: "Param[float]" = Param(
        Params._dummy(), "epsilon", "scale of the value in log weights", TypeConverters.toFloat
    )
    nu: "Param[float]" = Param(
        Params._dummy(), "nu", "exponent of the penalty in the row length", TypeConverters.toFloat
    )
    beta: "Param[float]" = Param(
        Params._dummy(), "beta", "share of the other side in the length", TypeConverters.toFloat
    )
    nonnegative: "Param[bool]" = Param(
        Params._dummy(), "nonnegative", "keep factors at 0 or above", TypeConverters.toBoolean
    )
    numBlocks: "Param[int]" = Param(
        Params._dummy(), "numBlocks", "blocks a side; 0 chooses", TypeConverters.toInt
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(ratingCol="rating", objective="ials", numBlocks=0, seed=42)

    def spec(self) -> WalsSpec:
        """The complete objective. Raises ConfigError for a parameter without effect."""
        given = {
            key: self.getOrDefault(name)
            for name, key in _SPEC_PARAMS.items()
            if self.isDefined(name)
        }
        return resolve_spec(self.getOrDefault("objective"), **given)
