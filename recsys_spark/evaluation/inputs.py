"""Inputs of the metrics: lists in one form, ids of one type, cut-offs of 1 or more.

The pipeline validates its own tables before it writes them; other tables are put in order here: a
repeated item of a list is a miss, and several rows of a user are one list.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DoubleType,
    IntegralType,
    LongType,
    NumericType,
    StringType,
    StructType,
)

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.schema import require


def ranked_lists(recommendations: DataFrame, model: str | Sequence[str]) -> DataFrame:
    """Columns user_id, model and list: the items best first, null where one stands again.

    A row a user and model: of several, entries are taken by their place, those of equal ranks by
    item id. Entries are structs with item_id and rank, in any order; without rank, or as plain
    items, they are taken in the order in which they stand. Entries without a rank come last.

    Raises ContractError for another column.
    """
    required = ["user_id", "recommendations", *([] if isinstance(model, str) else ["model"])]
    require(recommendations, required, "recommendations")
    name = F.lit(model) if isinstance(model, str) else F.col("model")
    items = _in_order(recommendations).alias("list")
    rows = recommendations.select("user_id", name.alias("model"), items)
    lists = rows.groupBy("user_id", "model").agg(F.collect_list("list").alias("lists"))
    merged = F.when(F.size("lists") > 1, _merged("lists")).otherwise(F.get("lists", F.lit(0)))
    lists = lists.select("user_id", "model", merged.alias("list"))
    return lists.withColumn("list", _each_once("list"))


def listed_type(recommendations: DataFrame) -> DataType:
    """The type of the items of the lists. Raises ContractError for other columns."""
    require(recommendations, ["recommendations"], "recommendations")
    kind = recommendations.schema["recommendations"].dataType
    entry = kind.elementType if isinstance(kind, ArrayType) else None
    if entry is None:
        raise ContractError(
            f"Column recommendations is {kind.simpleString()}; it must be an array of structs with "
            "item_id and rank, or of items, best first."
        )
    if not isinstance(entry, StructType):
        return entry
    if "item_id" not in entry.names:
        raise ContractError(
            f"The entries of recommendations have no item_id; they have {', '.join(entry.names)}. "
            "Name the item of each entry item_id, and its rank rank."
        )
    if "rank" in entry.names and not isinstance(entry["rank"].dataType, NumericType):
        raise ContractError(
            f"The rank of recommendations is {entry['rank'].dataType.simpleString()}; it must be "
            "a number, 1 for the best."
        )
    return entry["item_id"].dataType


def _in_order(recommendations: DataFrame) -> Column:
    listed_type(recommendations)
    entry = recommendations.schema["recommendations"].dataType.elementType  # type: ignore[attr-defined]
    if not isinstance(entry, StructType):
        return F.col("recommendations")
    if "rank" not in entry.names:
        return F.transform("recommendations", lambda e: e["item_id"])
    ranked = F.transform(
        "recommendations", lambda e: F.struct(e["rank"].isNull(), e["rank"], e["item_id"])
    )
    return F.transform(F.sort_array(ranked), lambda e: e["item_id"])


def _merged(lists: str) -> Column:
    """One list of several: their first items, then their second ones, and so on."""
    placed = F.transform(
        lists, lambda items: F.transform(items, lambda item, at: F.struct(at, item.alias("item")))
    )
    return F.transform(F.sort_array(F.flatten(placed)), lambda entry: entry["item"])


def _each_once(items: str) -> Column:
    first = F.transform(
        items, lambda item, at: F.when(F.array_position(items, item) == at + 1, item)
    )
    distinct = F.size(F.array_distinct(items)) == F.size(items)
    return F.when(distinct, F.col(items)).otherwise(first)


def common_type(one: tuple[str, DataType], other: tuple[str, DataType]) -> DataType:
    """The type in which ids of both are compared: theirs; bigint or double for numbers.

    one, other: what the ids are called in a message, and their types. Raises ContractError for
    types that do not compare.
    """
    (name, kind), (other_name, other_kind) = one, other
    if isinstance(kind, IntegralType) and isinstance(other_kind, IntegralType):
        return LongType()
    if isinstance(kind, NumericType) and isinstance(other_kind, NumericType):
        return DoubleType()  # whole numbers in a double column, as StringIndexer makes them
    if kind != other_kind:
        raise ContractError(
            f"{name} is {kind.simpleString()} and {other_name} is {other_kind.simpleString()}: "
            "cast one of them, so that the same id is the same value in both."
        )
    return kind


def listed_as(recommendations: DataFrame, **others: DataFrame) -> DataType:
    """The type in which listed items compare with column item_id of another frame, by its name.

    That of `common_type`; whole numbers in lists become text where the others are. Raises likewise.
    """
    ((name, frame),) = others.items()
    listed, kind = listed_type(recommendations), frame.schema["item_id"].dataType
    if isinstance(listed, IntegralType) and isinstance(kind, StringType):
        return kind
    return common_type(("item_id of recommendations", listed), (f"item_id of {name}", kind))


def require_same(column: str, **frames: DataFrame) -> DataType:
    """The common type of a column of all frames, by their names. Raises as `common_type`."""
    (name, kind), *others = [
        (f"{column} of {name}", frame.schema[column].dataType) for name, frame in frames.items()
    ]
    for other in others:
        kind = common_type((name, kind), other)
    return kind


def require_whole(name: str, frame: DataFrame, *columns: str) -> None:
    """Raise ContractError if a column is not of whole numbers."""
    for column in columns:
        kind = frame.schema[column].dataType
        if not isinstance(kind, IntegralType):
            raise ContractError(
                f"Column {column} of {name} is {kind.simpleString()}; it must be whole numbers, as "
                "the factors have them."
            )


def cutoffs(k: Sequence[int]) -> list[int]:
    """Each cut-off once, ascending. Raises ConfigError if there is none, or one below 1."""
    found = sorted(set(k))
    if not found or found[0] < 1:
        raise ConfigError(f"k is {list(k)}; give cut-offs, whole numbers of 1 or more.")
    return found


def gain(truth: DataFrame) -> Column:
    """The gains of graded metrics: column value if there is one; what is no number counts 0.

    Raises ContractError if the column is not numeric.
    """
    if "value" not in truth.columns:
        return F.lit(1.0)
    kind = truth.schema["value"].dataType
    if not isinstance(kind, NumericType):
        raise ContractError(f"Column value of truth is {kind.simpleString()}; gains are numbers.")
    value = F.col("value").cast("double")
    return F.when(F.abs(value) < float("inf"), value).otherwise(0.0)


def refuse_repeated(ids: pa.ChunkedArray, table: str, what: str) -> None:
    """Raise ContractError if an id is there twice or missing."""
    if ids.null_count or pc.count_distinct(ids).as_py() < len(ids):
        raise ContractError(
            f"{table} has an {what} twice, or one without an id: give each {what} one row."
        )
