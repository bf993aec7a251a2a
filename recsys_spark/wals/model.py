"""`WALSModel`: trained factors as DataFrames; predicts, recommends, saves without pickles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pyspark.ml import Model
from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from recsys_spark.arrow import list_matrix
from recsys_spark.errors import ConfigError
from recsys_spark.wals.factors import factors_frame
from recsys_spark.wals.fit import Factorization
from recsys_spark.wals.params import ModelParams
from recsys_spark.wals.topn import Catalogue, recommend_top_n


class WALSModel(Model, ModelParams, MLReadable["WALSModel"], MLWritable):
    """userFactors and itemFactors: columns id, features (array<float>); as MLlib's ALSModel.

    lossHistory: the objective after every sweep, oldest first. clip: limits of predictions.
    """

    def __init__(
        self,
        userFactors: DataFrame | None = None,
        itemFactors: DataFrame | None = None,
        rank: int = 0,
        lossHistory: Sequence[float] = (),
        clip: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self._user_factors, self._item_factors = userFactors, itemFactors
        self.rank = rank
        self.lossHistory = list(lossHistory)
        self.clip = None if clip is None else list(clip)

    @classmethod
    def from_factorization(
        cls, spark: SparkSession, trained: Factorization, user_type: DataType, item_type: DataType
    ) -> "WALSModel":
        """The model of trained factors, its ids in the types of the training data."""
        return cls(
            factors_frame(spark, trained.user, user_type),
            factors_frame(spark, trained.item, item_type),
            trained.item.width,
            [loss.total for loss in trained.losses],
        )

    @property
    def userFactors(self) -> DataFrame:
        """Columns id, features."""
        assert self._user_factors is not None
        return self._user_factors

    @property
    def itemFactors(self) -> DataFrame:
        """Columns id, features."""
        assert self._item_factors is not None
        return self._item_factors

    def _transform(self, dataset: DataFrame) -> DataFrame:
        user, item, output = (
            self.getOrDefault(name) for name in ("userCol", "itemCol", "predictionCol")
        )
        strategy = self.getOrDefault("coldStartStrategy")
        if strategy not in ("nan", "drop"):
            raise ConfigError(f"coldStartStrategy is {strategy!r}; choose nan or drop.")
        self._require_ids(dataset, user, item)
        if output in dataset.columns:
            raise ConfigError(f"The data has a column {output} already; set predictionCol.")
        users = self.userFactors.toDF(user, "_user_features")
        items = self.itemFactors.toDF(item, "_item_features")
        joined = dataset.join(users, user, "left").join(items, item, "left")
        product = clipped(predicted("_user_features", "_item_features"), self.clip)
        prediction = F.coalesce(product, F.lit(float("nan")).cast("float"))
        scored = joined.select(
            *(dataset[name] for name in dataset.columns), prediction.alias(output)
        )
        if strategy == "drop":
            return scored.where(~F.isnan(output))
        return scored

    def recommendForAllUsers(self, numItems: int, exclude: DataFrame | None = None) -> DataFrame:
        """Top items of every user: columns userCol, recommendations array<struct<item, rating>>.

        exclude: pairs (userCol, itemCol) left out exactly, such as the training data.
        """
        return self._recommend("userCol", "itemCol", self.userFactors, numItems, exclude)

    def recommendForAllItems(self, numUsers: int, exclude: DataFrame | None = None) -> DataFrame:
        """Top users of every item."""
        return self._recommend("itemCol", "userCol", self.itemFactors, numUsers, exclude)

    def recommendForUserSubset(
        self, dataset: DataFrame, numItems: int, exclude: DataFrame | None = None
    ) -> DataFrame:
        """Top items of the users in the dataset's userCol that the model knows."""
        some = _subset(self.userFactors, dataset, self.getOrDefault("userCol"))
        return self._recommend("userCol", "itemCol", some, numItems, exclude)

    def recommendForItemSubset(
        self, dataset: DataFrame, numUsers: int, exclude: DataFrame | None = None
    ) -> DataFrame:
        """Top users of the items in the dataset's itemCol that the model knows."""
        some = _subset(self.itemFactors, dataset, self.getOrDefault("itemCol"))
        return self._recommend("itemCol", "userCol", some, numUsers, exclude)

    def _recommend(
        self, row: str, col: str, rows: DataFrame, n: int, exclude: DataFrame | None
    ) -> DataFrame:
        if n < 1:
            raise ConfigError(f"The number of recommendations is {n}; it must be 1 or more.")
        key, other = self.getOrDefault(row), self.getOrDefault(col)
        users = rows.toDF(key, "factors").withColumn("seen", F.lit(None).cast("array<bigint>"))
        if exclude is not None:
            self._require_ids(exclude, key, other)
            seen = exclude.groupBy(key).agg(F.collect_set(F.col(other).cast("long")).alias("seen"))
            users = users.drop("seen").join(seen, key, "left")
        columns = self.itemFactors if row == "userCol" else self.userFactors
        lists = recommend_top_n(
            users, key, _catalogue(columns), columns.schema["id"].dataType, n, fill=False
        )
        return lists.select(key, _as_mllib(other).alias("recommendations"))

    def write(self) -> MLWriter:
        """Writer of parameters as JSON and factors as Parquet."""
        return _WALSModelWriter(self)

    @classmethod
    def read(cls) -> "MLReader[WALSModel]":
        """Reader of what `write` wrote."""
        return _WALSModelReader()


def predicted(left: str, right: str) -> Column:
    """Dot product of two factor columns, summed in double precision; null if either is null."""
    products = F.zip_with(left, right, lambda x, y: x.cast("double") * y.cast("double"))
    return F.aggregate(products, F.lit(0.0), lambda total, x: total + x).cast("float")


def clipped(prediction: Column, limits: Sequence[float] | None) -> Column:
    """The prediction held in [low, high], if there are limits; null and NaN stay."""
    if limits is None:
        return prediction
    low, high = (F.lit(limit).cast("float") for limit in limits)
    held = F.when(prediction < low, low).when(prediction > high, high).otherwise(prediction)
    return F.when(F.isnan(prediction), prediction).otherwise(held)


def _as_mllib(item: str) -> Column:
    return F.transform(
        "recommendations",
        lambda entry: F.struct(entry["item_id"].alias(item), entry["score"].alias("rating")),
    )


def _subset(factors: DataFrame, dataset: DataFrame, column: str) -> DataFrame:
    return factors.join(dataset.select(F.col(column).alias("id")).distinct(), "id", "left_semi")


def _catalogue(factors: DataFrame) -> Catalogue:
    """The items on the driver: the small side, bounded by what training could broadcast."""
    table = factors.toArrow().sort_by("id")
    features = table["features"].combine_chunks()
    width = len(features[0]) if len(features) else 1
    return Catalogue(
        index=table["id"].to_numpy().astype(np.int64),
        labels=table["id"].combine_chunks(),
        factors=list_matrix(features, width),
        scored=np.ones(len(table), dtype=bool),
        popularity=np.zeros(len(table)),
    )


class _WALSModelWriter(MLWriter):
    def __init__(self, model: WALSModel) -> None:
        super().__init__()
        self.model = model

    def saveImpl(self, path: str) -> None:
        kept = ("rank", "lossHistory", "clip")
        extra = {name: getattr(self.model, name) for name in kept}
        DefaultParamsWriter.saveMetadata(self.model, path, self.sparkSession, extra)
        self.model.userFactors.write.parquet(f"{path}/userFactors")
        self.model.itemFactors.write.parquet(f"{path}/itemFactors")


class _WALSModelReader(MLReader[WALSModel]):
    def load(self, path: str) -> WALSModel:
        expected = f"{WALSModel.__module__}.{WALSModel.__name__}"
        metadata: dict[str, Any] = DefaultParamsReader.loadMetadata(
            path, self.sparkSession, expected
        )
        model = WALSModel(
            self.sparkSession.read.parquet(f"{path}/userFactors"),
            self.sparkSession.read.parquet(f"{path}/itemFactors"),
            metadata["rank"],
            metadata["lossHistory"],
            metadata.get("clip"),
        )
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model
