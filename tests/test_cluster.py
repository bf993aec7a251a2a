"""Training on executor processes of their own, which share no memory with the driver."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyspark
import pytest

from recsys_spark.kernels.spec import resolve_spec
from recsys_spark.wals.fit import fit_factors
from recsys_spark.wals.sides import Plan

SCRIPT = """
import sys
import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession
from recsys_spark.kernels.spec import resolve_spec
from recsys_spark.wals.fit import fit_factors
from recsys_spark.wals.sides import Plan

if __name__ == "__main__":
    spark = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", False)
        .config("spark.sql.shuffle.partitions", 2)
        .getOrCreate()
    )
    given = np.load(sys.argv[1])
    ratings = spark.createDataFrame(pa.table({name: given[name] for name in given.files}))
    trained = fit_factors(ratings, resolve_spec("ials", rank=4, iterations=1), Plan(2))
    executors = spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1
    np.savez(
        sys.argv[2],
        user=trained.user.vectors,
        item=trained.item.vectors,
        losses=[loss.total for loss in trained.losses],
        executors=executors,
    )
    spark.stop()
"""


def spark_home(folder: Path) -> Path:
    """Spark's installation as links: local-cluster writes its logs into SPARK_HOME/work."""
    folder.mkdir()
    for entry in Path(pyspark.__file__).parent.iterdir():
        if entry.name != "work":
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.mark.cluster
def test_factors_from_a_cluster_equal_those_from_one_process(spark, tmp_path):
    rng = np.random.default_rng(0)
    pairs = rng.permutation(40 * 30)[:400]
    user, item, value = pairs // 30, pairs % 30, rng.integers(1, 6, 400).astype(float)
    np.savez(tmp_path / "ratings.npz", user=user, item=item, value=value)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py", "ratings.npz", "factors.npz"],
        cwd=tmp_path,
        env={
            **os.environ,
            "SPARK_HOME": str(spark_home(tmp_path / "spark")),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list((tmp_path / "spark" / "work").glob("app-*")), "no executors were started"
    frame = spark.createDataFrame(
        list(zip(user.tolist(), item.tolist(), value.tolist(), strict=True)),
        "user long, item long, value double",
    )
    expected = fit_factors(frame, resolve_spec("ials", rank=4, iterations=1), Plan(2))
    with np.load(tmp_path / "factors.npz") as got:
        np.testing.assert_array_equal(got["user"], expected.user.vectors)
        np.testing.assert_array_equal(got["item"], expected.item.vectors)
        assert got["losses"].tolist() == [loss.total for loss in expected.losses]
        assert 1 <= int(got["executors"]) <= 2
