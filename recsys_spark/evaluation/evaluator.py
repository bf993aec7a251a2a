"""`TopNEvaluator`: lets Spark ML's CrossValidator and TrainValidationSplit tune on ranking."""

from typing import Any

from pyspark import keyword_only
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructType

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.evaluation.directions import Direction, direction_of
from recsys_spark.evaluation.ranking import measure_ranking
from recsys_spark.evaluation.summary import summarise
from recsys_spark.kernels.metrics.ranking import METRICS
from recsys_spark.schema import quoted
from recsys_spark.spark_internals import ml_param


class TopNEvaluator(Evaluator, DefaultParamsReadable["TopNEvaluator"], DefaultParamsWritable):
    """The mean over users of a ranking metric (docs/metrics.md); larger is better.

    Evaluates held-out rows, columns userCol and itemCol, that carry their user's list in
    recommendationsCol, best first: array<struct<item, ...>> as `WALS(numItems=10)` adds it to what
    it transforms, or array<item>. All rows are relevant; valueCol, if it is named, holds the gains
    of graded metrics.
    """

    _input_kwargs: dict[str, Any]
    metricName: "Param[str]" = ml_param("metricName", ", ".join(METRICS), TypeConverters.toString)
    k: "Param[int]" = ml_param("k", "cut-off", TypeConverters.toInt)
    userCol: "Param[str]" = ml_param("userCol", "column of the users", TypeConverters.toString)
    itemCol: "Param[str]" = ml_param("itemCol", "column of the items", TypeConverters.toString)
    valueCol: "Param[str]" = ml_param(
        "valueCol", "column of the gains; '': all 1", TypeConverters.toString
    )
    recommendationsCol: "Param[str]" = ml_param(
        "recommendationsCol", "column of the lists", TypeConverters.toString
    )

    @keyword_only
    def __init__(
        self,
        *,
        metricName: str = "ndcg",
        k: int = 10,
        userCol: str = "user",
        itemCol: str = "item",
        valueCol: str = "",
        recommendationsCol: str = "recommendations",
    ) -> None:
        super().__init__()
        self._setDefault(
            metricName="ndcg", k=10, userCol="user", itemCol="item", valueCol="",
            recommendationsCol="recommendations",
        )  # fmt: skip
        self._set(**self._input_kwargs)

    @keyword_only
    def setParams(self, **kwargs: Any) -> "TopNEvaluator":
        """Set the same parameters as the constructor takes."""
        return self._set(**self._input_kwargs)

    def isLargerBetter(self) -> bool:
        """By the direction of the metric; all ranking metrics are better when larger."""
        return direction_of(self.getOrDefault("metricName")) is not Direction.LOWER

    def _evaluate(self, dataset: DataFrame) -> float:
        names = ("metricName", "userCol", "itemCol", "valueCol", "recommendationsCol")
        metric, user, item, value, lists = (self.getOrDefault(name) for name in names)
        if metric not in METRICS:
            raise ConfigError(f"metricName is {metric!r}; choose one of {', '.join(METRICS)}.")
        for column in (user, item, lists, *([value] if value else [])):
            if column not in dataset.columns:
                hint = " (WALS adds it if numItems is set)" if column == lists else ""
                raise ContractError(
                    f"The data has no column {column}{hint}; it has {', '.join(dataset.columns)}."
                )
        truth = dataset.select(
            F.col(quoted(user)).alias("user_id"),
            F.col(quoted(item)).alias("item_id"),
            *([F.col(quoted(value)).alias("value")] if value else []),
        )
        listed = F.col(quoted(lists))
        own = dataset.where(listed.isNotNull()).groupBy(F.col(quoted(user)).alias("user_id"))
        ranked = own.agg(F.first(_items(dataset, lists)).alias("recommendations"))
        measured = measure_ranking(ranked, truth, [self.getOrDefault("k")])
        row = summarise(measured, "", resamples=0).where(F.col("metric") == metric).first()
        return float(row["value"]) if row else 0.0


def _items(dataset: DataFrame, lists: str) -> Column:
    """The items of the lists, best first: the entries themselves, or their first field."""
    kind = dataset.schema[lists].dataType
    if not isinstance(kind, ArrayType):
        raise ContractError(
            f"Column {lists} is {kind.simpleString()}; it must be an array of items, or of structs "
            "that begin with the item, best first."
        )
    entry = kind.elementType
    if not isinstance(entry, StructType):
        return F.col(quoted(lists))
    first = entry.names[0]
    return F.transform(quoted(lists), lambda found: found[first])
