"""Wiring of splits that others have published: their files to rows with a part."""

from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.ingest.duplicates import combine_duplicates
from recsys_spark.ingest.validation_rules import apply_rules
from recsys_spark.io.events import Events
from recsys_spark.io.published_split import open_given, open_negatives
from recsys_spark.pipeline.context import Run
from recsys_spark.schema import typed_id
from recsys_spark.splitting.split import cut_validation


def given_parts(run: Run) -> DataFrame:
    """The interactions of both files, with a column `part`: train, validation or test.

    A pair may be in train and in test. Rows that ingest has left out are left out.
    """
    config, ingest = run.config.split, run.config.ingest
    files = open_given(run.spark, config.given, ingest.source, ingest.filters)
    train, test = (_accepted(run, files[part]) for part in ("train", "test"))
    parts = cut_validation(train, config.given.validation, config.seed)
    parts = parts.unionByName(test.withColumn("part", F.lit("test")))
    kept = run.read("interactions").select("user_id", "item_id", "user", "item")
    return parts.join(kept, ["user_id", "item_id"])


def given_candidates(run: Run) -> DataFrame:
    """Columns user, item: what each user's test items are ranked among; unknown ids left out."""
    pairs = open_negatives(run.spark, run.config.split.given).distinct()
    for side in ("user", "item"):
        ids = run.read(f"{side}_ids")
        typed = typed_id(F.col(side), ids.schema["id"].dataType.simpleString()).alias("id")
        others = [name for name in pairs.columns if name != side]
        pairs = pairs.select(typed, *others).join(ids, "id").drop("id")
        pairs = pairs.withColumnRenamed("index", side)
    return pairs.select("user", "item")


def _accepted(run: Run, events: Events) -> DataFrame:
    """One row a pair of one file, by the rules of ingest."""
    config = run.config.ingest
    known = run.read("interactions").schema
    user_type, item_type = (known[name].dataType.simpleString() for name in ("user_id", "item_id"))
    checked = apply_rules(events.frame, config, user_type, item_type, datetime.now(UTC))
    accepted = checked.where((F.size("reasons") == 0) & F.col("kept"))
    return combine_duplicates(accepted, config.duplicates).drop("events")
