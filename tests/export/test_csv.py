"""CSV by RFC 4180: what is delivered and shown is read back by others as it was."""

import csv
import io

import pandas as pd
import pyarrow as pa
import pytest

from recsys_spark.cli.show import as_csv
from recsys_spark.export.files import Files
from recsys_spark.export.lists import ExportTable

IDS = [
    *('"q"', 'a"b', '""', "a,b", "back\\slash", "ends\\", '\\"', "line\nbreak", "cr\rhere"),
    *("crlf\r\nhere", " leading", "trailing ", "#comment", "0012", "tørr 茶", "tab\there", "'"),
]
SCHEMA = """user_id string, source string,
    recommendations array<struct<item_id string, score float, rank int>>"""


@pytest.fixture(scope="module")
def parts(spark, tmp_path_factory):
    """The files of lists whose users and items have every awkward id."""
    root = tmp_path_factory.mktemp("csv")
    entries = [(item, 0.5, rank) for rank, item in enumerate(IDS, 1)]
    frame = spark.createDataFrame([(user, "model", entries) for user in IDS], SCHEMA)
    Files("csv", str(root)).write(
        ExportTable("recommendations", "r", len(IDS), 1, frame.coalesce(1))
    )
    return [str(part) for part in (root / "recommendations.csv/r").glob("part-*.csv")]


def by_csv_module(parts):
    for part in parts:
        with open(part, newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


def by_pandas(parts):
    for part in parts:
        yield from pd.read_csv(part, dtype=str, keep_default_na=False).to_dict("records")


def by_spark(spark, parts):
    options = {"header": True, "multiLine": True, "escape": '"', "lineSep": "\n"}
    return (row.asDict() for row in spark.read.options(**options).csv(parts).collect())


@pytest.mark.parametrize("reader", ["csv module", "pandas", "spark"])
def test_exported_csv_is_read_by_other_readers(spark, parts, reader):
    read = {"csv module": by_csv_module, "pandas": by_pandas}
    rows = by_spark(spark, parts) if reader == "spark" else read[reader](parts)
    found = [(row["user_id"], int(row["rank"]), row["item_id"], row["source"]) for row in rows]
    expected = [(user, rank, item, "model") for user in IDS for rank, item in enumerate(IDS, 1)]
    assert found == expected


def test_exported_csv_doubles_quotation_marks_and_escapes_nothing(parts):
    with open(parts[0], newline="", encoding="utf-8") as file:
        content = file.read()
    assert content.startswith('user_id,rank,item_id,score,source\n"""q""",1,"""q""",0.5,model\n')
    assert "back\\slash" in content
    assert '\\"q' not in content


def test_shown_csv_is_read_by_other_readers():
    rows = [{"item_id": item, "score": None, "list": [item]} for item in IDS]
    text = as_csv(pa.Table.from_pylist(rows))
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["item_id"] for row in found] == IDS
    frame = pd.read_csv(io.StringIO(text, newline=""), dtype=str, keep_default_na=False)
    assert frame["item_id"].tolist() == IDS
