"""Blocks in files: the same factors, written once, used again after a kill, and never left."""

import numpy as np
import pytest
from pyspark import SparkContext

from recsys_spark import WALS
from recsys_spark.als import parquet_spill
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.trainer import fit_factors
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import frame_of, ratings

SPEC = resolve_spec("hu2008", rank=3, iterations=1)
SPLIT = 11  # so that item 0, which all users have, is in two parts


def fit(spark, folder, on_sweep=lambda _: None, blocks=3):
    folder = folder and str(folder)
    plan = Plan(blocks, split_above=SPLIT, placement="replicated", folder=folder)
    return fit_factors(frame_of(spark, ratings(seed=3)), SPEC, plan, on_sweep)


@pytest.fixture(scope="module")
def expected(spark):
    return fit(spark, None)


def assert_bit_equal(one, other):
    for side in ("user", "item"):
        np.testing.assert_array_equal(getattr(one, side).vectors, getattr(other, side).vectors)
    assert one.losses == other.losses


def persisted(spark):
    return spark.sparkContext._jsc.getPersistentRDDs().size()


def test_blocks_in_files_give_the_same_bits_and_nothing_stays(spark, expected, tmp_path):
    before, seen = persisted(spark), []

    def on_sweep(_):
        seen.append(persisted(spark) - before)
        assert list(tmp_path.glob("blocks-*/_SUCCESS"))

    assert_bit_equal(fit(spark, tmp_path, on_sweep), expected)
    assert seen == [0]
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_no_files(spark, tmp_path):
    def fail(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(spark, tmp_path, fail)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def killed(spark, tmp_path, monkeypatch):
    """A folder as a killed fit leaves it, and the paths that are written from then on."""
    made, written = parquet_spill.write, []

    def write(frame, path, *folders):
        written.append(path)
        made(frame, path, *folders)

    with monkeypatch.context() as patch:
        patch.setattr(parquet_spill, "delete", lambda *_: None)
        fit(spark, tmp_path)
    monkeypatch.setattr(parquet_spill, "write", write)
    return tmp_path, written


def test_complete_blocks_are_used_again(spark, expected, killed):
    folder, written = killed
    assert_bit_equal(fit(spark, folder), expected)
    assert not written


def test_half_written_blocks_are_written_again(spark, expected, killed):
    folder, written = killed
    (blocks,) = folder.iterdir()
    (blocks / "_SUCCESS").unlink()
    next(blocks.rglob("*.parquet")).unlink()
    assert_bit_equal(fit(spark, folder), expected)
    assert written == [str(blocks)]


def test_blocks_of_another_layout_are_not_used(spark, killed):
    folder, written = killed
    fit(spark, folder, blocks=1)
    assert len(written) == 1


def test_every_file_is_read_as_one_partition(spark, tmp_path):
    settings = spark.conf.getAll
    parquet_spill.write(spark.range(50).repartition(5), str(tmp_path / "numbers"))
    own = parquet_spill.reader(spark)
    assert own.read.parquet(str(tmp_path / "numbers")).rdd.getNumPartitions() == 5
    changed = {
        "spark.sql.files.maxPartitionBytes": "1g",
        "spark.sql.files.openCostInBytes": "1g",
    }
    expected, found = settings | changed, own.conf.getAll
    differing = {key for key in expected if found.get(key) != expected[key]}
    assert not any(own.conf.isModifiable(key) for key in differing)
    assert spark.conf.getAll == settings


def test_the_estimator_keeps_blocks_in_the_checkpoint_directory(spark, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(SparkContext, "getCheckpointDir", lambda _: str(tmp_path))
    made = parquet_spill.write
    monkeypatch.setattr(
        parquet_spill, "write", lambda *given: (kept.append(given[1]), made(*given))
    )
    frame = frame_of(spark, ratings(), names=("user", "item", "rating"))
    WALS(rank=2, maxIter=1, placement="replicated").fit(frame)
    (path,) = kept
    assert path.startswith(f"{tmp_path}/wals-")
    assert list(tmp_path.iterdir()) == []
