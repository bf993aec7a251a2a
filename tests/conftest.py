"""One Spark session for the suite: two cores, two partitions, batches of seven rows.

A test is fast, spark or slow by the fixtures that it uses (`make test-fast`, `make test-spark`,
`make test-slow`): slow ones start programs or servers, or read real ratings.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession

from recsys_spark.errors import ConfigError
from recsys_spark.runtime.jvm import java_options
from recsys_spark.runtime.session import require_java
from tests.browser import find_browser
from tests.servers import postgres_server, redis_server

os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
os.environ.pop("COLUMNS", None)  # readline sets it for processes that pytest starts


def options_of_java() -> str:
    """Those of a small run: less compilation, and the archive of classes that `warm` keeps."""
    try:
        return f"{java_options(require_java(), 0)} -XX:+UseSerialGC"
    except ConfigError:  # which the tests without Spark do not need
        return ""


# Also for the processes that tests start.
os.environ.setdefault("JAVA_TOOL_OPTIONS", options_of_java())

SLOW = {"browser", "postgres_url", "process_environment", "real_data", "redis_url"}
SLOW |= {"postgres_store", "redis_store"}  # which parameters name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the fixtures that it uses, also through others or by a parameter."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {}).values()
        used = {*getattr(item, "fixturenames", ()), *map(str, parameters)}
        item.add_marker("slow" if used & SLOW else "spark" if "spark" in used else "fast")
    items.sort(key=lambda item: "slow" not in item.keywords)  # one alone should not be the end


@pytest.fixture(autouse=True)
def refuse_sessions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast test fails where it opens a Spark session."""
    if request.node.get_closest_marker("fast"):

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("This test needs the fixture `spark`: it opens a session.")

        monkeypatch.setattr(SparkContext, "_ensure_initialized", refuse)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    warehouse = tmp_path_factory.mktemp("warehouse")
    session = (
        SparkSession.builder.master("local[2]")
        .appName("tests")
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.default.parallelism", 2)
        .config("spark.ui.enabled", False)
        .config("spark.ui.showConsoleProgress", False)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "2g")
        .config("spark.python.daemon.module", "recsys_spark.worker_daemon")
        .config("spark.ui.retainedJobs", 10)
        .config("spark.ui.retainedStages", 10)
        .config("spark.ui.retainedTasks", 100)
        .config("spark.sql.ui.retainedExecutions", 10)
        # Each of many small queries is then planned once and one job; processes that tests start
        # plan as users do.
        .config("spark.sql.adaptive.enabled", False)
        .config("spark.sql.codegen.wholeStage", False)
        .config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.warehouse.dir", str(warehouse))
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", 7)
        .config("spark.sql.execution.arrow.pyspark.validateSchema.enabled", True)
        .config("spark.executorEnv.OMP_NUM_THREADS", "1")
        .config("spark.executorEnv.OPENBLAS_NUM_THREADS", "1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def process_environment() -> dict[str, str]:
    """The environment of a program that the test starts."""
    return dict(os.environ)


@pytest.fixture(scope="session")
def browser() -> str:
    """The path of a browser; skips, saying so, where none is installed."""
    return find_browser()


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """The URL of a Redis."""
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real ratings named by RECSYS_DATA; skips, saying so, where it is not set."""
    folder = os.environ.get("RECSYS_DATA")
    if not folder:
        pytest.skip("RECSYS_DATA is not set: this test reads real ratings from that folder")
    return Path(folder)
