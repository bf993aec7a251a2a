"""Wiring of generate: write a synthetic data set where the configuration says."""

import json

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.runtime.log import Log
from recsys_spark.storage.store import open_store
from recsys_spark.synthetic import generate as make


def generate(spark: SparkSession, config: Config, log: Log) -> dict[str, str]:
    """Write ratings, items, users and the planted truth; returns their folders.

    A folder that holds the same data set already is left as it is; any other content is refused.
    """
    settings = config.generate
    store = open_store(settings.path, lambda: spark)
    parts = ("ratings", "items", "users", "truth/users", "truth/items")
    folders = {part: store.uri(part) for part in parts}
    marker, digest = store.read("generated.json"), config.digest("generate")
    if marker and json.loads(marker)["digest"] == digest:
        log.info(f"{settings.path} already holds this data set; unchanged")
        return folders
    if marker:
        raise ConfigError(
            f"generate.path {settings.path} holds a data set made with other settings; "
            "delete it or choose another path."
        )
    made = make(spark, settings)
    log.progress(f"writing about {settings.interactions:,} ratings")
    _write(made.ratings, folders["ratings"], settings.format)
    for part, frame in (("items", made.items), ("users", made.users)):
        _write(frame.coalesce(1), folders[part], settings.format)
    for part, frame in (("truth/users", made.user_truth), ("truth/items", made.item_truth)):
        _write(frame, folders[part], "parquet")
    store.replace("generated.json", json.dumps({"digest": digest}))
    log.info(
        f"about {settings.interactions:,} ratings of {settings.users:,} users with "
        f"{settings.items:,} items in {settings.path}"
    )
    return folders


def _write(frame: DataFrame, folder: str, format_: str) -> None:
    """What a killed attempt left has no marker file and is replaced."""
    frame.write.mode("overwrite").option("header", True).format(format_).save(folder)
