"""All that the package uses of PySpark and py4j beyond their documented interface.

PySpark may change any of it in any version, so every function here has its own test
(`tests/test_spark_internals.py`), and `tests/test_architecture.py` fails where another module uses
such parts. Needs a classic session: Spark Connect has no JVM beside it.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Any, TypeVar

from pyspark import Broadcast, SparkConf, SparkContext
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from recsys_spark.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.ml.param import Param, Params

M = TypeVar("M", bound="Params")
T = TypeVar("T")


def active_context() -> SparkContext | None:
    """The context of this process, if one was started."""
    return SparkContext._active_spark_context


def start_java(settings: Iterable[tuple[str, str]]) -> None:
    """Start the JVM with these settings, unless it runs; without a context yet.

    Raises PySparkRuntimeError if it ends before it answers.
    """
    SparkContext._ensure_initialized(conf=SparkConf(False).setAll([*settings]))


def java_class(name: str) -> Any:
    """A class of the running JVM by its full name; calling it makes an object."""
    return getattr(SparkContext._jvm, name)


def scala_object(name: str) -> Any:
    """The one instance of an `object` of Scala, by its full name."""
    return getattr(java_class(f"{name}$"), "MODULE$")


def java_array(kind: Any, size: int) -> Any:
    """An array of objects of a class, (size,)."""
    gateway: Any = SparkContext._gateway
    return gateway.new_array(kind, size)


def hadoop_configuration(spark: SparkSession) -> Any:
    """The Hadoop `Configuration` of the session's context."""
    return spark.sparkContext._jsc.hadoopConfiguration()


def hadoop_path(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """The Hadoop `FileSystem` of a path or address, and its `Path`."""
    at = java_class("org.apache.hadoop.fs.Path")(path)
    return at.getFileSystem(hadoop_configuration(spark)), at


def conf_bytes(context: SparkContext, key: str, default: str) -> int:
    """A setting of Spark that is a size, in bytes; the default as Spark writes sizes ("1g")."""
    return int(context._jsc.sc().conf().getSizeAsBytes(key, default))


def persistent_rdds(context: SparkContext) -> dict[int, Any]:
    """The RDDs of the JVM that are persisted, by their ids."""
    return dict(context._jsc.getPersistentRDDs())


def encrypts_files(context: SparkContext) -> bool:
    """Whether Spark encrypts what it writes to local disks."""
    return bool(context._encryption_enabled)


def broadcast_file(context: SparkContext, write: Callable[[IO[bytes]], None]) -> "Broadcast[Any]":
    """Broadcast the file that `write` fills; its value is what unpickling the file gives.

    Every host gets one copy (`broadcast_path`). For contexts that do not encrypt files.
    """
    return _Written(context, write, context._pickled_broadcast_vars)


class _Written(Broadcast[Any]):
    def dump(self, value: Any, f: IO[bytes]) -> None:
        value(f)
        f.close()


def broadcast_path(broadcast: "Broadcast[Any]") -> str:
    """Where the file of a broadcast is on this host."""
    return str(broadcast._path)


def worker_python(context: SparkContext) -> str:
    """The interpreter that runs Python workers."""
    return context.pythonExec


def set_worker_python(context: SparkContext, python: str) -> None:
    """Let workers that start from now on run this interpreter."""
    context.pythonExec = python


def fork_workers() -> None:
    """Serve as the process that forks Python workers, until Spark ends it."""
    from pyspark.daemon import manager

    manager()


def spark_to_arrow(schema: StructType, timezone: str) -> "pa.Schema":
    """The Arrow schema in which Spark exchanges rows of this schema."""
    return to_arrow_schema(schema, timezone=timezone)


def ml_param(name: str, doc: str, converter: Callable[[Any], T]) -> "Param[T]":
    """A parameter of Spark ML, to be declared in a class."""
    from pyspark.ml.param import Param, Params  # loads all of Spark ML

    return Param(Params._dummy(), name, doc, converter)


def text_param(name: str, doc: str, choices: Sequence[str] = ()) -> "Param[str]":
    """One that takes text: one of the choices, if there are any. Others are a ConfigError."""
    return ml_param(name, doc, partial(_one_of, name, choices))


def whole_param(name: str, doc: str, least: int) -> "Param[int]":
    """One that takes whole numbers; those below the least are a ConfigError."""
    return ml_param(name, doc, partial(_at_least, name, least))


def _one_of(name: str, choices: Sequence[str], value: Any) -> str:
    from pyspark.ml.param import TypeConverters

    text = TypeConverters.toString(value)
    if choices and text not in choices:
        raise ConfigError(f"{name} is {text!r}; choose one of {', '.join(choices)}.")
    return text


def _at_least(name: str, least: int, value: Any) -> int:
    from pyspark.ml.param import TypeConverters

    number = TypeConverters.toInt(value)
    if number < least:
        raise ConfigError(f"{name} is {number}; it must be {least} or more.")
    return number


def with_uid(model: M, uid: str) -> M:
    """The model, named as the estimator that trained it, or as it was when it was saved."""
    return model._resetUid(uid)
