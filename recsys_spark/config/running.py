"""Where the work is done and noted, and data that is invented."""

from typing import Literal

from pydantic import Field, field_validator

from recsys_spark.config.section import Fraction, Section

_SERVERS_WITHOUT_ADDRESS = ("databricks", "databricks-uc", "uc")
USE_INSTEAD = "use sqlite:///FILE.db or the address of a server"


def is_plain_folder(uri: str) -> bool:
    """Whether a tracking URI is a folder of files, which MLflow no longer writes to."""
    scheme, colon, _ = uri.partition(":")
    return scheme.lower() == "file" if colon else uri not in _SERVERS_WITHOUT_ADDRESS


class Paths(Section):
    root: str = Field("recsys_data", description="Folder or URI under which tables and runs live.")


class Spark(Section):
    master: str | None = Field(
        None,
        description="Used only where spark-submit has not chosen a master; null: that of Spark's "
        "own settings, else local[*].",
    )
    app_name: str = Field("recsys_spark", description="Name shown in Spark's own pages.")
    driver_memory: str = Field(
        "4g", description="Heap of the local-mode JVM; spark-submit has its own option."
    )
    shuffle_partitions: int | None = Field(
        None, ge=1, description="Partitions of a shuffle; null: two per core in local mode."
    )
    conf: dict[str, str] = Field(
        {}, description="Further spark.* settings; those given to spark-submit win."
    )


class Tracking(Section):
    backend: Literal["mlflow", "none"] = Field("mlflow", description="Where runs are mirrored.")
    uri: str | None = Field(
        None, description="Tracking server; null: MLFLOW_TRACKING_URI, else sqlite under the root."
    )
    experiment: str = Field("recsys_spark", description="Name of the MLflow experiment.")
    required: bool = Field(False, description="Whether a dead tracking server fails the run.")

    @field_validator("uri")
    @classmethod
    def _served(cls, value: str | None) -> str | None:
        if value is not None and is_plain_folder(value):
            raise ValueError(f"is a plain folder, which MLflow 3 refuses; {USE_INSTEAD}")
        return value


class Generate(Section):
    path: str = Field("generated", description="Folder that the data set is written to.")
    kind: Literal["explicit", "implicit"] = Field("explicit", description="Ratings, or counts.")
    format: Literal["csv", "parquet"] = Field("csv", description="Format of the ratings.")
    users: int = Field(2000, ge=1, description="Number of users.")
    items: int = Field(1000, ge=1, description="Number of items.")
    interactions: int = Field(100_000, ge=1, description="Number of ratings, about.")
    rank: int = Field(8, ge=1, le=64, description="Length of the planted factors.")
    noise: float = Field(0.3, ge=0, description="Standard deviation of a rating's noise; stars.")
    user_skew: float = Field(0.8, ge=0, description="Exponent of the users' activity.")
    item_skew: float = Field(0.9, ge=0, description="Exponent of the items' popularity.")
    bad_fraction: Fraction = Field(
        0.0, ge=0, lt=1, description="Share of broken rows mixed in, to see them rejected."
    )
    partitions: int = Field(8, ge=1, description="Files of the ratings.")
    seed: int = Field(42, description="Same seed, same rows, on any cluster.")
