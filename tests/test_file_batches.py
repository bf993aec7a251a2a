"""What tasks read of files themselves, and what goes through Spark."""

from pathlib import Path

import pyarrow as pa
import pytest

from recsys_spark.arrow import make_batch
from recsys_spark.file_batches import map_read

KIND = "id bigint, name string, lists array<struct<item: string, score: float>>"


def counted(frame, rows=10, columns=("id", "lists")):
    """The rows of each batch, and its columns."""

    def count(batches):
        for batch in batches:
            names = ",".join(sorted(batch.schema.names))
            yield make_batch(target, {"rows": [batch.num_rows], "names": [names]})

    target = pa.schema([("rows", pa.int64()), ("names", pa.string())])
    found = map_read(frame, columns, rows, count, "rows bigint, names string")
    return sorted((row["rows"], row["names"]) for row in found.collect())


@pytest.fixture
def written(spark, tmp_path):
    """A frame that is read from a file, and its folder, whose name an address has to quote."""
    folder = tmp_path / "50% of these, and more"
    rows = [(i, "x", [(f"{i}", 0.5), None]) for i in range(8)]
    spark.createDataFrame(rows, KIND).coalesce(1).write.parquet(str(folder))
    return spark.read.schema(KIND).parquet(str(folder)), folder


def test_tasks_read_local_files_themselves_in_batches_of_a_size(written):
    frame, _ = written
    assert counted(frame, rows=3) == [(2, "id,lists"), (3, "id,lists"), (3, "id,lists")]


def test_rows_of_no_file_go_through_spark(spark):
    rows = spark.createDataFrame([(1, "x", [])], KIND)
    assert counted(rows) == [(1, "id,lists")]


def test_a_damaged_file_is_named(written):
    frame, folder = written
    [file] = Path(folder).glob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[:10] + bytes([whole[10] ^ 255]) + whole[11:])
    with pytest.raises(Exception, match=r"recsys_spark cannot read on in .*50% of these"):
        counted(frame)


def test_a_file_of_other_types_is_refused(spark, written):
    _, folder = written
    frame = spark.read.schema("id int, lists array<string>").parquet(str(folder))
    with pytest.raises(Exception, match="it does not have the columns"):
        counted(frame)
