"""What is not documented of PySpark, part by part: a failure names what a version changed."""

import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark import SparkContext, daemon
from pyspark.ml.param import Params, TypeConverters
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType, TimestampType

from recsys_spark.errors import ConfigError
from recsys_spark.spark_internals import (
    active_context,
    broadcast_file,
    broadcast_path,
    conf_bytes,
    encrypts_files,
    fork_workers,
    hadoop_configuration,
    hadoop_path,
    java_array,
    java_class,
    ml_param,
    persistent_rdds,
    scala_object,
    set_worker_python,
    spark_to_arrow,
    start_java,
    text_param,
    whole_param,
    with_uid,
    worker_python,
)

IN_A_PROCESS = """
from pyspark import SparkConf, SparkContext
from recsys_spark.spark_internals import active_context, encrypts_files, java_class, start_java

start_java([("spark.driver.memory", "600m")])
heap = java_class("java.lang.Runtime").getRuntime().maxMemory()
assert active_context() is None, "a context was started with the JVM"
conf = SparkConf().setMaster("local[1]").setAppName("encrypted").set("spark.ui.enabled", "false")
with SparkContext(conf=conf.set("spark.io.encryption.enabled", "true")) as context:
    print(heap < 650 * 2**20, active_context() is context, encrypts_files(context))
print(active_context())
"""


def test_start_java_takes_settings_and_starts_no_context(process_environment):
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS],
        env=process_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True", "True", "None"]


def test_start_java_leaves_a_running_jvm(spark):
    gateway = SparkContext._gateway
    start_java([("spark.driver.memory", "600m")])
    assert SparkContext._gateway is gateway


def test_active_context_is_that_of_the_session(spark):
    assert active_context() is spark.sparkContext


def test_java_class_gives_static_methods_objects_and_nested_classes(spark):
    assert java_class("java.lang.Math").abs(-3) == 3
    assert str(java_class("org.apache.hadoop.fs.Path")("/a/b").getName()) == "b"
    assert str(java_class("org.apache.hadoop.fs.Options$Rename").OVERWRITE) == "OVERWRITE"


@pytest.mark.parametrize(
    "name",
    [
        "java.lang.Runtime",
        "java.lang.System",
        "org.apache.commons.io.IOUtils",
        "org.apache.hadoop.fs.FileContext",
        "org.apache.logging.log4j.Level",
        "org.apache.logging.log4j.core.config.Configurator",
    ],
)
def test_java_class_finds_every_class_that_the_package_names(spark, name):
    assert java_class(name)._fqn == name


def test_scala_object_is_the_one_instance(spark):
    assert scala_object("org.apache.spark.util.Utils").memoryStringToMb("2g") == 2048


def test_java_array_holds_objects_of_its_class(spark):
    kind = java_class("org.apache.hadoop.fs.Options$Rename")
    array = java_array(kind, 2)
    array[1] = kind.OVERWRITE
    assert [array[0], str(array[1]), len(array)] == [None, "OVERWRITE", 2]


def test_hadoop_configuration_is_that_of_the_context(spark):
    key = "recsys_spark.test"
    hadoop_configuration(spark).set(key, "1")
    assert str(hadoop_configuration(spark).get(key)) == "1"
    hadoop_configuration(spark).unset(key)
    assert hadoop_configuration(spark).get(key) is None


def test_hadoop_path_gives_the_file_system_of_the_path(spark, tmp_path):
    (tmp_path / "here").write_text("12345")
    files, at = hadoop_path(spark, f"file:{tmp_path}/here")
    assert files.getFileStatus(at).getLen() == 5
    assert not files.exists(hadoop_path(spark, f"file:{tmp_path}/away")[1])


def test_conf_bytes_reads_sizes_with_their_units(spark):
    context = spark.sparkContext
    assert conf_bytes(context, "spark.driver.memory", "1g") == 2 * 2**30
    assert conf_bytes(context, "spark.recsys.unset", "3k") == 3072


def test_persistent_rdds_are_there_by_id_and_can_be_released(spark):
    context = spark.sparkContext
    rdd = context.parallelize([1, 2]).persist()
    assert rdd.id() in persistent_rdds(context)
    persistent_rdds(context)[rdd.id()].unpersist()
    assert rdd.id() not in persistent_rdds(context)


def test_files_are_not_encrypted_by_default(spark):
    assert encrypts_files(spark.sparkContext) is False


def test_broadcast_file_is_on_every_host_as_it_was_written(spark):
    def write(file):
        pickle.dump("value", file)
        file.write(b"content")

    sent = broadcast_file(spark.sparkContext, write)
    (found,) = (
        spark.sparkContext.parallelize([0], 1)
        .map(lambda _: (sent.value, Path(broadcast_path(sent)).read_bytes()))
        .collect()
    )
    assert found == ("value", pickle.dumps("value") + b"content")
    assert sent.value == "value"
    sent.destroy()


def test_worker_python_is_what_runs_tasks(spark):
    context = spark.sparkContext
    own = worker_python(context)
    tasks = context.parallelize([0], 1).map(lambda _: sys.executable)
    assert tasks.collect() == [own]
    set_worker_python(context, "/nowhere/python")
    try:
        with pytest.raises(Exception, match="/nowhere/python"):
            context.parallelize([0], 1).map(lambda _: sys.executable).collect()
    finally:
        set_worker_python(context, own)


def test_fork_workers_serves_as_the_daemon_does(monkeypatch):
    served = []
    monkeypatch.setattr(daemon, "manager", lambda: served.append("manager"))
    fork_workers()
    assert served == ["manager"]


def test_spark_to_arrow_keeps_names_types_and_the_time_zone():
    schema = StructType(
        [StructField("at", TimestampType()), StructField("factors", ArrayType(FloatType()))]
    )
    found = spark_to_arrow(schema, "UTC")
    assert found.names == ["at", "factors"]
    assert found.types[0] == pa.timestamp("us", "UTC")
    assert found.types[1].value_type == pa.float32()


class Holder(Params):
    k = ml_param("k", "cut-off", TypeConverters.toInt)
    colour = text_param("colour", "of two", ("red", "blue"))
    size = whole_param("size", "a length", 1)


def test_ml_param_belongs_to_every_instance_and_converts():
    holder, other = Holder(), Holder()
    holder.set(holder.k, 3.0)
    assert holder.getOrDefault("k") == 3
    assert not other.isSet("k")
    assert (holder.k.parent, holder.k.doc) == (holder.uid, "cut-off")


def test_text_param_takes_its_choices_alone():
    assert Holder()._set(colour="red").getOrDefault("colour") == "red"
    with pytest.raises(ConfigError, match=r"^colour is 'green'; choose one of red, blue\.$"):
        Holder()._set(colour="green")


def test_whole_param_takes_no_number_below_its_least():
    assert Holder()._set(size=1).getOrDefault("size") == 1
    with pytest.raises(ConfigError, match=r"^size is 0; it must be 1 or more\.$"):
        Holder()._set(size=0)


def test_with_uid_renames_the_model_and_its_parameters():
    model = Holder()
    model.set(model.k, 5)
    assert with_uid(model, "named") is model
    assert (model.uid, model.k.parent, model.getOrDefault("k")) == ("named", "named", 5)
