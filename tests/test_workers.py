"""Which Python the workers run, and what is said of one that will not do."""

import sys
from types import SimpleNamespace

import pytest
from pyspark import SparkConf

from recsys_spark import workers
from recsys_spark.errors import ConfigError
from recsys_spark.workers import start_workers, use_this_python


def context(master="local[2]", python="python3", conf=None, error=None):
    """What the module looks at of a SparkContext."""

    def collect():
        if error is not None:
            raise RuntimeError(error)
        return [0]

    tasks = SimpleNamespace(map=lambda _: SimpleNamespace(collect=collect))
    return SimpleNamespace(
        master=master,
        pythonExec=python,
        applicationId=f"app-{id(tasks)}",
        getConf=lambda: SparkConf(loadDefaults=False).setAll((conf or {}).items()),
        parallelize=lambda *_: tasks,
    )


@pytest.mark.parametrize(
    ("variable", "given", "chosen"),
    [
        (None, {}, sys.executable),
        (None, {"conf": {"spark.pyspark.python": "/opt/python"}}, "/opt/python"),
        (None, {"master": "local-cluster[1,1,1024]"}, sys.executable),
        (None, {"master": "yarn"}, "python3"),
        (None, {"python": "/of/the/user"}, "/of/the/user"),
        ("python3", {}, "python3"),
    ],
)
def test_local_workers_run_this_python_unless_another_is_chosen(
    spark, variable, given, chosen, monkeypatch
):
    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
    if variable:
        monkeypatch.setenv("PYSPARK_PYTHON", variable)
    found = context(**given)
    use_this_python(found)
    assert found.pythonExec == chosen


@pytest.mark.parametrize(
    "error",
    [
        "Traceback\n  ModuleNotFoundError: No module named 'recsys_spark'\n at org.apache",
        'java.io.IOException: Cannot run program "python9": error=2, No such file or directory',
        "[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.8 than driver: 3.11",
    ],
)
def test_workers_that_cannot_run_the_package_are_one_sentence(error):
    frame = SimpleNamespace(
        sparkSession=SimpleNamespace(sparkContext=context("yarn", "python9", error=error))
    )
    with pytest.raises(ConfigError, match=r"python9.*spark\.pyspark\.python") as caught:
        workers._prepare(frame)
    assert "\n" not in str(caught.value)


def test_other_failures_of_the_first_task_stay_what_they_are():
    found = context("yarn", error="ExecutorLostFailure")
    with pytest.raises(RuntimeError, match="ExecutorLostFailure"):
        workers._require_package(found)


@pytest.mark.parametrize("master", ["yarn", "spark://host:7077", "k8s://https://host"])
def test_workers_of_clusters_are_not_started_ahead(master):
    assert start_workers(SimpleNamespace(sparkContext=context(master=master))) is None


def test_workers_that_cannot_start_stop_nothing(spark, monkeypatch):
    tried = []

    def fail(*_):
        tried.append("map_in_arrow")
        raise RuntimeError("no worker")

    monkeypatch.setattr(workers, "map_in_arrow", fail)
    thread = start_workers(spark)
    thread.join()
    assert tried == ["map_in_arrow"]
