"""Training on executor processes of their own, which share no memory with the driver."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyspark
import pytest

from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.trainer import fit_factors
from recsys_spark.kernels.als.spec import resolve_spec

CASES = [("executor", "between"), ("executor", "during"), ("worker", "during")]
SCRIPT = '''
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession
from recsys_spark.kernels.als.spec import resolve_spec
from recsys_spark.als.trainer import fit_factors
from recsys_spark.als.execution_plan import Plan


def processes(word):
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word in (folder / "cmdline").read_text():
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                yield int(folder.name), int(stat[1])
        except OSError:
            pass  # it ended meanwhile


def victim(kind, app):
    executors = [pid for pid, _ in processes(app)]
    daemons = [pid for pid, parent in processes("pyspark.daemon") if parent in executors]
    workers = [pid for pid, parent in processes("pyspark.daemon") if parent in daemons]
    return min(executors if kind == "executor" else workers)


def executors(context):
    return context._jsc.sc().getExecutorMemoryStatus().size() - 1


def fit(context, ratings, kind, moment):
    """A fit during which a process of the kind is killed."""
    killed = []

    def kill():
        while moment == "during" and not context.statusTracker().getActiveJobsIds():
            time.sleep(0.01)
        killed.append(victim(kind, context.applicationId))
        os.kill(killed[0], signal.SIGKILL)

    def on_sweep(state):
        if len(state.losses) == 1:
            killer = threading.Thread(target=kill)
            killer.start()
            if moment == "between":
                killer.join()

    spec, plan = resolve_spec("ials", rank=4, iterations=3), Plan(3, placement="replicated")
    trained = fit_factors(ratings, spec, plan, on_sweep)
    np.savez(
        f"{kind}-{moment}.npz",
        user=trained.user.vectors,
        item=trained.item.vectors,
        losses=[loss.total for loss in trained.losses],
        executors=executors(context),
        killed=killed,
    )


if __name__ == "__main__":
    spark = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", False)
        .config("spark.sql.shuffle.partitions", 2)
        .getOrCreate()
    )
    given = np.load("ratings.npz")
    ratings = spark.createDataFrame(pa.table({name: given[name] for name in given.files}))
    for case in sys.argv[1:]:
        while executors(spark.sparkContext) < 2:  # one that was killed is replaced
            time.sleep(0.1)
        fit(spark.sparkContext, ratings, *case.split("-"))
    spark.stop()
'''


def spark_home(folder: Path) -> Path:
    """Spark's installation as links: local-cluster writes its logs into SPARK_HOME/work."""
    folder.mkdir()
    for entry in Path(pyspark.__file__).parent.iterdir():
        if entry.name != "work":
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(0)
    pairs = rng.permutation(40 * 30)[:400]
    return pairs // 30, pairs % 30, rng.integers(1, 6, 400).astype(float)


@pytest.fixture(scope="module")
def expected(spark, ratings):
    """What one process computes."""
    rows = list(zip(*(x.tolist() for x in ratings), strict=True))
    frame = spark.createDataFrame(rows, "user long, item long, value double")
    return fit_factors(frame, resolve_spec("ials", rank=4, iterations=3), Plan(3))


@pytest.fixture(scope="module")
def cluster(ratings, process_environment, tmp_path_factory):
    """The folder of what a cluster has computed, in one application, of which parts are killed."""
    folder = tmp_path_factory.mktemp("cluster")
    user, item, value = ratings
    np.savez(folder / "ratings.npz", user=user, item=item, value=value)
    (folder / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py", *map("-".join, CASES)],
        cwd=folder,
        env={
            **process_environment,
            "SPARK_HOME": str(spark_home(folder / "spark")),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
        },
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list((folder / "spark" / "work").glob("app-*")), "no executors were started"
    return folder


@pytest.mark.parametrize(("kind", "moment"), CASES)
def test_cluster_computes_the_same_factors_after_any_kill(expected, cluster, kind, moment):
    with np.load(cluster / f"{kind}-{moment}.npz") as got:
        np.testing.assert_array_equal(got["user"], expected.user.vectors)
        np.testing.assert_array_equal(got["item"], expected.item.vectors)
        assert got["losses"].tolist() == [loss.total for loss in expected.losses]
        assert len(got["killed"]) == 1
        assert kind == "executor" or 1 <= int(got["executors"]) <= 2
