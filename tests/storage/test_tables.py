"""Versioned tables: committed by a manifest, shown by a pointer, readable by others."""

import json
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import LongType

from recsys_spark.errors import AuditError, ConfigError, ContractError
from recsys_spark.schema import RATINGS, ids
from recsys_spark.storage.store import LocalStore
from recsys_spark.storage.tables import Manifest, Tables, check_name

WHEN = datetime(2024, 1, 1, 0, 0, 0, 250000)
ROWS = [(1, 2, 3.5, WHEN), (1, 3, 4.0, None)]
UNSAFE = [
    "",
    ".",
    "..",
    ".hidden",
    "_x",
    "a/b",
    "a\\b",
    "a..b",
    "../x",
    "a b",
    "ü",
    "x" * 129,
    "a\n",
]


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Tables:
    return Tables(LocalStore(tmp_path), lambda: spark)


def write(
    tables: Tables, spark: SparkSession, run_id: str, rows: list[tuple[object, ...]]
) -> Manifest:
    frame = spark.createDataFrame(rows, RATINGS)
    return tables.write(frame, "train", run_id, RATINGS, {"ingest": "night-0"}, "abcd1234")


def test_written_table_is_read_and_described(
    spark: SparkSession, tables: Tables, tmp_path: Path
) -> None:
    manifest = write(tables, spark, "night-1", ROWS)
    assert_df_equality(
        tables.read("train", "night-1"), spark.createDataFrame(ROWS, RATINGS), ignore_row_order=True
    )
    files = list((tmp_path / "tables/train/versions/night-1").glob("*.parquet"))
    assert manifest == tables.manifest("train", "night-1")
    assert (manifest.rows, manifest.files) == (2, len(files))
    assert manifest.bytes == sum(file.stat().st_size for file in files)
    assert (manifest.inputs, manifest.config_hash) == ({"ingest": "night-0"}, "abcd1234")
    assert tables.names() == ["train"]


def test_table_that_a_check_refuses_is_not_committed(spark: SparkSession, tables: Tables) -> None:
    def refuse(_: DataFrame) -> dict[str, object]:
        raise AuditError("no good")

    frame = spark.createDataFrame(ROWS, RATINGS)
    with pytest.raises(AuditError, match="no good"):
        tables.write(frame, "train", "night-1", RATINGS, {}, "abcd1234", refuse)
    assert tables.manifest("train", "night-1") is None
    manifest = tables.write(
        frame, "train", "night-1", RATINGS, {}, "abcd1234", lambda table: {"rows": table.count()}
    )
    assert manifest.check_results == {"rows": 2}
    assert tables.manifest("train", "night-1") == manifest


def test_other_readers_skip_the_manifest(
    spark: SparkSession, tables: Tables, tmp_path: Path
) -> None:
    write(tables, spark, "night-1", ROWS)
    folder = tmp_path / tables.path("train", "night-1")
    assert (folder / "_manifest.json").exists()
    by_pandas = pd.read_parquet(folder).sort_values("item")
    assert by_pandas["item"].tolist() == [2, 3]
    assert list(by_pandas.columns) == RATINGS.names
    assert_df_equality(
        spark.read.parquet(str(folder)),
        spark.createDataFrame(ROWS, RATINGS),
        ignore_row_order=True,
    )


def test_names_that_do_not_exist_say_what_is_meant(spark: SparkSession, tables: Tables) -> None:
    for run_id in ("night-1", "night-2"):
        write(tables, spark, run_id, ROWS)
    with pytest.raises(ConfigError, match=r"no table trian under .* \(did you mean train\?\)"):
        tables.version("trian", None)
    with pytest.raises(ConfigError, match=r"no table trian under"):
        tables.version("trian", "night-1")
    with pytest.raises(
        ConfigError, match=r"nihgt-1 \(did you mean night-1\?\); the newest are night-2, night-1\."
    ):
        tables.version("train", "nihgt-1")


def test_a_version_without_manifest_is_invisible_and_replaced(
    spark: SparkSession, tables: Tables, tmp_path: Path
) -> None:
    write(tables, spark, "night-1", ROWS)
    folder = tmp_path / tables.path("train", "night-1")
    (folder / "_manifest.json").unlink()
    (folder / "part-left-behind.snappy.parquet").write_bytes(b"half a file")
    assert tables.manifest("train", "night-1") is None
    with pytest.raises(ConfigError, match="train has no complete version night-1"):
        tables.read("train", "night-1")
    assert write(tables, spark, "night-1", ROWS[:1]).rows == 1
    assert tables.read("train", "night-1").count() == 1
    assert not (folder / "part-left-behind.snappy.parquet").exists()


def test_the_declared_schema_decides_order_types_and_columns(
    spark: SparkSession, tables: Tables
) -> None:
    given = spark.createDataFrame([("x", 5, 7)], "more string, index bigint, id int")
    schema = ids(LongType())
    tables.write(given, "user_ids", "night-1", schema, {}, "")
    expected = spark.createDataFrame([(7, 5)], schema)
    assert_df_equality(tables.read("user_ids", "night-1"), expected)
    assert_df_equality(
        spark.read.parquet(tables.store.uri(tables.path("user_ids", "night-1"))), expected
    )


def test_an_empty_table_keeps_its_columns(spark: SparkSession, tables: Tables) -> None:
    assert write(tables, spark, "night-1", []).rows == 0
    assert_df_equality(tables.read("train", "night-1"), spark.createDataFrame([], RATINGS))


def test_the_pointer_names_one_version_and_is_swapped(tables: Tables) -> None:
    assert tables.current("train") is None
    for run_id in ("night-1", "night-2", "night-1"):
        tables.activate("train", run_id)
        assert tables.current("train") == run_id
    pointer = tables.store.read("tables/train/CURRENT.json")
    assert pointer is not None
    assert json.loads(pointer)["path"] == "versions/night-1"
    assert set(tables.store.list("tables/train")) == {"CURRENT.json"}


def test_manifest_with_other_fields_is_refused_by_name(tables: Tables) -> None:
    tables.store.replace("tables/train/versions/old/_manifest.json", '{"table": "train", "age": 3}')
    with pytest.raises(ContractError, match=r"Version old of train .* another paths.root"):
        tables.manifest("train", "old")


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_names_are_refused_everywhere(tables: Tables, name: str) -> None:
    for action in (
        lambda: check_name("run id", name),
        lambda: tables.path(name, "night-1"),
        lambda: tables.path("train", name),
        lambda: tables.manifest("train", name),
        lambda: tables.current(name),
        lambda: tables.activate(name, "night-1"),
        lambda: tables.activate("train", name),
    ):
        with pytest.raises(ConfigError, match="may hold letters"):
            action()


def test_ordinary_names_are_allowed() -> None:
    for name in ("2024-01-31-abcd1234", "a", "v1.2_b", "x" * 128):
        assert check_name("run id", name) == name


def test_a_missing_version_is_named_beside_files_that_are_none(
    spark: SparkSession, tables: Tables, tmp_path: Path
) -> None:
    write(tables, spark, "night-1", ROWS)
    versions = tmp_path / "tables/train/versions"
    (versions / ".DS_Store").write_text("")
    (versions / "older").mkdir()
    (versions / "older/_manifest.json").write_text('{"of": "another version"}')
    with pytest.raises(ConfigError, match=r"no complete version night-2 \(did you mean night-1"):
        tables.read("train", "night-2")
