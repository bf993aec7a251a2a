"""Wiring of segments: the attributes of users by which models count, from evaluate.users."""

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import Model, UserAttributes
from recsys_spark.io.side_tables import read_user_attributes
from recsys_spark.pipeline.side_tables import SideTables
from recsys_spark.schema import quoted


def user_segments(
    tables: SideTables, attributes: DataFrame, column: str, new: bool = False
) -> DataFrame:
    """Columns user_id and segment, the value of a column of evaluate.users, a row a user.

    tables: they know user_id. attributes: from `read_user_attributes`. Users without a value are
    left out; of several values the first by its text counts. new: whether ids that the interactions
    do not have are kept.
    """
    value = F.col(quoted(column)).cast("string").alias("segment")
    rows = attributes.select("user_id", value).dropna()
    typed = tables.match("evaluate.users", rows, new)
    return typed.groupBy("user_id").agg(F.min("segment").alias("segment"))


def indexed_segments(tables: SideTables, attributes: DataFrame, column: str) -> DataFrame:
    """Columns user (index) and segment, of users of the interactions."""
    ids = tables.known["user_id"].toDF("user_id", "user")
    return user_segments(tables, attributes, column).join(ids, "user_id").select("user", "segment")


def segments_of(
    tables: SideTables, section: UserAttributes, models: Mapping[str, Model]
) -> dict[str, DataFrame]:
    """`user_segments`, also of new users, by the name of the model that counts within them."""
    columns = counted_columns(models)
    if not columns:
        return {}
    attributes = read_user_attributes(tables.spark, section)
    return {name: user_segments(tables, attributes, own, new=True) for name, own in columns.items()}


def counted_columns(models: Mapping[str, Model]) -> dict[str, str]:
    """The column that each of these models counts by, if it does."""
    return {name: model.segment_by for name, model in models.items() if model.segment_by}
