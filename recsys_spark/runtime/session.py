"""The one place where a Spark session is opened.

The master comes from spark-submit, or in local mode from the configuration's `spark` section.
What the project needs is set as a default, so that `--conf` of spark-submit wins.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pyspark import SparkConf
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from recsys_spark.config import Spark
from recsys_spark.errors import ConfigError, TransientError
from recsys_spark.runtime.jvm import java_options
from recsys_spark.spark_internals import active_context, java_class, scala_object, start_java
from recsys_spark.workers import use_this_python

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# What the tables' meaning depends on is not left to anybody's defaults.
_FIXED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.pyspark.validateSchema.enabled": "true",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
}
# A half-sweep brings a side's factors to the driver, up to solver.broadcast_budget_mb (2 GiB).
_LARGEST_ANSWER = "4g"
_PATIENCE = 10.0  # seconds for a connection to a master
JAVA_HELP = (
    "Java 17 or 21 is needed and was not found. Install it with\n"
    "  Debian/Ubuntu:  sudo apt install openjdk-17-jre-headless\n"
    "  macOS:          brew install openjdk@17\n"
    "  conda:          conda install -c conda-forge openjdk=17\n"
    "or set JAVA_HOME to where it is."
)


def open_session(
    config: Spark, log_file: Path | None, quiet: bool = False, event_bytes: int | None = None
) -> SparkSession:
    """The session of this process; Spark's own messages go to `log_file` in local mode.

    quiet: under spark-submit, whose JVM writes to standard error, only Spark's warnings.
    event_bytes: size of the files of events, for the choice of the JVM's compiler in local mode.

    Raises ConfigError without Java, under Spark Connect, or if Spark does not start with these
    settings; TransientError if the master is away.
    """
    if os.environ.get("SPARK_REMOTE") or os.environ.get("SPARK_CONNECT_MODE_ENABLED"):
        raise ConfigError(
            "recsys-spark needs a classic Spark session (it broadcasts through the SparkContext); "
            "unset SPARK_REMOTE and use spark-submit or local mode."
        )
    existing = active_context() is not None
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    options = "" if submitted else java_options(require_java(), event_bytes)
    with _quiet_launch(None if submitted else log_file):
        conf = SparkConf() if existing else _start_java(config, submitted, log_file, options)
        if quiet and submitted and not existing:
            _keep_warnings()
        if not existing:
            _require_master(conf.get("spark.master", ""))
        spark = SparkSession.builder.config(conf=conf).getOrCreate()
    for key, value in _FIXED.items():
        spark.conf.set(key, value)
    use_this_python(spark.sparkContext)
    return spark


def _start_java(config: Spark, submitted: bool, log_file: Path | None, options: str) -> SparkConf:
    """Start the JVM, unless spark-submit has; all settings for the session."""
    size = log_file.stat().st_size if log_file and log_file.exists() else 0
    try:
        start_java(_launch(config, options))
    except PySparkRuntimeError:
        raise ConfigError(f"Spark did not start: {_reason(log_file, size)}") from None
    conf = SparkConf()  # now sees what spark-submit, or Spark's own files, were given
    if not submitted:
        conf.setAll(_chosen(config))
    elif conf.get("spark.app.name", "") == Path(sys.argv[0]).name:  # not chosen by anyone
        conf.set("spark.app.name", config.app_name)
    for key, value in _defaults(config, submitted, conf.get("spark.master", "local[*]")):
        if not conf.contains(key):
            conf.set(key, value)
    return conf


def _launch(config: Spark, options: str) -> list[tuple[str, str]]:
    """What the local-mode JVM must know when it starts."""
    logging = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}"
    return [
        ("spark.driver.memory", config.driver_memory),
        ("spark.driver.defaultJavaOptions", f"{logging} {options}".strip()),
        *_chosen(config),
    ]


def _chosen(config: Spark) -> list[tuple[str, str]]:
    """What the configuration says itself, as Spark's settings."""
    master = [("spark.master", config.master)] if config.master else []
    return [*master, ("spark.app.name", config.app_name), *config.conf.items()]


def _defaults(config: Spark, submitted: bool, master: str) -> list[tuple[str, str]]:
    """Settings that hold where nothing else was chosen."""
    own = {
        "spark.driver.maxResultSize": _LARGEST_ANSWER,
        **{f"spark.executorEnv.{name}": "1" for name in _THREADS},
    }
    if not submitted:
        own["spark.ui.showConsoleProgress"] = "false"
        own |= _local_defaults() if master.startswith("local") else {}
    if config.shuffle_partitions:
        own["spark.sql.shuffle.partitions"] = str(config.shuffle_partitions)
    return [*(own | config.conf).items()]


def _local_defaults() -> dict[str, str]:
    return {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.python.daemon.module": "recsys_spark.worker_daemon",
        # Few rows may be much work, of kernels or of rules: no core waits for them.
        "spark.sql.files.openCostInBytes": "64k",
        "spark.sql.adaptive.coalescePartitions.minPartitionSize": "16k",
        "spark.sql.shuffle.partitions": str(max(4, 2 * (os.cpu_count() or 2))),
    }


def _keep_warnings() -> None:
    """Silence what Spark logs of its steps, before the SparkContext begins with them.

    Spark reads its log's settings at its first message, and would then forget the level.
    """
    scala_object("org.apache.spark.util.Utils").initializeLogIfNecessary(False)
    configurator = java_class("org.apache.logging.log4j.core.config.Configurator")
    level = java_class("org.apache.logging.log4j.Level")
    configurator.setRootLevel(level.WARN)
    configurator.setLevel("org.apache.spark.sql.execution.window.WindowExec", level.ERROR)


def _require_master(master: str) -> None:
    """Raise TransientError if no host of a standalone master answers, on which Spark waits."""
    if not master.startswith("spark://"):
        return
    reasons = [_unreachable(address) for address in master.removeprefix("spark://").split(",")]
    if all(reasons):
        raise TransientError(
            f"The Spark master {master} does not answer ({reasons[0]}): start it, or correct "
            "spark.master."
        )


def _unreachable(address: str) -> str | None:
    """Why there is no connection to HOST:PORT, or None."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"The Spark master {address} has no port; write spark://HOST:7077.")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        return f"{address}: {error.strerror or error}"
    return None


def _reason(log_file: Path | None, size: int) -> str:
    """What the launcher wrote to the log behind these bytes."""
    if log_file is None:
        return "its messages are above."
    written = log_file.read_bytes()[size:].decode("utf-8", "replace")
    lines = [line.strip() for line in written.splitlines() if line.strip()[:3] not in ("", "at ")]
    return " ".join(lines[-2:]) or "it says nothing of the reason."


def require_java() -> str:
    """What `java -version` says, without the options that it picked up from the environment.

    Raises ConfigError where Java is missing or too old.
    """
    home = os.environ.get("JAVA_HOME")
    return _version(f"{home}/bin/java" if home else str(shutil.which("java")))


@cache
def _version(java: str) -> str:
    """Asked once: it takes a third of a second."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise ConfigError(JAVA_HELP) from None
    version = re.search(r'version "(\d+)', answer.stderr)
    if version and int(version[1]) < 17:
        raise ConfigError(f"Java {version[1]} is too old. {JAVA_HELP}")
    lines = answer.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("Picked up "))


@contextmanager
def _quiet_launch(log_file: Path | None) -> Iterator[None]:
    """The JVM inherits its standard error from here: point it at the log while it starts."""
    if log_file is None:
        yield
        return
    log_file.parent.mkdir(parents=True, exist_ok=True)
    saved = os.dup(2)
    try:
        with log_file.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
