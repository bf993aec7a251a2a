"""`WALSModel`: trained factors as DataFrames; predicts, recommends, saves without pickles."""

import uuid
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
from pyspark.sql.types import ByteType, DataType, IntegerType, LongType, ShortType

from recsys_spark.als import parquet_spill
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import FactorFrame, factors_frame, read_factors
from recsys_spark.als.prediction import clipped, predicted
from recsys_spark.als.trainer import Factorization, solve_side
from recsys_spark.arrow import list_matrix
from recsys_spark.errors import ConfigError, settings_named
from recsys_spark.kernels.als.spec import SIDES, WalsSpec, other_side, restored_spec
from recsys_spark.ml.columns import id_type, whole_ids
from recsys_spark.ml.params import PARAMETERS, ModelParams
from recsys_spark.schema import quoted, require_spark
from recsys_spark.spark_internals import with_uid
from recsys_spark.topn.catalog import Catalog
from recsys_spark.topn.recommend import make_lists
from recsys_spark.topn.request import Request

_PLAIN = ("rank", "lossHistory", "stopReason")  # attributes that the metadata of a saved model has
_PAIRS = "known_pairs"
_FRAMES = {"_user_factors": "userFactors", "_item_factors": "itemFactors", _PAIRS: "knownPairs"}
_WIDTHS = (ByteType, ShortType, IntegerType, LongType)


class WALSModel(Model, ModelParams, MLReadable["WALSModel"], MLWritable):
    """Trained factors: predicts, recommends and folds in; as MLlib's ALSModel.

    `WALS.fit` makes it; `write().save(path)` and `WALSModel.load(path)` keep it as Parquet and
    JSON. `transform(dataset)` adds predictionCol (float: the product of both factors, within the
    objective's `clip`) to rows of userCol and itemCol, and with numItems also recommendationsCol.

    Parameters
    ----------
    userFactors, itemFactors : DataFrame
        Columns id (integral) and features, `array<float>` of one length.
    rank : int
        Length of the vectors, with two coordinates more where the objective has biases.
    lossHistory : sequence of float
        The loss after every sweep, oldest first.
    objective : WalsSpec, optional
        What was minimised, with the limits of predictions; None in a model of factors alone.
    stopReason : str, optional
        Why training ended before its last sweep, if it did.

    Raises
    ------
    ConfigError
        By `transform`, if an output column exists already, or if numItems is set and the training
        pairs are unknown.
    ContractError
        For factors that are no DataFrames of Spark; by `transform`, for a column that is missing or
        ids that are not numeric.

    References
    ----------
    pyspark.ml.recommendation.ALSModel, whose methods these are, with `exclude` and fold-in beside.
    """

    known_pairs: DataFrame | None = None
    """Training pairs (columns user, item) that `transform` leaves out of its lists.

    They are saved with the model where numItems is set.
    """

    def __init__(
        self,
        userFactors: DataFrame | None = None,
        itemFactors: DataFrame | None = None,
        rank: int = 0,
        lossHistory: Sequence[float] = (),
        objective: WalsSpec | None = None,
        stopReason: str | None = None,
    ) -> None:
        super().__init__()
        for name, frame in (("userFactors", userFactors), ("itemFactors", itemFactors)):
            if frame is not None:
                require_spark(frame, name)
        self._user_factors, self._item_factors = userFactors, itemFactors
        self.rank = rank
        self.lossHistory = list(lossHistory)
        self.objective = objective
        self.stopReason = stopReason

    @classmethod
    def from_factorization(
        cls,
        spark: SparkSession,
        trained: Factorization,
        user_type: DataType,
        item_type: DataType,
        objective: WalsSpec,
    ) -> "WALSModel":
        """The model of trained factors, its ids in the types of the training data.

        Parameters
        ----------
        spark : SparkSession
            The session of the factors' DataFrames.
        trained : Factorization
            Factors and losses, from `als.trainer.fit_factors`.
        user_type, item_type : DataType
            Integral types of the ids.
        objective : WalsSpec
            What was minimised.

        Returns
        -------
        WALSModel
            The model.
        """
        return cls(
            factors_frame(spark, trained.user, user_type),
            factors_frame(spark, trained.item, item_type),
            trained.item.width,
            [loss.total for loss in trained.losses],
            objective,
            trained.stopped,
        )

    @property
    def userFactors(self) -> DataFrame:
        """Factors of the users.

        Returns
        -------
        DataFrame
            Columns id and features, `array<float>`; one row a user.
        """
        assert self._user_factors is not None
        return self._user_factors

    @property
    def itemFactors(self) -> DataFrame:
        """Factors of the items.

        Returns
        -------
        DataFrame
            Columns id and features, `array<float>`; one row an item.
        """
        assert self._item_factors is not None
        return self._item_factors

    def _transform(self, dataset: DataFrame) -> DataFrame:
        user, item, output = (
            self.getOrDefault(name) for name in ("userCol", "itemCol", "predictionCol")
        )
        strategy = self.getOrDefault("coldStartStrategy")
        ids = {name: whole_ids(dataset, name) for name in (user, item)}
        self._refuse_present(dataset, "predictionCol")
        users = self.userFactors.toDF("_user", "_user_features")
        items = self.itemFactors.toDF("_item", "_item_features")
        joined = dataset.join(users, ids[user] == F.col("_user"), "left")
        joined = joined.join(items, ids[item] == F.col("_item"), "left")
        limits = self.objective.clip if self.objective else None
        product = clipped(predicted("_user_features", "_item_features"), limits)
        prediction = F.coalesce(product, F.lit(float("nan")).cast("float"))
        scored = joined.withColumn(output, prediction).drop(*users.columns, *items.columns)
        if strategy == "drop":
            scored = scored.where(~F.isnan(quoted(output)))
        return self._with_lists(scored) if self.getOrDefault("numItems") else scored

    def _refuse_present(self, dataset: DataFrame, param: str) -> None:
        if self.getOrDefault(param) in dataset.columns:
            raise ConfigError(
                f"The data has a column {self.getOrDefault(param)} already; set {param}."
            )

    def _with_lists(self, scored: DataFrame) -> DataFrame:
        """The rows with their users' lists, of all items but those that training knew them with."""
        self._refuse_present(scored, "recommendationsCol")
        if self.known_pairs is None:
            raise ConfigError(
                "numItems lists what a user does not have, and this model does not know its "
                "training pairs: it was saved with numItems 0. Set numItems before it is saved, or "
                "set known_pairs (columns user, item), or take recommendForUserSubset with exclude."
            )
        user, output = (self.getOrDefault(name) for name in ("userCol", "recommendationsCol"))
        known = self.known_pairs.toDF("user", "item")
        lists = self._lists(
            "user", self._subset("user", scored), self.getOrDefault("numItems"), known
        )
        lists = lists.select(F.col("id").alias("_user"), F.col("recommendations").alias("_lists"))
        joined = scored.join(lists, whole_ids(scored, user) == F.col("_user"), "left")
        return joined.withColumn(output, F.col("_lists")).drop("_user", "_lists")

    def recommendForAllUsers(self, numItems: int, exclude: DataFrame | None = None) -> DataFrame:
        """Exact top items of every user, ties by item id.

        Parameters
        ----------
        numItems : int
            Length of the lists, 1 or more; shorter where fewer items are left.
        exclude : DataFrame, optional
            Pairs (columns userCol, itemCol) that are left out, such as the training rows.

        Returns
        -------
        DataFrame
            Columns userCol and recommendations, `array<struct<itemCol, rating float>>`, best first.

        Raises
        ------
        ConfigError
            For a numItems below 1.
        ContractError
            If `exclude` lacks a column, or its ids are not numeric.

        References
        ----------
        pyspark.ml.recommendation.ALSModel.recommendForAllUsers, which has no `exclude`.
        """
        return self._recommend("user", self.userFactors, numItems, exclude)

    def recommendForAllItems(self, numUsers: int, exclude: DataFrame | None = None) -> DataFrame:
        """Exact top users of every item: the mirror of `recommendForAllUsers`.

        Parameters
        ----------
        numUsers : int
            Length of the lists, 1 or more.
        exclude : DataFrame, optional
            Pairs (columns userCol, itemCol) that are left out.

        Returns
        -------
        DataFrame
            Columns itemCol and recommendations, `array<struct<userCol, rating float>>`, best first.

        Raises
        ------
        ConfigError
            For a numUsers below 1.
        ContractError
            If `exclude` lacks a column, or its ids are not numeric.
        """
        return self._recommend("item", self.itemFactors, numUsers, exclude)

    def recommendForUserSubset(
        self, dataset: DataFrame, numItems: int, exclude: DataFrame | None = None
    ) -> DataFrame:
        """Exact top items of some users.

        Parameters
        ----------
        dataset : DataFrame
            Column userCol: the users; those without factors get no list.
        numItems : int
            Length of the lists, 1 or more.
        exclude : DataFrame, optional
            Pairs (columns userCol, itemCol) that are left out.

        Returns
        -------
        DataFrame
            As of `recommendForAllUsers`, one row a user of the dataset.

        Raises
        ------
        ConfigError
            For a numItems below 1.
        ContractError
            If a column is missing, or ids are not numeric.
        """
        return self._recommend("user", self._subset("user", dataset), numItems, exclude)

    def recommendForItemSubset(
        self, dataset: DataFrame, numUsers: int, exclude: DataFrame | None = None
    ) -> DataFrame:
        """Exact top users of some items.

        Parameters
        ----------
        dataset : DataFrame
            Column itemCol: the items; those without factors get no list.
        numUsers : int
            Length of the lists, 1 or more.
        exclude : DataFrame, optional
            Pairs (columns userCol, itemCol) that are left out.

        Returns
        -------
        DataFrame
            As of `recommendForAllItems`, one row an item of the dataset.

        Raises
        ------
        ConfigError
            For a numUsers below 1.
        ContractError
            If a column is missing, or ids are not numeric.
        """
        return self._recommend("item", self._subset("item", dataset), numUsers, exclude)

    def _subset(self, side: str, dataset: DataFrame) -> DataFrame:
        """The factors of the ids that stand in the dataset's column."""
        factors = self.userFactors if side == "user" else self.itemFactors
        ids = whole_ids(dataset, self.getOrDefault(f"{side}Col"))
        return factors.join(dataset.select(ids.alias("id")).distinct(), "id", "left_semi")

    def _recommend(
        self, side: str, rows: DataFrame, n: int, exclude: DataFrame | None
    ) -> DataFrame:
        """Lists of the rows of a side, as MLlib's. exclude: columns userCol, itemCol."""
        pairs = None
        if exclude is not None:
            require_spark(exclude, "exclude")
            chosen = (whole_ids(exclude, self.getOrDefault(f"{name}Col")) for name in SIDES)
            pairs = exclude.select(*chosen).toDF(*SIDES)
        key = F.col("id").alias(self.getOrDefault(f"{side}Col"))
        return self._lists(side, rows, n, pairs).select(key, "recommendations")

    def _lists(self, side: str, rows: DataFrame, n: int, known: DataFrame | None) -> DataFrame:
        """Columns id, recommendations. rows: factors of a side. known: columns user, item."""
        _check_count(n)
        other = other_side(side)
        users = rows.toDF("user_id", "factors")
        if known is not None:
            ids = F.collect_set(F.col(other).cast("long")).alias("seen")
            seen = known.groupBy(F.col(side).alias("user_id")).agg(ids)
            users = users.join(seen, "user_id", "left")
        columns = self.itemFactors if side == "user" else self.userFactors
        lists = make_lists(Request(users, _catalog(columns), n)).every()
        entries = _as_mllib(self.getOrDefault(f"{other}Col"))
        return lists.select(F.col("user_id").alias("id"), entries.alias("recommendations"))

    def foldInUsers(self, dataset: DataFrame, training: DataFrame | None = None) -> DataFrame:
        """Factors of new or known users from their rows, the items fixed.

        One exact half-sweep of training: a training user's own rows give the trained factors again.

        Parameters
        ----------
        dataset : DataFrame
            All rows of each user, in the columns that `fit` takes. Rows with items that the model
            does not know are left out, and users without others too.
        training : DataFrame, optional
            All rows that the model was fitted on; needed where the objective has statistics of
            them, such as bm25 weights or frequencies (docs/objectives.md, "Fold-in").

        Returns
        -------
        DataFrame
            Columns id and features, `array<float>`: one row a user. Ids have the wider of the
            model's and the dataset's type.

        Raises
        ------
        ConfigError
            If training rows are needed and missing, or if the model does not know its objective.
        ContractError
            For columns or values that `fit` refuses, and for other training rows.

        References
        ----------
        The row equation of `WALS`, with the trained factors of the items as Y.
        """
        return self._fold_in("user", dataset, training)

    def foldInItems(self, dataset: DataFrame, training: DataFrame | None = None) -> DataFrame:
        """Factors of new or known items from their rows, the users fixed.

        The mirror of `foldInUsers`.

        Parameters
        ----------
        dataset : DataFrame
            All rows of each item, in the columns that `fit` takes. Rows with users that the model
            does not know are left out, and items without others too.
        training : DataFrame, optional
            All rows that the model was fitted on, as of `foldInUsers`; also for learned biases.

        Returns
        -------
        DataFrame
            Columns id and features, `array<float>`: one row an item.

        Raises
        ------
        ConfigError
            If training rows are needed and missing, or if the model does not know its objective.
        ContractError
            For columns or values that `fit` refuses, and for other training rows.
        """
        return self._fold_in("item", dataset, training)

    @settings_named(PARAMETERS)
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
        given = id_type(dataset.schema[self.getOrDefault(f"{side}Col")].dataType)
        return factors_frame(
            dataset.sparkSession, solved, _wider(id_type(own.schema["id"].dataType), given)
        )

    def known(self, side: str) -> FactorFrame:
        """The factors of a side, as training takes and gives them.

        Parameters
        ----------
        side : str
            user or item.

        Returns
        -------
        FactorFrame
            Columns id (bigint) and features, `array<float>`.

        Raises
        ------
        ConfigError
            For another side.
        """
        if side not in SIDES:
            raise ConfigError(f"side is {side!r}; choose one of {', '.join(SIDES)}.")
        factors = self.userFactors if side == "user" else self.itemFactors
        return read_factors(factors.toDF("id", "factors"))

    def write(self) -> MLWriter:
        """Writer of parameters as JSON and factors as Parquet.

        Returns
        -------
        MLWriter
            Its `save(path)` writes; with `overwrite()` also over the model that this one was loaded
            from.
        """
        return _WALSModelWriter(self)

    @classmethod
    def read(cls) -> "MLReader[WALSModel]":
        """Reader of what `write` wrote.

        Returns
        -------
        MLReader
            Its `load(path)` returns the model.
        """
        return _WALSModelReader()


def _check_count(n: Any) -> None:
    if not isinstance(n, int | np.integer) or n < 1:
        raise ConfigError(
            f"The number of recommendations is {n!r}; it must be a whole number, 1 or more."
        )


def _as_mllib(item: str) -> Column:
    return F.transform(
        "recommendations",
        lambda entry: F.struct(entry["item_id"].alias(item), entry["score"].alias("rating")),
    )


def _wider(one: DataType, other: DataType) -> DataType:
    """The type that holds the ids of both; both are integral."""
    return max(one, other, key=lambda kind: _WIDTHS.index(type(kind)))


def _catalog(factors: DataFrame) -> Catalog:
    """The items on the driver: the small side, bounded by what training could broadcast."""
    table = factors.toArrow().sort_by("id")
    features = table["features"].combine_chunks()
    width = len(features[0]) if len(features) else 1
    return Catalog(
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

    def save(self, path: str) -> None:
        """Write; over another model first beside it, since this one may read its files."""
        if not (self.shouldOverwrite and parquet_spill.exists(self.sparkSession, path)):
            self.saveImpl(path)
            return
        frames = {name: getattr(self.model, name) for name in _FRAMES}
        read = [
            name
            for name, frame in frames.items()
            if frame is not None and parquet_spill.reads(frame, path)
        ]
        beside = f"{path.rstrip('/')}.{uuid.uuid4().hex}"
        try:
            self.saveImpl(beside)
            parquet_spill.replace(self.sparkSession, beside, path)
        finally:
            parquet_spill.delete(self.sparkSession, beside)
        for name in read:
            setattr(self.model, name, _read_frame(self.sparkSession, path, name))

    def saveImpl(self, path: str) -> None:
        """Write parameters and factors, and where `transform` makes lists the training pairs."""
        model = self.model
        extra = {name: getattr(model, name) for name in _PLAIN}
        extra["objective"] = asdict(model.objective) if model.objective else None
        DefaultParamsWriter.saveMetadata(model, path, self.sparkSession, extra)
        for name, folder in _FRAMES.items():
            frame = getattr(model, name)
            if frame is not None and (name != _PAIRS or model.getOrDefault("numItems")):
                frame.write.parquet(f"{path}/{folder}")


class _WALSModelReader(MLReader[WALSModel]):
    def load(self, path: str) -> WALSModel:
        expected = f"{WALSModel.__module__}.{WALSModel.__name__}"
        metadata: dict[str, Any] = DefaultParamsReader.loadMetadata(
            path, self.sparkSession, expected
        )
        users, items, known = (_read_frame(self.sparkSession, path, name) for name in _FRAMES)
        model = WALSModel(
            users,
            items,
            metadata["rank"],
            metadata["lossHistory"],
            restored_spec(metadata["objective"]) if metadata["objective"] else None,
            metadata.get("stopReason"),
        )
        model.known_pairs = known
        DefaultParamsReader.getAndSetParams(with_uid(model, metadata["uid"]), metadata)
        return model


def _read_frame(spark: SparkSession, path: str, name: str) -> DataFrame | None:
    """A frame of a saved model; None of training pairs that were not saved."""
    folder = f"{path}/{_FRAMES[name]}"
    if name == _PAIRS and not parquet_spill.exists(spark, folder):
        return None
    return spark.read.parquet(folder)
