"""`WALSModel`: trained factors as DataFrames; predicts, recommends, saves without pickles."""

from collections.abc import Sequence
from dataclasses import asdict
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
from recsys_spark.kernels.spec import WalsSpec, other_side, restored_spec
from recsys_spark.wals.catalogue import Catalogue, Listing
from recsys_spark.wals.factors import FactorFrame, factors_frame, read_factors
from recsys_spark.wals.fit import Factorization, solve_side
from recsys_spark.wals.params import ModelParams
from recsys_spark.wals.plan import Plan
from recsys_spark.wals.topn import recommend_top_n


class WALSModel(Model, ModelParams, MLReadable["WALSModel"], MLWritable):
    """userFactors and itemFactors: columns id, features (array<float>); as MLlib's ALSModel.

    lossHistory: the loss after every sweep, oldest first. objective: what was minimised, with the
    limits of predictions; None in a model that is made of factors alone. known_pairs: of the
    training data, which `transform` leaves out of its lists; None in a model that was loaded.
    """

    known_pairs: DataFrame | None = None

    def __init__(
        self,
        userFactors: DataFrame | None = None,
        itemFactors: DataFrame | None = None,
        rank: int = 0,
        lossHistory: Sequence[float] = (),
        objective: WalsSpec | None = None,
    ) -> None:
        super().__init__()
        self._user_factors, self._item_factors = userFactors, itemFactors
        self.rank = rank
        self.lossHistory = list(lossHistory)
        self.objective = objective

    @classmethod
    def from_factorization(
        cls,
        spark: SparkSession,
        trained: Factorization,
        user_type: DataType,
        item_type: DataType,
        objective: WalsSpec,
    ) -> "WALSModel":
        """The model of trained factors, its ids in the types of the training data."""
        return cls(
            factors_frame(spark, trained.user, user_type),
            factors_frame(spark, trained.item, item_type),
            trained.item.width,
            [loss.total for loss in trained.losses],
            objective,
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
        limits = self.objective.clip if self.objective else None
        product = clipped(predicted("_user_features", "_item_features"), limits)
        prediction = F.coalesce(product, F.lit(float("nan")).cast("float"))
        scored = joined.select(
            *(dataset[name] for name in dataset.columns), prediction.alias(output)
        )
        if strategy == "drop":
            scored = scored.where(~F.isnan(output))
        return self._with_lists(scored) if self.getOrDefault("numItems") else scored

    def _with_lists(self, scored: DataFrame) -> DataFrame:
        """The rows with their users' lists, of all items but those that training knew them with."""
        user, output = (self.getOrDefault(name) for name in ("userCol", "recommendationsCol"))
        if output in scored.columns:
            raise ConfigError(f"The data has a column {output} already; set recommendationsCol.")
        users = _subset(self.userFactors, scored, user)
        n, known = self.getOrDefault("numItems"), self.known_pairs
        lists = self._recommend("userCol", "itemCol", users, n, known)
        return scored.join(lists.withColumnRenamed("recommendations", output), user, "left")

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
        lists = recommend_top_n(users, key, Listing(_catalogue(columns), n))
        return lists.select(key, _as_mllib(other).alias("recommendations"))

    def foldInUsers(self, dataset: DataFrame, training: DataFrame | None = None) -> DataFrame:
        """Vectors of the users in the dataset, the items fixed: columns id, features.

        dataset: columns as `fit` takes them, all rows of each user; users may be new or known. Rows
        with items that the model does not know are left out, and users with no others too.
        training: what the model was fitted on, for objectives with statistics of it.

        Raises ConfigError if training is needed and missing, or if the model does not know its
        objective; ContractError for columns or values that `fit` refuses, and for other training
        rows.
        """
        return self._fold_in("user", dataset, training)

    def foldInItems(self, dataset: DataFrame, training: DataFrame | None = None) -> DataFrame:
        """Vectors of the items in the dataset, the users fixed: the mirror of `foldInUsers`."""
        return self._fold_in("item", dataset, training)

    def _fold_in(self, side: str, dataset: DataFrame, training: DataFrame | None) -> DataFrame:
        if self.objective is None:
            raise ConfigError(
                "This model does not know what it was trained to minimise, which folding in needs: "
                "take one that WALS has fitted, or set its `objective`."
            )
        own = self.userFactors if side == "user" else self.itemFactors
        known = self.known(other_side(side)).arrays()
        ratings = self._ratings(dataset)
        context = None if training is None else self._ratings(training)
        solved = solve_side(ratings, side, known, self.objective, Plan(), context)
        return factors_frame(dataset.sparkSession, solved, own.schema["id"].dataType)

    def known(self, side: str) -> FactorFrame:
        """The factors of a side, as training takes and gives them."""
        factors = self.userFactors if side == "user" else self.itemFactors
        return read_factors(factors.toDF("id", "factors"))

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
        item_type=factors.schema["id"].dataType,
        factors=list_matrix(features, width),
        scored=np.ones(len(table), dtype=bool),
        popularity=np.zeros(len(table)),
    )


class _WALSModelWriter(MLWriter):
    def __init__(self, model: WALSModel) -> None:
        super().__init__()
        self.model = model

    def saveImpl(self, path: str) -> None:
        extra = {name: getattr(self.model, name) for name in ("rank", "lossHistory")}
        extra["objective"] = asdict(self.model.objective) if self.model.objective else None
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
            restored_spec(metadata["objective"]) if metadata["objective"] else None,
        )
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model
