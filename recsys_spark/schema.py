"""Every table's columns and types, once.

Ids keep the type of the source, string or long, so the tables that hold them are functions of
those types; indices are dense integers that stay inside the project.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from recsys_spark.errors import ContractError

ID_TYPES: dict[str, DataType] = {"string": StringType(), "long": LongType()}
_NUMBER = r"^-?\d{1,38}(\.\d*)?([eE][+-]?\d{1,3})?\z"


def typed_id(text: Column, kind: str) -> Column:
    """An id as string or bigint. A bigint may be written with a fraction of 0 or an exponent.

    Null for a text that is no whole number of 64 bits.
    """
    if kind != "bigint":
        return text
    plain = text.try_cast("bigint")
    number = F.when(text.rlike(_NUMBER), text.try_cast("decimal(38,9)"))
    whole = F.when(number == F.floor(number), number.try_cast("bigint"))
    return F.when(plain.cast("string") == text, plain).otherwise(whole)  # mostly without decimals


def _table(*columns: tuple[str, DataType] | tuple[str, DataType, bool]) -> StructType:
    return StructType([StructField(*column) for column in columns])


def interactions(user_id: DataType, item_id: DataType) -> StructType:
    """Accepted user-item pairs, with their ids, dense indices, value and time."""
    return _table(
        ("user_id", user_id),
        ("item_id", item_id),
        ("value", DoubleType()),
        ("timestamp", TimestampType()),
        ("user", IntegerType()),
        ("item", IntegerType()),
    )


REJECTS = _table(
    ("raw", StringType()),
    ("source_file", StringType()),
    ("reasons", ArrayType(StringType())),
)


def ids(id_type: DataType) -> StructType:
    """The dictionary of one side: external id to dense index."""
    return _table(("id", id_type), ("index", IntegerType()))


def items(item_id: DataType) -> StructType:
    """Names of items, for people."""
    return _table(
        ("item_id", item_id), ("title", StringType()), ("genres", ArrayType(StringType()))
    )


RATINGS = _table(
    ("user", IntegerType()),
    ("item", IntegerType()),
    ("value", DoubleType()),
    ("timestamp", TimestampType()),
)

PAIRS = _table(("user", IntegerType()), ("item", IntegerType()))

FACTORS = _table(("id", IntegerType()), ("factors", ArrayType(FloatType())))

MODEL_FACTORS = _table(("model", StringType()), *((f.name, f.dataType) for f in FACTORS))

ITEM_NEIGHBOURS = _table(
    ("model", StringType()),
    ("item", IntegerType()),
    ("neighbours", ArrayType(IntegerType())),
    ("weights", ArrayType(FloatType())),
)

# segment: among whose users the score is counted; null: among all.
ITEM_SCORES = _table(
    ("model", StringType()),
    ("segment", StringType()),
    ("item", IntegerType()),
    ("score", FloatType()),
)

METRICS = _table(
    ("run_id", StringType()),
    ("model", StringType()),
    ("split", StringType()),
    ("metric", StringType()),
    ("k", IntegerType()),
    ("segment", StringType()),
    ("value", DoubleType()),
    ("ci_low", DoubleType()),
    ("ci_high", DoubleType()),
    ("users", LongType()),
)


PER_USER_KEY = ("user_id", "model", "split", "segment", "k")


def per_user(user_id: DataType, metrics: Sequence[str]) -> StructType:
    """One row a user, model, segment of the truth and cut-off; a column a metric."""
    return _table(
        ("user_id", user_id),
        ("model", StringType()),
        ("split", StringType()),
        ("segment", StringType()),
        ("k", IntegerType()),
        *((name, DoubleType()) for name in metrics),
    )


def metric_names(frame: DataFrame) -> list[str]:
    """The columns of a frame like `per_user` that are metrics."""
    return [name for name in frame.columns if name not in PER_USER_KEY]


def recommendation_list(
    item_id: DataType,
    marked: bool = False,
    explained: bool = False,
    entry: str = "item_id",
    members: DataType | None = None,
) -> ArrayType:
    """A ranked list; scores compare within one source only. entry: what is listed.

    marked: with the time of the last interaction. explained: with the items of the user that add
    most to the score, and how much. members: the type of user ids, for a list of a group with the
    score of each of its members.
    """
    columns: list[tuple[str, DataType]] = [
        (entry, item_id),
        ("score", FloatType()),
        ("rank", IntegerType()),
    ]
    if marked:
        columns.append(("last_interaction", TimestampType()))
    if explained:
        because = _table(("item_id", item_id), ("score", FloatType()))
        columns.append(("because", ArrayType(because)))
    if members is not None:
        scores = _table(("user_id", members), ("score", FloatType()))
        columns.append(("member_scores", ArrayType(scores)))
    return ArrayType(_table(*columns))


def recommendations(
    user_id: DataType, item_id: DataType, marked: bool = False, explained: bool = False
) -> StructType:
    """One list a user; `source` says which recommender made it."""
    return _table(
        ("user_id", user_id),
        ("recommendations", recommendation_list(item_id, marked, explained)),
        ("source", StringType()),
        ("model_version", StringType()),
    )


def similar(key: str, id_type: DataType) -> StructType:
    """The items (or users) most like each, by its column `key`; scores are cosines."""
    return _table((key, id_type), ("similar", recommendation_list(id_type, entry=key)))


def group_recommendations(item_id: DataType, members: DataType | None = None) -> StructType:
    """One list a group of users; members: see `recommendation_list`."""
    return _table(
        ("group_id", StringType()),
        ("recommendations", recommendation_list(item_id, members=members)),
        ("source", StringType()),
        ("model_version", StringType()),
    )


@dataclass(frozen=True)
class ListColumns:
    """The columns of a table of lists.

    lists: the list itself. owner: the id that a list belongs to, which is called `named` where it
    stands beside the ids of the list's entries. others: what else the list says of itself. entry:
    the id of an entry.
    """

    lists: str
    owner: str
    named: str
    others: tuple[str, ...] = ()
    entry: str = "item_id"


LISTS = {
    "recommendations": ListColumns("recommendations", "user_id", "user_id", ("source",)),
    "group_recommendations": ListColumns("recommendations", "group_id", "group_id", ("source",)),
    "similar_items": ListColumns("similar", "item_id", "like_item_id"),
    "similar_users": ListColumns("similar", "user_id", "like_user_id", entry="user_id"),
}


def quoted(name: str) -> str:
    """A column's name as Spark takes it where a dot or a backtick would mean something else."""
    return "`" + name.replace("`", "``") + "`"


def require_spark(frame: Any, name: str) -> None:
    """Raise ContractError, with the cure, for what is no DataFrame of Spark, such as pandas'."""
    if not isinstance(frame, DataFrame):
        cure = f"{name}.to_spark()" if hasattr(frame, "to_spark") else None
        raise ContractError(
            f"{name} is a {type(frame).__module__}.{type(frame).__qualname__}; it must be a "
            f"DataFrame of Spark: {cure or f'spark.createDataFrame({name})'} makes one."
        )


def require(frame: DataFrame, columns: list[str], name: str) -> None:
    """Raise ContractError, listing what is there, if the frame lacks one of the columns."""
    require_spark(frame, name)
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ContractError(
            f"{name} lacks the column {', '.join(missing)}; it has {', '.join(frame.columns)}."
        )
