"""`TopNEvaluator`: lets Spark ML's CrossValidator and TrainValidationSplit tune on ranking."""

from typing import Any

from pyspark import keyword_only
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructType

from recsys_spark.errors import ContractError
from recsys_spark.evaluation.directions import Direction, direction_of
from recsys_spark.evaluation.ranking import measure_ranking
from recsys_spark.evaluation.summary import summarise
from recsys_spark.kernels.metrics.ranking import METRICS
from recsys_spark.schema import quoted, require_spark
from recsys_spark.spark_internals import text_param, whole_param


class TopNEvaluator(Evaluator, DefaultParamsReadable["TopNEvaluator"], DefaultParamsWritable):
    """The mean over users of a ranking metric, for Spark ML's model selection.

    `evaluate(dataset)` takes held-out rows that carry their user's list. All rows are relevant.

    Parameters
    ----------
    metricName : str
        A ranking metric of docs/metrics.md: ndcg, recall, precision, map, mrr, hit_rate ...
    k : int
        Cut-off, a number of items.
    userCol : str
        Column of the users.
    itemCol : str
        Column of the relevant items.
    valueCol : str
        Column of the gains of graded metrics; '': every row counts 1.
    recommendationsCol : str
        Column of the user's list, best first: `array<struct<item, ...>>` as a model of
        `WALS(numItems=10)` adds it in `transform`, or `array<item>`.

    Raises
    ------
    ConfigError
        For an unknown metric or a k below 1.
    ContractError
        By `evaluate`, for data that is no DataFrame of Spark, or a column that is missing or of
        another type.

    References
    ----------
    pyspark.ml.evaluation.RankingEvaluator, which evaluates a row a user instead.

    Examples
    --------
    >>> from recsys_spark.evaluation import TopNEvaluator
    >>> rows = spark.createDataFrame(
    ...     [(1, 7, [5, 7]), (1, 9, [5, 7])], "user int, item int, recommendations array<int>"
    ... )
    >>> TopNEvaluator(metricName="recall", k=2).evaluate(rows)
    0.5
    """

    _input_kwargs: dict[str, Any]
    metricName: "Param[str]" = text_param("metricName", ", ".join(METRICS), tuple(METRICS))
    k: "Param[int]" = whole_param("k", "cut-off", 1)
    userCol: "Param[str]" = text_param("userCol", "column of the users")
    itemCol: "Param[str]" = text_param("itemCol", "column of the items")
    valueCol: "Param[str]" = text_param("valueCol", "column of the gains; '': all 1")
    recommendationsCol: "Param[str]" = text_param("recommendationsCol", "column of the lists")

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
        """Set parameters.

        Parameters
        ----------
        **kwargs
            Any of the constructor's parameters.

        Returns
        -------
        TopNEvaluator
            This evaluator.
        """
        return self._set(**self._input_kwargs)

    def isLargerBetter(self) -> bool:
        """Whether larger values of the metric are better.

        Returns
        -------
        bool
            By the metric's direction: True for all ranking metrics.
        """
        return direction_of(self.getOrDefault("metricName")) is not Direction.LOWER

    def _evaluate(self, dataset: DataFrame) -> float:
        names = ("metricName", "userCol", "itemCol", "valueCol", "recommendationsCol")
        metric, user, item, value, lists = (self.getOrDefault(name) for name in names)
        require_spark(dataset, "dataset")
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
