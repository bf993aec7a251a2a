"""Frames kept in files while training lasts, each file read back as one partition."""

from typing import Any

from pyspark.sql import DataFrame, SparkSession

_CODEC = "zstd"  # as fast as the others here, and half their bytes
_WHOLE = {"spark.sql.files.maxPartitionBytes": "1g", "spark.sql.files.openCostInBytes": "1g"}


def write(frame: DataFrame, path: str, *folders: str) -> None:
    """Write Parquet, a file a partition; what stood there before is deleted.

    folders: columns whose values get folders of their own.
    """
    delete(frame.sparkSession, path)
    frame.write.partitionBy(*folders).option("compression", _CODEC).parquet(path)


def reader(spark: SparkSession) -> SparkSession:
    """A session of the same settings, but for one: what it reads has a partition a file.

    Spark would pack small files into as many partitions as there are slots, by their bytes, and a
    slot that draws slow ones would be waited for. Where opening a file is said to cost as much as
    a partition may hold, every file makes one. The caller's session keeps its settings.
    """
    own = spark.newSession()
    for key, value in (spark.conf.getAll | _WHOLE).items():
        if own.conf.isModifiable(key):
            own.conf.set(key, value)
    return own


def is_complete(spark: SparkSession, path: str) -> bool:
    """Whether a write to this path has ended."""
    files, at = _hadoop(spark, f"{path}/_SUCCESS")
    return bool(files.exists(at))


def delete(spark: SparkSession, path: str) -> None:
    """Delete a folder, if it is there."""
    files, at = _hadoop(spark, path)
    files.delete(at, True)


def delete_empty(spark: SparkSession, path: str) -> None:
    """Delete a folder that holds nothing, if it is there."""
    files, at = _hadoop(spark, path)
    if files.exists(at) and not len(files.listStatus(at)):
        files.delete(at, False)


def _hadoop(spark: SparkSession, path: str) -> tuple[Any, Any]:
    context: Any = spark.sparkContext
    at = context._jvm.org.apache.hadoop.fs.Path(path)
    return at.getFileSystem(context._jsc.hadoopConfiguration()), at
