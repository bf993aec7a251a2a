"""Parameters that the Estimator and the Model share, under MLlib's names where MLlib has them."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, get_args, get_origin

from pyspark.ml.param import Param, TypeConverters
from pyspark.ml.param.shared import HasPredictionCol, HasSeed
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.execution_plan import Placement
from recsys_spark.errors import UnknownParameterError, settings_named
from recsys_spark.kernels.als.keys import Key, keys_of
from recsys_spark.kernels.als.solver import Solver, resolve_solver
from recsys_spark.kernels.als.spec import PRESETS, WalsSpec, check_value, resolve_spec
from recsys_spark.ml import columns
from recsys_spark.spark_internals import ml_param, text_param, whole_param

# The parameter for each key of the specs, and for what else messages of training name.
_OF_KEYS = {
    name: own.parameter for spec in (WalsSpec, Solver) for name, own in keys_of(spec).items()
}
PARAMETERS: Mapping[str, str] = {
    **_OF_KEYS,
    "preset": "objective",
    "placement": "placement",
    "blocks": "numBlocks",
    "timestamp": "timestampCol",
    "broadcast_budget_bytes": "",  # which has no parameter
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


@settings_named(PARAMETERS)
def _value_of(own: Key, value: Any) -> Any:
    """The value of a key's parameter. Raises ConfigError for one that the key never takes."""
    converted = _CONVERTERS[get_origin(own.kind) or own.kind](value)
    check_value(own, converted)
    return converted


_CONVERTERS: Mapping[Any, Callable[[Any], Any]] = {
    bool: TypeConverters.toBoolean,
    float: TypeConverters.toFloat,
    int: TypeConverters.toInt,
    str: TypeConverters.toString,
    Literal: TypeConverters.toString,
    tuple: TypeConverters.toListFloat,
}


def with_keys_of(*specs: type) -> Callable[[type], type]:
    """Give a class a parameter for each key of the specs that it has none for."""

    def give(cls: type) -> type:
        for own in (own for spec in specs for own in keys_of(spec).values()):
            if not hasattr(cls, own.parameter):
                doc = own.described(_OF_KEYS, "unset")
                converter = partial(_value_of, own)
                setattr(cls, own.parameter, ml_param(own.parameter, doc, converter))
        return cls

    return give


def with_accessors(cls: type) -> type:
    """Give every parameter `p` of the class its `getP`, as MLlib's classes have."""
    for name in [key for key, value in vars(cls).items() if isinstance(value, Param)]:
        method = "get" + name[0].upper() + name[1:]
        setattr(cls, method, lambda self, name=name: self.getOrDefault(name))
    return cls


@with_accessors
class ModelParams(HasPredictionCol):
    """Column names of the data, and what to predict for ids without factors."""

    userCol = text_param("userCol", "column of the user ids, whole numbers")
    itemCol = text_param("itemCol", "column of the item ids, whole numbers")
    ratingCol = text_param("ratingCol", "column of the values; '' counts 1")
    weightCol = text_param("weightCol", "column that multiplies the weights")
    targetCol = text_param("targetCol", "column of the targets")
    timestampCol = text_param("timestampCol", "column of the times")
    coldStartStrategy = text_param(
        "coldStartStrategy", "for ids without factors: 'nan', or 'drop' the row", ("nan", "drop")
    )
    numItems = whole_param(
        "numItems",
        "items that transform lists for each row's user, in recommendationsCol; 0: none",
        0,
    )
    recommendationsCol = text_param("recommendationsCol", "column of the lists")

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
        raise UnknownParameterError(f"{type(self).__name__} has no {name}{self._hint(param)}")

    def _hint(self, name: str) -> str:
        if name in _COUNTERPARTS:
            return f": {_COUNTERPARTS[name]} (docs/objectives.md)."
        if PARAMETERS.get(name):
            return f"; here it is {PARAMETERS[name]}."
        names = [key for cls in type(self).__mro__ for key in vars(cls) if not key.startswith("_")]
        near = get_close_matches(name, names, n=1)
        return f"; did you mean {near[0]}?" if near else "."

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
@with_keys_of(WalsSpec, Solver)
class EstimatorParams(ModelParams, HasSeed):
    """The objective's parameters; those not set take the value of the preset `objective`.

    `rank`, `regParam` and what else `WalsSpec` and `Solver` have keys for is made from them.
    """

    objective = text_param("objective", ", ".join(PRESETS), tuple(PRESETS))
    numBlocks = whole_param("numBlocks", "blocks a side; 0 chooses", 0)
    placement = text_param("placement", "replicated, sharded, driver, or auto", get_args(Placement))

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(objective="ials", numBlocks=0, solver="auto", placement="auto")
        self._setDefault(seed=keys_of(WalsSpec)["seed"].default)

    @settings_named(PARAMETERS)
    def spec(self) -> WalsSpec:
        """The complete objective. Raises ConfigError for a parameter without effect."""
        return resolve_spec(self.getOrDefault("objective"), **self._given(WalsSpec))

    @settings_named(PARAMETERS)
    def row_solver(self) -> Solver:
        """How rows are solved. Raises ConfigError for a parameter without effect."""
        return resolve_solver(self.spec(), **self._given(Solver))

    def _given(self, spec: type) -> dict[str, Any]:
        """The keys of a spec that are set or have a default."""
        return {
            name: self.getOrDefault(own.parameter)
            for name, own in keys_of(spec).items()
            if self.isDefined(own.parameter)
        }
