"""Parameters that the Estimator and the Model share, under MLlib's names where MLlib has them."""

from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from pyspark.ml.param import Param, TypeConverters
from pyspark.ml.param.shared import HasPredictionCol, HasSeed
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.errors import UnknownParameterError
from recsys_spark.kernels.als.solver import Solver, resolve_solver
from recsys_spark.kernels.als.spec import PRESETS, WalsSpec, resolve_spec
from recsys_spark.ml import columns
from recsys_spark.spark_internals import ml_param

# The estimator's parameter for each key of the objective where it is not the key in camel case.
_RENAMED = {
    "iterations": "maxIter",
    "regularization": "regParam",
    "user_regularization": "userRegParam",
    "item_regularization": "itemRegParam",
}

# What parameters of MLlib's ALS are here. None of the others changes what ALS computes.
_COUNTERPARTS = {
    "implicitPrefs": "objective='mllib' is implicitPrefs=True, objective='mllib_explicit' is False",
    "numUserBlocks": "numBlocks is the number of blocks of either side",
    "numItemBlocks": "numBlocks is the number of blocks of either side",
    "blockSize": "leave it out: rows are solved in blocks of numBlocks, and items ranked in tiles",
    "checkpointInterval": "leave it out: plans do not grow with the iterations; blocks are kept in "
    "the checkpoint directory, if one is set",
    "intermediateStorageLevel": "leave it out: blocks are kept in the checkpoint directory, if one "
    "is set, else in memory and on disk",
    "finalStorageLevel": "leave it out, or persist the model's userFactors and itemFactors",
}


def _param_of(key: str) -> str:
    first, *rest = key.split("_")
    return _RENAMED.get(key, first + "".join(word.capitalize() for word in rest))


def _text(name: str, doc: str) -> "Param[str]":
    return ml_param(name, doc, TypeConverters.toString)


def _number(name: str, doc: str) -> "Param[float]":
    return ml_param(name, doc, TypeConverters.toFloat)


def _whole(name: str, doc: str) -> "Param[int]":
    return ml_param(name, doc, TypeConverters.toInt)


def _flag(name: str, doc: str) -> "Param[bool]":
    return ml_param(name, doc, TypeConverters.toBoolean)


def _numbers(name: str, doc: str) -> "Param[list[float]]":
    return ml_param(name, doc, TypeConverters.toListFloat)


def with_accessors(cls: type) -> type:
    """Give every parameter `p` of the class its `getP`, as MLlib's classes have."""
    for name in [key for key, value in vars(cls).items() if isinstance(value, Param)]:
        method = "get" + name[0].upper() + name[1:]
        setattr(cls, method, lambda self, name=name: self.getOrDefault(name))
    return cls


@with_accessors
class ModelParams(HasPredictionCol):
    """Column names of the data, and what to predict for ids without factors."""

    userCol = _text("userCol", "column of the user ids, whole numbers")
    itemCol = _text("itemCol", "column of the item ids, whole numbers")
    ratingCol = _text("ratingCol", "column of the values; '' counts 1")
    weightCol = _text("weightCol", "column that multiplies the weights")
    targetCol = _text("targetCol", "column of the targets")
    timestampCol = _text("timestampCol", "column of the times")
    coldStartStrategy = _text(
        "coldStartStrategy", "for ids without factors: 'nan', or 'drop' the row"
    )
    numItems = _whole(
        "numItems", "items that transform lists for each row's user, in recommendationsCol; 0: none"
    )
    recommendationsCol = _text("recommendationsCol", "column of the lists")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(
            userCol="user",
            itemCol="item",
            ratingCol="rating",
            coldStartStrategy="nan",
            predictionCol="prediction",
            numItems=0,
            recommendationsCol="recommendations",
        )

    def __getattr__(self, name: str) -> Any:
        """`setRank` and its like, one for each parameter, as MLlib's classes have them.

        Raises UnknownParameterError, an AttributeError, naming the counterpart of what MLlib has.
        """
        param = name[3:4].lower() + name[4:] if name[:3] in ("set", "get") else name
        if name.startswith("set") and isinstance(getattr(type(self), param, None), Param):
            return lambda value: self._set(**{param: value})
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise UnknownParameterError(f"{type(self).__name__} has no {name}{self._hint(param)}.")

    def _hint(self, name: str) -> str:
        if name in _COUNTERPARTS:
            return f": {_COUNTERPARTS[name]} (docs/objectives.md)"
        names = [key for cls in type(self).__mro__ for key in vars(cls) if not key.startswith("_")]
        near = get_close_matches(name, names, n=1)
        return f"; did you mean {near[0]}?" if near else ""

    def _ratings(self, dataset: DataFrame) -> DataFrame:
        """Columns user, item, value, and those of timestamp, weight and target that are named."""
        ids = {name: self.getOrDefault(f"{name}Col") for name in ("user", "item")}
        numbers = {
            name: self.getOrDefault(f"{name}Col")
            for name in ("weight", "target")
            if self.isDefined(f"{name}Col")
        }
        rating = self.getOrDefault("ratingCol")
        numbers |= {"value": rating} if rating else {}
        chosen = [columns.whole_ids(dataset, column).alias(name) for name, column in ids.items()]
        chosen += [columns.numbers(dataset, column).alias(name) for name, column in numbers.items()]
        if not rating:
            chosen.append(F.lit(1.0).alias("value"))
        if self.isDefined("timestampCol"):
            times = self.getOrDefault("timestampCol")
            chosen.append(columns.times(dataset, times).alias("timestamp"))
        columns.refuse_fractions(dataset, *ids.values())
        return dataset.select(*chosen)


@with_accessors
class EstimatorParams(ModelParams, HasSeed):
    """The objective's parameters; those not set take the value of the preset `objective`."""

    objective = _text("objective", ", ".join(PRESETS))
    rank = _whole("rank", "length of the factors")
    maxIter = _whole("maxIter", "number of sweeps")
    unobservedWeight = _number("unobservedWeight", "weight of unobserved pairs")
    userUnobservedExponent = _number(
        "userUnobservedExponent", "power of the user's frequency in unobservedWeight"
    )
    itemUnobservedExponent = _number(
        "itemUnobservedExponent", "power of the item's frequency in unobservedWeight"
    )
    weighting = _text("weighting", "binary, linear, log, power, bm25 or tfidf")
    alpha = _number("alpha", "scale of every weighting but binary")
    epsilon = _number("epsilon", "scale of the value in log weights")
    exponent = _number("exponent", "power of the value in power weights")
    bm25K1 = _number("bm25K1", "where bm25 weights level off")
    bm25B = _number("bm25B", "how much bm25 discounts frequent items")
    userFrequencyExponent = _number(
        "userFrequencyExponent", "power of the user's frequency in the weights"
    )
    itemFrequencyExponent = _number(
        "itemFrequencyExponent", "power of the item's frequency in the weights"
    )
    halfLifeDays = _number("halfLifeDays", "age at which a weight has halved")
    decayReference = _text("decayReference", "time from which ages count")
    minPositiveValue = _number("minPositiveValue", "values below are dislikes, with target 0")
    negativeAlpha = _number("negativeAlpha", "scale of the weights of dislikes")
    confidence = _text("confidence", "extra or total: on top of unobservedWeight")
    target = _text("target", "weight, unit or value")
    regParam = _number("regParam", "strength of the L2 penalty")
    userRegParam = _number("userRegParam", "regParam of the users")
    itemRegParam = _number("itemRegParam", "regParam of the items")
    nu = _number("nu", "exponent of the penalty in the row length")
    beta = _number("beta", "share of the other side in the length")
    counted = _text("counted", "length of a row: all, positive or weights")
    nuStar = _number("nuStar", "nu whose meaning of regParam is kept")
    biases = _text("biases", "none, learned, means or damped")
    biasDamping = _number("biasDamping", "damping of damped biases")
    clip = _numbers("clip", "range [low, high] of predictions")
    order = _text("order", "users_first or items_first")
    init = _text("init", "normal, unit_norm, uniform or squared_normal")
    initScale = _number("initScale", "scale of the initial factors")
    nonnegative = _flag("nonnegative", "keep factors at 0 or above")
    numBlocks = _whole("numBlocks", "blocks a side; 0 chooses")
    solver = _text("solver", "cholesky, cg, subspace, or auto")
    cgSteps = _whole("cgSteps", "steps a row of cg")
    subspaceBlock = _whole("subspaceBlock", "coordinates a block of subspace")
    placement = _text("placement", "replicated, sharded, driver, or auto")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(objective="ials", numBlocks=0, seed=42, solver="auto", placement="auto")

    def spec(self) -> WalsSpec:
        """The complete objective. Raises ConfigError for a parameter without effect."""
        names = {field.name: _param_of(field.name) for field in fields(WalsSpec)}
        given = {
            key: self.getOrDefault(name) for key, name in names.items() if self.isDefined(name)
        }
        return resolve_spec(self.getOrDefault("objective"), **given)

    def row_solver(self) -> Solver:
        """How rows are solved. Raises ConfigError for a parameter without effect."""
        names = {"cg_steps": "cgSteps", "subspace_block": "subspaceBlock"}
        given = {
            key: self.getOrDefault(name) for key, name in names.items() if self.isDefined(name)
        }
        return resolve_solver(self.spec(), self.getOrDefault("solver"), **given)
