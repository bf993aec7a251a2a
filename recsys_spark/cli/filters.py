"""Filters of rows as people write them: column=value."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_

import pyarrow as pa
import pyarrow.dataset as ds
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructType

from recsys_spark.errors import ConfigError, similar_name
from recsys_spark.schema import quoted
from recsys_spark.storage.local import one_of

# Wanted values as text, by column; an empty text stands for null, too.
Filters = Mapping[str, Sequence[str]]
_MOST = 20  # values that are named where none matches


def parse_filters(texts: Sequence[str], users: Sequence[str] = ()) -> Filters:
    """Filters of texts such as model=walks; several of a column are alternatives.

    users: ids, for the column user_id. Raises ConfigError for a text without =.
    """
    found: dict[str, list[str]] = {"user_id": list(users)} if users else {}
    for text in texts:
        column, equals, value = text.partition("=")
        if not equals or not column:
            raise ConfigError(f"--where {text} has no column: write --where COLUMN=VALUE.")
        found.setdefault(column.strip(), []).append(value)
    return found


def check_filters(filters: Filters, schema: StructType, table: str) -> None:
    """Raise ConfigError for columns that a table does not have, or that hold lists."""
    for column in filters:
        if column not in schema.names:
            raise ConfigError(
                f"Table {table} has no column {column}{similar_name(column, schema.names)}; it has "
                f"{', '.join(schema.names)}."
            )
        if isinstance(schema[column].dataType, ArrayType | StructType):
            raise ConfigError(f"Column {column} of {table} holds lists: filter by another one.")


def of_dataset(data: ds.Dataset, filters: Filters) -> ds.Expression | None:
    """Which rows of files match all filters; None: every row does."""
    found = [_matches(data, column, values) for column, values in filters.items()]
    return reduce(and_, found) if found else None


def _matches(data: ds.Dataset, column: str, values: Sequence[str]) -> ds.Expression:
    same = one_of(data, column, values)
    return same | ds.field(column).is_null() if "" in values else same


def of_frame(frame: DataFrame, filters: Filters) -> DataFrame:
    """The rows of a frame that match all filters."""
    return reduce(
        lambda rows, own: rows.where(_same(F.col(quoted(own[0])), own[1])), filters.items(), frame
    )


def _same(column: Column, values: Sequence[str]) -> Column:
    same = column.cast("string").isin(list(values))
    return same | column.isNull() if "" in values else same


def nothing_matches(filters: Filters, some: pa.Table, what: str) -> ConfigError:
    """The refusal of filters that no row matches.

    some: rows of the table, whose values are named. what: the table, for the message.
    """
    if list(filters) == ["user_id"]:
        asked, found = f"user {', '.join(filters['user_id'])}", ""
    else:
        asked = "row with " + ", ".join(
            f"{column}={' or '.join(values)}" for column, values in filters.items()
        )
        found = "".join(_values(some, column) for column in filters)
    return ConfigError(
        f"{what} has no {asked}: values are compared as they are written, also by case.{found}"
    )


def _values(some: pa.Table, column: str) -> str:
    """What a column has, where that is a few texts."""
    if not pa.types.is_string(some[column].type):
        return ""
    values = sorted(some[column].unique().drop_null().to_pylist())
    return f" {column} is {', '.join(values)}." if 0 < len(values) <= _MOST else ""
