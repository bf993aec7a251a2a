"""One contract for the stores, kept by a plain folder and by Hadoop's file systems."""

import errno
import os
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsys_spark.config import Tracking
from recsys_spark.errors import ConfigError
from recsys_spark.runtime.failures import keep_trace
from recsys_spark.runtime.tracking import tracking_uri
from recsys_spark.storage.store import HadoopStore, LocalStore, Store, local_folder, open_store


@pytest.fixture(params=["local", "hadoop"])
def store(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path) -> Store:
    root = tmp_path / "a root"
    if request.param == "local":
        return LocalStore(root)
    return HadoopStore(spark, f"file://{root}/")


class TestStore:
    def test_missing_file_reads_as_none(self, store: Store) -> None:
        assert store.read("nothing.json") is None
        assert store.read("no/folder/nothing.json") is None

    def test_a_path_below_a_file_is_missing(self, store: Store) -> None:
        store.replace("runs/notes.txt", "not a folder")
        assert store.read("runs/notes.txt/stages/train.json") is None

    def test_replace_creates_folders_and_swaps(self, store: Store) -> None:
        for text in ("ärger\n", "", "a second text\r\nas it is €\n"):
            store.replace("tables/x/CURRENT.json", text)
            assert store.read("tables/x/CURRENT.json") == text

    def test_replace_leaves_nothing_else(self, store: Store, tmp_path: Path) -> None:
        store.replace("x/one.json", "old")
        store.replace("x/one.json", "new")
        assert store.list("x") == {"one.json": 3}
        names = {path.name for path in (tmp_path / "a root" / "x").iterdir()}
        assert names - {".one.json.crc"} == {"one.json"}

    def test_list_names_files_and_folders_with_sizes(self, store: Store) -> None:
        store.replace("x/b.txt", "12")
        store.replace("x/a.txt", "€")
        store.replace("x/inner/c.txt", "1")
        found = store.list("x")
        assert set(found) == {"a.txt", "b.txt", "inner"}
        assert (found["a.txt"], found["b.txt"]) == (3, 2)

    def test_list_of_no_folder_is_empty(self, store: Store) -> None:
        assert store.list("nowhere") == {}

    def test_delete_takes_files_and_whole_folders(self, store: Store) -> None:
        store.replace("x/one.txt", "1")
        store.replace("x/inner/two.txt", "2")
        store.delete("x/one.txt")
        assert set(store.list("x")) == {"inner"}
        store.delete("x")
        assert store.list("x") == {}
        assert store.read("x/inner/two.txt") is None

    def test_delete_of_nothing_is_allowed(self, store: Store) -> None:
        store.delete("nowhere/at/all")

    def test_uri_names_the_file_for_others(self, store: Store, tmp_path: Path) -> None:
        store.replace("x/one.txt", "1")
        path = store.uri("x/one.txt").removeprefix("file://")
        assert Path(path) == tmp_path / "a root" / "x" / "one.txt"
        assert Path(path).read_text() == "1"


def _no_session() -> SparkSession:
    raise AssertionError("a local root needs no session")


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_local_root_needs_no_session(tmp_path: Path, prefix: str) -> None:
    store = open_store(f"{prefix}{tmp_path}", _no_session)
    assert isinstance(store, LocalStore)
    assert store.root == tmp_path


@pytest.mark.parametrize(
    ("root", "folder"),
    [
        ("recs", "recs"),
        ("./a/../b", "a/../b"),
        ("/data/50% #1?", "/data/50% #1?"),
        ("~/recs", "/home/ann/recs"),
        ("file:/data/recs", "/data/recs"),
        ("file:///data/recs/", "/data/recs"),
        ("FILE:///data/recs", "/data/recs"),
        ("file://localhost/data/recs", "/data/recs"),
        ("file:///data/50%25%20%231", "/data/50% #1"),
        ("file:recs", "recs"),
        ("file:~/recs", "/home/ann/recs"),
        ("hdfs:///recs", None),
        ("s3a://bucket/recs", None),
    ],
)
def test_every_spelling_of_a_local_root_is_one_folder(
    root: str, folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert local_folder(root) == (Path(folder) if folder else None)


@pytest.mark.parametrize("root", ["file://data/recs", "file://~/recs", "~no.such.user/recs"])
def test_root_of_another_machine_or_an_unknown_user_is_refused(root: str) -> None:
    with pytest.raises(ConfigError, match=r"names a machine|no such user"):
        local_folder(root)


@pytest.mark.parametrize("form", ["~/recs", "file:{home}/recs", "file://{home}/recs", "recs"])
def test_tables_logs_and_tracking_are_under_one_local_folder(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    root = form.format(home=tmp_path)
    open_store(root, _no_session).replace("tables/x/CURRENT.json", "")
    assert keep_trace(root) is not None
    database = (tracking_uri(Tracking(), root) or "").removeprefix("sqlite:///")
    assert Path(database).parent == tmp_path / "recs"
    assert {path.name for path in tmp_path.iterdir()} == {"recs"}
    assert {path.name for path in (tmp_path / "recs").iterdir()} == {"tables", "logs"}


def test_a_relative_root_is_fixed_when_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("data", _no_session).uri("x") == str(tmp_path / "data" / "x")


def test_store_of_another_scheme_needs_the_session(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="needs no session"):
        open_store("s3a://bucket/root", _no_session)


def test_a_failed_replace_keeps_the_old_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    store.replace("one.json", "old")

    def fail(_descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        store.replace("one.json", "new")
    assert store.read("one.json") == "old"
    assert store.list("") == {"one.json": 3}


def test_a_folder_is_deleted_whose_files_vanish_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after Ctrl-C, when Spark deletes what an interrupted write has left."""
    store, made = LocalStore(tmp_path), os.unlink
    for name in ("one", "two"):
        store.replace(f"scratch/_temporary/{name}.parquet", "rows")

    def vanish(name: str, **folder: int) -> None:
        made(name, **folder)
        monkeypatch.setattr("os.unlink", made)
        raise FileNotFoundError(errno.ENOENT, "gone", name)

    monkeypatch.setattr("os.unlink", vanish)
    store.delete("scratch")
    assert not (tmp_path / "scratch").exists()


def test_a_folder_that_cannot_be_deleted_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    store.replace("kept/one.txt", "1")

    def refuse(_: Path) -> None:
        raise OSError(errno.ENOTEMPTY, "not empty")

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(OSError, match="not empty"):
        store.delete("kept")


@pytest.mark.parametrize("root", ["shop[1]", "/data/{a}", "file:/data/x?", "s3a://bucket/*/recs"])
def test_store_a_root_that_spark_reads_as_a_pattern_is_refused(root: str) -> None:
    with pytest.raises(ConfigError, match=r"paths\.root is .*pattern of names"):
        open_store(root, lambda: pytest.fail("no session is needed to refuse"))
