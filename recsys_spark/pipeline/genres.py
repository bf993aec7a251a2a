"""The genres of the items, by which rules and metrics group them."""

from pyspark.sql import DataFrame

from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.run import Run


def item_genres(run: Run, ids: DataFrame) -> DataFrame | None:
    """Columns item (the index) and genres (array<string>); None where items have none.

    ids: columns id, index, of the items.
    """
    if run.config.items.columns.genres is None or not run.has("items"):
        return None
    return run.read("items").join(ids.toDF("item_id", "item"), "item_id").select("item", "genres")


def required_genres(run: Run, ids: DataFrame, key: str) -> DataFrame:
    """The same; raises ConfigError, which names the setting that needs them, for None."""
    found = item_genres(run, ids)
    if found is None:
        raise ConfigError(f"{key} needs the items' genres: set items.path.")
    return found
