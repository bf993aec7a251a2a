"""What a session is given, and what stops before it is opened."""

import pytest

from recsys_spark.config import Spark
from recsys_spark.config.training import Solver
from recsys_spark.errors import ConfigError
from recsys_spark.runtime import session


def test_tables_mean_the_same_whatever_the_session_was_given(spark):
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
            session._require_java()
    else:
        session._require_java()


def test_spark_connect_is_refused(monkeypatch):
    monkeypatch.setenv("SPARK_REMOTE", "sc://localhost")
    with pytest.raises(ConfigError, match="classic Spark session"):
        session.open_session(Spark(), None)


def test_the_users_spark_settings_win_over_the_defaults():
    config = Spark(master="local[3]", conf={"spark.ui.enabled": True})
    settings = dict(session._defaults(config, submitted=False))
    assert settings["spark.ui.enabled"] == "true"
    assert settings["spark.master"] == "local[3]"
    assert settings["spark.executorEnv.OMP_NUM_THREADS"] == "1"


def test_the_driver_takes_whatever_may_be_broadcast():
    """Spark's own limit, a gigabyte, is less than the default of solver.broadcast_budget_mb."""
    taken = dict(session._defaults(Spark(), submitted=False))["spark.driver.maxResultSize"]
    assert int(taken.removesuffix("g")) * 1024 > Solver().broadcast_budget_mb


def test_a_submitted_job_is_given_no_master_and_no_partitions():
    settings = dict(session._defaults(Spark(), submitted=True))
    assert "spark.master" not in settings
    assert "spark.sql.shuffle.partitions" not in settings
