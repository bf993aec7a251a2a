"""The genres of the items, by which rules and metrics group them."""

from pyspark.sql import DataFrame

from recsys_spark.config import Items
from recsys_spark.errors import ConfigError


def item_genres(section: Items, items: DataFrame | None, ids: DataFrame) -> DataFrame | None:
    """Columns item (the index) and genres (array<string>); None where items have none.

    items: columns item_id, genres and others; None: there is no such table. ids: columns id, index,
    of the items.
    """
    if section.columns.genres is None or items is None:
        return None
    return items.join(ids.toDF("item_id", "item"), "item_id").select("item", "genres")


def require_genres(genres: DataFrame | None, key: str) -> DataFrame:
    """The genres; raises ConfigError, which names the setting that needs them, for None."""
    if genres is None:
        raise ConfigError(
            f"{key} needs the items' genres, and the ingested tables have none: `recsys-spark "
            "ingest` with items.path and items.columns.genres reads them."
        )
    return genres
