"""Frames kept in files while training lasts, each file read back as one partition."""

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.spark_internals import hadoop_path

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


def exists(spark: SparkSession, path: str) -> bool:
    """Whether there is a file or folder."""
    files, at = hadoop_path(spark, path)
    return bool(files.exists(at))


def reads(frame: DataFrame, path: str) -> bool:
    """Whether a frame reads files of a folder."""
    files, at = hadoop_path(frame.sparkSession, path)
    folder = f"{files.makeQualified(at)}/"
    return any(
        str(hadoop_path(frame.sparkSession, file)[1]).startswith(folder)
        for file in frame.inputFiles()
    )


def replace(spark: SparkSession, new: str, path: str) -> None:
    """Put a folder in the place of another, which is deleted when the new one is there.

    A rename into a folder that exists would put it inside; so the old one is moved away first, and
    back if the new one cannot be moved.
    """
    files, at = hadoop_path(spark, path)
    _, made = hadoop_path(spark, new)
    _, old = hadoop_path(spark, f"{new}.old")
    if not files.rename(at, old):
        raise OSError(
            f"{path} could not be replaced: moving it to {old} failed; nothing was changed."
        )
    if not files.rename(made, at):
        files.rename(old, at)
        raise OSError(f"{path} could not be replaced: moving {new} there failed.")
    files.delete(old, True)


def is_complete(spark: SparkSession, path: str) -> bool:
    """Whether a write to this path has ended."""
    return exists(spark, f"{path}/_SUCCESS")


def delete(spark: SparkSession, path: str) -> None:
    """Delete a folder, if it is there."""
    files, at = hadoop_path(spark, path)
    files.delete(at, True)


def delete_empty(spark: SparkSession, path: str) -> None:
    """Delete a folder that holds nothing, if it is there."""
    files, at = hadoop_path(spark, path)
    if files.exists(at) and not len(files.listStatus(at)):
        files.delete(at, False)
