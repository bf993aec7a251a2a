"""The session of a command: opened when it is first needed, closed with the command."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pyspark.sql import SparkSession

from recsys_spark.config import KEYS, Config
from recsys_spark.errors import settings_named
from recsys_spark.pipeline.inputs import event_bytes
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.session import open_session
from recsys_spark.spark_internals import active_context
from recsys_spark.storage.store import local_folder

Session = Callable[[], SparkSession]


@contextmanager
def lazy_session(
    config: Config, log: Log, debug: bool = False, read_only: bool = False
) -> Iterator[Session]:
    """A function that opens the `session` at its first call; it is closed at the end.

    Until then, messages name settings by the keys of the configuration.
    """
    with settings_named(KEYS), ExitStack() as stack:
        yield cache(lambda: stack.enter_context(session(config, log, debug, read_only)))


@contextmanager
def session(
    config: Config, log: Log, debug: bool = False, read_only: bool = False
) -> Iterator[SparkSession]:
    """A session that is stopped afterwards, unless it was there before.

    read_only: Spark's log is not kept under the root.
    """
    existing = active_context()
    log.progress("starting Spark")
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) if read_only else local_folder(config.paths.root)
        log_file = None if folder is None or debug else folder / "logs" / "spark.log"
        spark = open_session(config.spark, log_file, log.quiet, event_bytes(config))
        try:
            yield spark
        finally:
            if existing is None:
                spark.stop()
