"""What a session is given, and what stops before it is opened."""

import socket
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from recsys_spark.config import Spark
from recsys_spark.config.training import Solver
from recsys_spark.errors import ConfigError, TransientError
from recsys_spark.runtime import session


def test_session_options_do_not_change_tables(spark):
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    opened = session.open_session(Spark(), None)
    assert opened.conf.get("spark.sql.session.timeZone") == "UTC"


def test_missing_java_is_named_with_its_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="apt install openjdk-17"):
        session.open_session(Spark(), None)


@pytest.mark.parametrize(("version", "refused"), [("11.0.2", True), ("21.0.1", False)])
def test_old_java_is_refused(monkeypatch, tmp_path, version, refused):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if refused:
        with pytest.raises(ConfigError, match="Java 11 is too old"):
            session.require_java()
    else:
        session.require_java()


@pytest.mark.usefixtures("process_environment")
def test_options_of_the_environment_do_not_make_it_another_java(monkeypatch):
    """The archive of classes belongs to a Java: what `warm` has kept serves with options too."""
    monkeypatch.delenv("JAVA_TOOL_OPTIONS", raising=False)
    session._version.cache_clear()
    plain = session.require_java()
    session._version.cache_clear()
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:+UseSerialGC")
    assert session.require_java() == plain


def test_spark_connect_is_refused(monkeypatch):
    monkeypatch.setenv("SPARK_REMOTE", "sc://localhost")
    with pytest.raises(ConfigError, match="classic Spark session"):
        session.open_session(Spark(), None)


def test_the_users_spark_settings_win_over_the_defaults():
    config = Spark(conf={"spark.ui.enabled": "true"})
    settings = dict(session._defaults(config, submitted=False, master="local[3]"))
    assert settings["spark.ui.enabled"] == "true"
    assert settings["spark.executorEnv.OMP_NUM_THREADS"] == "1"


def test_driver_accepts_results_of_the_broadcast_size():
    """Spark's own limit, a gigabyte, is less than the default of solver.broadcast_budget_mb."""
    taken = dict(session._defaults(Spark(), False, "local[*]"))["spark.driver.maxResultSize"]
    assert int(taken.removesuffix("g")) * 1024 > Solver().broadcast_budget_mb


def test_a_submitted_job_is_given_no_master_and_no_partitions():
    settings = dict(session._defaults(Spark(), True, "yarn"))
    assert "spark.master" not in settings
    assert "spark.sql.shuffle.partitions" not in settings


@pytest.mark.parametrize(
    ("master", "error"),
    [
        ("spark://no.such.host.invalid:7077", TransientError),
        ("spark://127.0.0.1:9,127.0.0.1:10", TransientError),
        ("spark://shop", ConfigError),
        ("spark://", ConfigError),
    ],
)
def test_standalone_master_that_is_away_is_named(master, error):
    with pytest.raises(error, match="Spark master"):
        session._require_master(master)


@pytest.mark.parametrize("master", ["local[2]", "yarn", "k8s://https://shop", ""])
def test_other_masters_are_left_to_spark(master):
    session._require_master(master)


def test_standalone_master_needs_one_host_that_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        session._require_master(f"spark://127.0.0.1:9,127.0.0.1:{port}")


SCRIPT = """
import sys
from pathlib import Path
from recsys_spark.config import Spark
from recsys_spark.runtime.failures import describe
from recsys_spark.runtime.session import open_session

NAMES = ("spark.a.b", "spark.executorEnv.OMP_NUM_THREADS")


def opened(**settings):
    try:
        spark = open_session(Spark(**settings), Path("logs/spark.log"), quiet=True)
    except Exception as error:
        text, code = describe(error)
        print(int(code), text)
        return
    context = spark.sparkContext
    found = [context.master, context.appName, context.defaultParallelism]
    found += [spark.conf.get(name, "-") for name in NAMES]
    print(*found, context.parallelize([0], 1).map(lambda _: sys.executable).first())
    spark.stop()


for settings in eval(sys.argv[1]):
    opened(**settings)
"""


def printed(tmp_path, environment, command, settings):
    """What the script prints in a process of its own, and its errors."""
    (tmp_path / "script.py").write_text(SCRIPT)
    clean = {key: value for key, value in environment.items() if "SPARK" not in key}
    done = subprocess.run(
        [*command, "script.py", repr(settings)],
        cwd=tmp_path,
        env={**clean, "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines(), done.stderr


def test_a_real_session_has_the_configured_master_name_and_settings(tmp_path, process_environment):
    settings = [
        {"master": "spark://no.such.host.invalid:7077"},
        {"master": "lokal[2]"},
        {"master": "local[1]", "app_name": "nightly", "conf": {"spark.a.b": "1.10"}},
        {"master": "local[3]"},
    ]
    lines, errors = printed(tmp_path, process_environment, [sys.executable], settings)
    assert lines[0].startswith("75 The Spark master spark://no.such.host.invalid:7077")
    assert lines[1].startswith("2 Could not parse Master URL: 'lokal[2]'")
    assert lines[2].split() == ["local[1]", "nightly", "1", "1.10", "1", sys.executable]
    assert lines[3].split()[:3] == ["local[3]", "recsys_spark", "3"]
    assert "Exception" not in errors


def test_a_submitted_session_is_as_submitted_and_its_log_is_quiet(tmp_path, process_environment):
    submit = [Path(pyspark.__file__).parent / "bin/spark-submit"]
    submit += ["--master", "local[2]", "--conf", "spark.a.b=submitted"]
    settings = [{"master": "local[1]", "app_name": "nightly", "conf": {"spark.a.b": "configured"}}]
    lines, errors = printed(tmp_path, process_environment, submit, settings)
    assert lines[0].split()[:4] == ["local[2]", "nightly", "2", "submitted"]
    assert " INFO " not in errors
    assert not (tmp_path / "logs").exists(), "the log is spark-submit's"
