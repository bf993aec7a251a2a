"""The one place where a Spark session is opened.

The master comes from spark-submit, or in local mode from the configuration's `spark` section.
What the project needs is set as a default, so that `--conf` of spark-submit wins.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from recsys_spark.config import Spark
from recsys_spark.errors import ConfigError

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
JAVA_HELP = (
    "Java 17 or 21 is needed and was not found. Install it with\n"
    "  Debian/Ubuntu:  sudo apt install openjdk-17-jre-headless\n"
    "  macOS:          brew install openjdk@17\n"
    "  conda:          conda install -c conda-forge openjdk=17\n"
    "or set JAVA_HOME to where it is."
)


def open_session(config: Spark, log_file: Path | None) -> SparkSession:
    """The session of this process; Spark's own messages go to `log_file` in local mode.

    Raises ConfigError without Java, or under Spark Connect.
    """
    if os.environ.get("SPARK_REMOTE") or os.environ.get("SPARK_CONNECT_MODE_ENABLED"):
        raise ConfigError(
            "recsys_spark needs a classic Spark session (it broadcasts through the SparkContext); "
            "unset SPARK_REMOTE and use spark-submit or local mode."
        )
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        _require_java()
    with _quiet_launch(None if submitted else log_file):
        SparkContext._ensure_initialized(conf=SparkConf(False).setAll(_launch(config)))
        conf = SparkConf()  # now sees what spark-submit was given
        for key, value in _defaults(config, submitted):
            if not conf.contains(key):
                conf.set(key, value)
        if conf.get("spark.master", "").startswith("local"):
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        spark = SparkSession.builder.config(conf=conf).getOrCreate()
    for key, value in _FIXED.items():
        spark.conf.set(key, value)
    return spark


def _launch(config: Spark) -> list[tuple[str, str]]:
    """What the local-mode JVM must know when it starts."""
    return [
        ("spark.driver.memory", config.driver_memory),
        ("spark.driver.extraJavaOptions", f"-Dlog4j2.configurationFile={_log4j()}"),
        *((key, _text(value)) for key, value in config.conf.items()),
    ]


def _defaults(config: Spark, submitted: bool) -> list[tuple[str, str]]:
    own = {
        "spark.app.name": config.app_name,
        "spark.driver.maxResultSize": _LARGEST_ANSWER,
        **{f"spark.executorEnv.{name}": "1" for name in _THREADS},
    }
    if not submitted:
        own |= {"spark.master": config.master, "spark.ui.showConsoleProgress": "false"}
        own |= _local_defaults() if config.master.startswith("local") else {}
    if config.shuffle_partitions:
        own["spark.sql.shuffle.partitions"] = str(config.shuffle_partitions)
    chosen = {key: _text(value) for key, value in config.conf.items()}
    return [*(own | chosen).items()]


def _local_defaults() -> dict[str, str]:
    return {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": str(max(4, 2 * (os.cpu_count() or 2))),
    }


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _log4j() -> Path:
    return Path(__file__).with_name("log4j2.properties")


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java")
    try:
        told = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise ConfigError(JAVA_HELP) from None
    version = re.search(r'version "(\d+)', told.stderr)
    if version and int(version[1]) < 17:
        raise ConfigError(f"Java {version[1]} is too old. {JAVA_HELP}")


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
