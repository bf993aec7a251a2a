"""Versions that are written in slices, and what an attempt that was stopped leaves of them."""

import pytest

from recsys_spark.storage.partial_versions import Slices
from recsys_spark.storage.store import LocalStore

FOLDER = "tables/lists/versions/night"


@pytest.fixture
def opened(tmp_path):
    """Opens the slices of one folder, as each attempt does."""
    return lambda fingerprint="same": Slices(LocalStore(tmp_path), FOLDER, fingerprint)


@pytest.fixture
def written(spark, tmp_path):
    """The keys that are on disk."""
    folder = str(tmp_path / FOLDER)
    return lambda: sorted(row["id"] for row in spark.read.parquet(folder).collect())


def frame(spark, *ids):
    return spark.createDataFrame([(i,) for i in ids], "id int").repartition(2)


def test_a_slice_stays_once_it_is_finished(spark, opened, written):
    slices = opened()
    slices.write(frame(spark, 1, 2, 3))
    slices.finish(3, [7])
    slices.write(frame(spark, 4, 5))  # and the attempt is stopped
    assert written() == [1, 2, 3, 4, 5]
    again = opened()
    assert written() == [1, 2, 3]
    progress = again.progress
    assert (progress.through, progress.complete, list(progress.notes)) == (3, False, [[7]])
    again.write(frame(spark, 4, 5, 6))
    again.finish(None, [8])
    last = opened().progress
    assert (last.complete, list(last.notes)) == (True, [[7], [8]])
    assert written() == [1, 2, 3, 4, 5, 6]


def test_files_of_interrupted_tasks_are_deleted(spark, opened, written, tmp_path):
    slices = opened()
    slices.write(frame(spark, 1))
    slices.finish(1)
    half = tmp_path / FOLDER / "_temporary/0/task"
    half.mkdir(parents=True)
    (half / "part-00000.parquet").write_bytes(b"PAR1 half")
    (tmp_path / FOLDER / "part-00009-moved.parquet").write_bytes(b"PAR1 half")
    opened()
    assert not (tmp_path / FOLDER / "_temporary").exists()
    assert written() == [1]


def test_slices_of_something_else_are_deleted(spark, opened, tmp_path):
    slices = opened()
    slices.write(frame(spark, 1))
    slices.finish(1)
    assert opened("other").progress.through is None
    assert not (tmp_path / FOLDER).exists()
