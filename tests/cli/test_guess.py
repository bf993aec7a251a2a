"""What `init` makes of the first lines of files that people have."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.cli import main
from recsys_spark.cli.guess import guess
from recsys_spark.settings import load_config

MOVIELENS = "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,1029,3.0,1260759179\n"
TEXTS = [
    # text; separator, header, columns, unit
    (MOVIELENS, (",", True, ["userId", "movieId", "rating", "timestamp"], "seconds")),
    ("1::1193::5::978300760\n1::661::3::978302109\n", ("::", False, [0, 1, 2, 3], "seconds")),
    ("196\t242\t3\t881250949000\n", ("\t", False, [0, 1, 2, 3], "seconds")),
    (
        "Kunde;customer_id;product_id;created_at\nA;7;x;2024-01-05\n",
        (";", True, ["customer_id", "product_id", None, "created_at"], "iso"),
    ),
    (
        "userID\tartistID\tweight\n2\t51\t13883\n",
        ("\t", True, ["userID", "artistID", "weight", None], "seconds"),
    ),
    ("a|b\n1|2\n", ("|", True, [None, None, None, None], "seconds")),
    (
        '"user_id","item, name","ts"\n"1","a, b",1700000000123\n',
        (",", True, ["user_id", "item, name", None, "ts"], "milliseconds"),
    ),
    ("", (None, False, [None, None, None, None], "seconds")),
]


def of(found):
    return found.header, list(found.columns.values()), found.unit


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_separator_header_columns_and_unit_of_csv_are_guessed(text, expected, tmp_path):
    separator, *others = expected
    path = tmp_path / "events.csv"
    path.write_text(text)
    found = guess(path)
    assert of(found) == tuple(others)
    assert separator in (found.separator, None)


def test_json_lines_parquet_folders_and_gzip_are_recognised(tmp_path):
    row = {"visitor": "a", "item_id": 3, "user_id": "b", "time": 1700000000000000}
    columns = ["user_id", "item_id", None, "time"]
    (tmp_path / "jsonl").mkdir()
    (tmp_path / "jsonl/part-1").write_text(json.dumps(row))
    (tmp_path / "jsonl/_SUCCESS").touch()
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write(MOVIELENS)
    for name, form in (("jsonl", "jsonl"), ("a.parquet", "parquet")):
        found = guess(tmp_path / name)
        assert (found.format, *of(found)) == (form, True, columns, "microseconds")
    assert guess(tmp_path / "a.csv.gz").columns["item"] == "movieId"


def test_init_writes_a_configuration_that_loads_and_never_overwrites(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "50% #1.csv").write_text(MOVIELENS)
    assert main(["init", "50% #1.csv"]) == 0
    assert "recsys-spark run --config recsys.yaml" in capsys.readouterr().out
    source = load_config(["recsys.yaml"]).ingest.source
    assert (source.path, source.columns.item) == ("50% #1.csv", "movieId")
    assert main(["init", "50% #1.csv"]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("gone.csv", None, "no file of events"),
        ("a.csv", b"\xff\xfe\x00", "neither text"),
        ("a.parquet", b"PAR1 and more", "not Parquet"),
        ("a.json", b'{"a": 1}\n{"a"', "JSON object"),
    ],
)
def test_files_that_cannot_be_guessed_are_refused(name, content, cause, tmp_path, capsys):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["init", str(tmp_path / name), "--output", str(tmp_path / "x.yaml")]) == 2
    assert cause in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x.yaml").exists()


def test_init_names_the_file_of_a_folder_that_it_guessed_from(tmp_path, capsys):
    (tmp_path / "events").mkdir()
    for name in ("b.csv", "a.csv", "_note.txt"):
        (tmp_path / "events" / name).write_text("user_id,item_id\n1,2\n")
    assert main(["init", str(tmp_path / "events"), "--output", str(tmp_path / "x.yaml")]) == 0
    assert f"Guessed from the first lines of {tmp_path}/events/a.csv, in" in capsys.readouterr().out
