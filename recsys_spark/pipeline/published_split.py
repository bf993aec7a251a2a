"""Wiring of splits that others have published: their files to rows with a part."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.config import Config
from recsys_spark.ingest.duplicates import combine_duplicates
from recsys_spark.ingest.validation_rules import apply_rules
from recsys_spark.io.events import Events
from recsys_spark.io.published_split import open_negatives, open_predefined
from recsys_spark.schema import typed_id
from recsys_spark.splitting.split import cut_validation


@dataclass(frozen=True)
class PublishedSplit:
    """What it is read with. interactions, ids: the run's, ids by side, columns id and index."""

    config: Config
    spark: SparkSession
    interactions: DataFrame
    ids: Mapping[str, DataFrame]


def predefined_parts(split: PublishedSplit) -> DataFrame:
    """The interactions of both files, with a column `part`: train, validation or test.

    A pair may be in train and in test. Rows that ingest has left out are left out.
    """
    config, ingest = split.config.split, split.config.ingest
    files = open_predefined(split.spark, config.predefined, ingest.source, ingest.filters)
    train, test = (_accepted(split, files[part]) for part in ("train", "test"))
    parts = cut_validation(train, config.predefined.validation, config.seed)
    parts = parts.unionByName(test.withColumn("part", F.lit("test")))
    kept = split.interactions.select("user_id", "item_id", "user", "item")
    return parts.join(kept, ["user_id", "item_id"])


def predefined_candidates(split: PublishedSplit) -> DataFrame:
    """Columns user, item: what each user's test items are ranked among; unknown ids left out."""
    pairs = open_negatives(split.spark, split.config.split.predefined).distinct()
    for side, ids in split.ids.items():
        typed = typed_id(F.col(side), ids.schema["id"].dataType.simpleString()).alias("id")
        others = [name for name in pairs.columns if name != side]
        pairs = pairs.select(typed, *others).join(ids, "id").drop("id")
        pairs = pairs.withColumnRenamed("index", side)
    return pairs.select("user", "item")


def _accepted(split: PublishedSplit, events: Events) -> DataFrame:
    """One row a pair of one file, by the rules of ingest."""
    config, known = split.config.ingest, split.interactions.schema
    user_type, item_type = (known[name].dataType.simpleString() for name in ("user_id", "item_id"))
    checked = apply_rules(events.frame, config, user_type, item_type, datetime.now(UTC))
    accepted = checked.where((F.size("reasons") == 0) & F.col("kept"))
    return combine_duplicates(accepted, config.duplicates).drop("events")
