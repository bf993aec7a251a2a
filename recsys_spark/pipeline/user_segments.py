"""Wiring of segments: the attributes of users by which models count, from evaluate.users."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import Config
from recsys_spark.io.side_tables import read_user_attributes
from recsys_spark.pipeline.run import Run
from recsys_spark.pipeline.side_tables import match
from recsys_spark.schema import quoted


def user_segments(run: Run, column: str, new: bool = False) -> DataFrame:
    """Columns user_id and segment, the value of a column of evaluate.users, a row a user.

    Users without a value are left out; of several values the first by its text counts. new:
    whether ids that the interactions do not have are kept.
    """
    attributes = read_user_attributes(run.spark, run.config.evaluate.users)
    value = F.col(quoted(column)).cast("string").alias("segment")
    rows = attributes.select("user_id", value).dropna()
    typed = match(run.log, "evaluate.users", rows, {"user_id": run.read("user_ids")}, new)
    return typed.groupBy("user_id").agg(F.min("segment").alias("segment"))


def indexed_segments(run: Run, column: str) -> DataFrame:
    """Columns user (index) and segment, of users of the interactions."""
    ids = run.read("user_ids").toDF("user_id", "user")
    return user_segments(run, column).join(ids, "user_id").select("user", "segment")


def segments_of(run: Run, names: Sequence[str]) -> dict[str, DataFrame]:
    """`user_segments`, also of new users, by the name of the model that counts within them.

    names: models, whose parts count too.
    """
    columns = segment_columns(run.config, names)
    return {name: user_segments(run, column, new=True) for name, column in columns.items()}


def segment_columns(config: Config, names: Sequence[str]) -> dict[str, str]:
    """The column that each of these models, or of their parts, counts by, if it does."""
    models = {own: config.models[own] for own in config.alone(names) if own in config.models}
    return {name: model.segment_by for name, model in models.items() if model.segment_by}
