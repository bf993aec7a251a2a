"""One reader for every table: however the rows are written, they are the same rows, or refused."""

import bz2
import decimal
import gzip
import json
import uuid
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.config import Source
from recsys_spark.errors import ContractError
from recsys_spark.io.fields import Wanted
from recsys_spark.io.tables import open_table
from tests.queries import count_queries

HEAD = "user_id,item_id,rating,timestamp\n"
PLAIN = HEAD + "ann,tea,5,1700000000\nbob,cüp,4,1700000001\n"
ROWS = [("ann", "tea", "5", "1700000000"), ("bob", "cüp", "4", "1700000001")]
ROLES = {"user": "id", "item": "id", "value": "number", "timestamp": "time"}


def opened(spark, path, **settings):
    source = Source.model_validate({"path": str(path), **settings})
    columns = source.columns.model_dump()
    wanted = {
        key: Wanted(columns[key], role, f"ingest.source.columns.{key}")
        for key, role in ROLES.items()
        if columns[key] is not None
    }
    return open_table(spark, "ingest.source", source, wanted)


def rows(spark, path, **settings):
    """The records that are none malformed, as text, sorted."""
    frame = opened(spark, path, **settings).frame.where("not malformed")
    return sorted(tuple(map(str, row)) for row in frame.select(*ROLES).collect())


def zstd(content):
    return pa.Codec("zstd").compress(content, asbytes=True)


def zipped(folder, members):
    with zipfile.ZipFile(folder / "ml.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return folder / "ml.zip"


UTF8 = PLAIN.encode()
WRITTEN = {
    "gz": ("r.csv.gz", gzip.compress(UTF8), {}),
    "bz2": ("r.csv.bz2", bz2.compress(UTF8), {}),
    "zst": ("r.csv.zst", zstd(UTF8), {}),
    "gzip without a suffix": ("ratings", gzip.compress(UTF8), {}),
    "plain text called gz": ("r.csv.gz", UTF8, {}),
    "zstd called csv": ("r.csv", zstd(UTF8), {}),
    "UTF-16 by its mark": ("r.csv", PLAIN.encode("utf-16"), {}),
    "UTF-16 as configured": ("r.csv", PLAIN.encode("utf-16-le"), {"encoding": "utf-16-le"}),
    "latin-1": ("r.csv", PLAIN.encode("latin-1"), {"encoding": "latin-1"}),
    "cp1252, gz": ("r.csv.gz", gzip.compress(PLAIN.encode("cp1252")), {"encoding": "cp1252"}),
    "old line ends": ("r.csv", UTF8.replace(b"\n", b"\r"), {}),
    "a hidden name": ("_r.csv", UTF8, {}),
    "a colon in the name": ("2024:01.csv", UTF8, {}),
    "a pattern as a name": ("r[1].csv", UTF8, {}),
    "blank lines first": ("r.csv", b"\n  \n" + UTF8, {}),
    "blanks around names": ("r.csv", UTF8.replace(b"user_id,item_id", b" user_id , item_id"), {}),
    "a separator inside quotes": (
        "r.csv",
        UTF8.replace(b"timestamp", b'timestamp,"a,b"').replace(b"00\n", b"00,x\n")
        .replace(b"01\n", b"01,y\n"),
        {},
    ),
    "names twice that are not wanted": (
        "r.csv",
        UTF8.replace(b"timestamp", b"timestamp,x,x").replace(b"00\n", b"00,1,2\n")
        .replace(b"01\n", b"01,1,2\n"),
        {},
    ),
    "dots and backticks in names": (
        "r.csv",
        UTF8.replace(b"user_id", b"the.`user`"),
        {"columns": {"user": "the.`user`"}},
    ),
    "decimal commas": (
        "r.csv",
        UTF8.replace(b",", b";").replace(b";5;", b";5,0;"),
        {"separator": ";"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITTEN)
def test_tables_text_is_read_however_it_is_written(spark, tmp_path, kind):
    name, content, settings = WRITTEN[kind]
    (tmp_path / name).write_bytes(content)
    expected = ROWS if kind != "decimal commas" else [("ann", "tea", "5,0", ROWS[0][3]), ROWS[1]]
    assert rows(spark, tmp_path / name, **settings) == expected


def test_tables_bytes_that_are_not_the_encoding_are_kept_as_none(spark, tmp_path):
    for name, settings in (("a.csv", {}), ("b.csv", {"encoding": "ascii"})):
        content = (HEAD + "ann,tea,5,1\n").encode() + b"b\xf6b,tea,5,1\n"
        (tmp_path / name).write_bytes(content)
        frame = opened(spark, tmp_path / name, **settings).frame
        assert [r.ok for r in frame.selectExpr("is_valid_utf8(raw) as ok").collect()] == [
            True,
            False,
        ]


MEMBERS = {"ml/movies.csv": "movieId,title\n1,x\n", "ml/README.txt": "Read me, please\n"}


def test_tables_the_member_with_the_columns_is_read(spark, tmp_path):
    path = zipped(tmp_path, {**MEMBERS, "ml/ratings.csv": PLAIN})
    assert rows(spark, path) == ROWS == rows(spark, f"{path}/ratings.csv")
    with pytest.raises(ContractError, match=r"members .*movies\.csv.*name the one to read"):
        opened(spark, zipped(tmp_path, MEMBERS))


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_tables_folders_name_columns(spark, tmp_path, form):
    for day in ("2024-01-01", "2024-01-02"):
        folder = tmp_path / form / f"timestamp={day} 10%3A00"
        folder.mkdir(parents=True)
        row = {"user_id": "ann", "item_id": f"tea{day[-1]}", "rating": 5}
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist([row]), folder / "part.parquet")
        elif form == "jsonl":
            (folder / "part.json").write_text(json.dumps(row) + "\n")
        else:
            (folder / "part.csv").write_text("user_id,item_id,rating\nann,tea" + day[-1] + ",5\n")
    found = rows(spark, tmp_path / form, format=form)
    assert [row[3] for row in found] == ["2024-01-01 10:00", "2024-01-02 10:00"]
    assert [row[1] for row in found] == ["tea1", "tea2"]


@pytest.mark.parametrize("text", ["true", " TRUE ", "False", "fALSE", "truth", "1"])
def test_tables_true_and_false_are_numbers_in_any_case(spark, tmp_path, text):
    (tmp_path / "r.csv").write_text(f"{HEAD}ann,tea,{text},1\n")
    expected = {"true": "1", "false": "0"}.get(text.strip().lower(), text)
    assert rows(spark, tmp_path / "r.csv") == [("ann", "tea", expected, "1")]


def test_tables_a_small_file_without_quotation_is_read_by_one_query(spark, tmp_path):
    for name, text in (("plain", PLAIN), ("quoted", PLAIN.replace("tea", '"tea"'))):
        (tmp_path / f"{name}.csv").write_text(text)
    assert count_queries(spark, lambda: opened(spark, tmp_path / "plain.csv")) == 0
    assert count_queries(spark, lambda: opened(spark, tmp_path / "quoted.csv")) == 1
    assert rows(spark, tmp_path / "plain.csv") == rows(spark, tmp_path / "quoted.csv") == ROWS


def test_tables_no_row_comes_from_a_record_of_several_lines(spark, tmp_path):
    text = "review,user_id,item_id,rating,timestamp\n"
    text += 'short,cyd,cup,3,1\n"I liked\nit,bob,tea,5,1700000000\n"" a lot",ann,cup,4,1\n'
    text += '12" disc,dan,cup,2,1\n"a, ""b""",eve,cup,1,1\n'
    (tmp_path / "r.csv").write_text(text)
    assert [row[0] for row in rows(spark, tmp_path / "r.csv")] == ["cyd", "dan", "eve"]
    raw = opened(spark, tmp_path / "r.csv").frame.where("malformed").count()
    assert raw == 3, "the lines are rejected, not lost"


JSON_LINES = [
    ('{"user_id": "ann", "item_id": 4.0}', ("ann", "4")),
    ('{"user_id": 7, "item_id": 1e3}', ("7", "1000")),
    ('{"user_id": 12345678901234567890123, "item_id": "4.0"}', ("12345678901234567890123", "4.0")),
    ('{"user_id": "a"}{"user_id": "b"}', "malformed"),
    ('{"user_id": "a"} {"user_id": "b"}', "malformed"),
    ('{"user_id": "a"},{"user_id": "b"}', "malformed"),
    ('{"user_id": "a"}]', "malformed"),
    ('{"user_id": "a"}],[{"user_id": "b"}', "malformed"),
    ('{"user_id": "a"} x', "malformed"),
    ('{"user_id": "a", "user_id": "b"}', "malformed"),
    ('{"user_id": "a"', "malformed"),
    ("[]", "malformed"),
    ("7", "malformed"),
    ('{"user_id": [1], "item_id": {"a": 1}}', ("bad", "bad")),
    ('{"user_id": true, "item_id": 1.5}', ("bad", "bad")),
    ('{"user_id": null, "item_id": ""}', (None, "")),
    ("{}", (None, None)),
]


def test_tables_json_lines_hold_one_object_and_ids_of_any_type(spark, tmp_path):
    (tmp_path / "r.json").write_text("\n\n".join(line for line, _ in JSON_LINES) + "\n")
    columns = {"value": None, "timestamp": None}
    frame = opened(spark, tmp_path / "r.json", format="jsonl", columns=columns).frame
    found = {row.raw: row for row in frame.collect()}
    assert len(found) == len(JSON_LINES)
    for line, expected in JSON_LINES:
        row = found[line]
        assert row.malformed is (expected == "malformed"), line
        if not row.malformed:
            ids = ((row.user, row.user_bad), (row.item, row.item_bad))
            assert tuple("bad" if bad else text for text, bad in ids) == expected, line


TOKEN = uuid.UUID("12345678-9abc-def0-1234-56789abcdef0")
IDS = {
    "int64": (pa.array([7, None]), ["7", None]),
    "int8": (pa.array([7, -1], pa.int8()), ["7", "-1"]),
    "uint64": (pa.array([2**64 - 1, 2], pa.uint64()), ["18446744073709551615", "2"]),
    "float64": (pa.array([123.0, 12345678.0, 1.5, float("nan"), 2.0**60]),
                ["123", "12345678", "bad", "bad", "bad"]),
    "float32": (pa.array([3.0, None], pa.float32()), ["3", None]),
    "decimal": (pa.array([decimal.Decimal("123.00"), decimal.Decimal("1.50")]), ["123", "bad"]),
    "text": (pa.array(["007", "123.0"]), ["007", "123.0"]),
    "large text": (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
    "dictionary": (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    "uuid": (pa.array([TOKEN.bytes], pa.uuid()), [str(TOKEN)]),
    "16 bytes": (pa.array([TOKEN.bytes], pa.binary(16)), [str(TOKEN)]),
    "bytes": (pa.array([TOKEN.bytes, b"abc"]), [str(TOKEN), "bad"]),
    "null": (pa.nulls(2), [None, None]),
}  # fmt: skip
NO_IDS = {
    "list": pa.array([["tea", "cup"]]),
    "struct": pa.array([{"a": 1}]),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "boolean": pa.array([True]),
    "date": pa.array([date(2024, 1, 1)]),
    "timestamp": pa.array([datetime(2024, 1, 1)]),
    "duration": pa.array([timedelta(1)]),
}


def parquet(folder, name="part.parquet", **columns):
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / name)
    return folder


BARE = {"format": "parquet", "columns": {"value": None, "timestamp": None}}


@pytest.mark.parametrize("kind", IDS)
def test_tables_ids_of_any_type_become_text(spark, tmp_path, kind):
    values, expected = IDS[kind]
    folder = parquet(tmp_path / "p", user_id=values, item_id=pa.array(range(len(values))))
    frame = opened(spark, folder, **BARE).frame
    found = sorted(frame.collect(), key=lambda row: int(row.item))
    assert ["bad" if row.user_bad else row.user for row in found] == expected


@pytest.mark.parametrize("kind", NO_IDS)
def test_tables_columns_that_are_no_ids_are_refused(spark, tmp_path, kind):
    folder = parquet(tmp_path / "p", user_id=NO_IDS[kind], item_id=pa.array([1]))
    with pytest.raises(ContractError, match=r"'user_id' \(ingest\.source\.columns\.user\).* is "):
        opened(spark, folder, **BARE)


def test_tables_numbers_of_several_types_go_together(spark, tmp_path):
    """Yesterday's file has whole numbers; pandas made floats of today's, where one was missing."""
    parquet(tmp_path / "p", "1.parquet", user_id=[1, 2], item_id=["x", "y"])
    parquet(tmp_path / "p", "2.parquet", user_id=[3.0, None], item_id=["x", "y"])
    table = opened(spark, tmp_path / "p", **BARE)
    assert table.numeric == {"user"}
    assert sorted(str(row.user) for row in table.frame.collect()) == ["1", "2", "3", "None"]
    parquet(tmp_path / "p", "3.parquet", user_id=["4"], item_id=["x"])
    with pytest.raises(ContractError, match=r"bigint in .*1\.parquet and string in .*3\.parquet"):
        opened(spark, tmp_path / "p", **BARE)


def test_tables_times_of_any_precision(spark, tmp_path):
    exact = datetime(2023, 11, 14, 22, 13, 20, 123456)
    kinds = [pa.timestamp(unit, tz) for unit in ("ms", "us", "ns") for tz in (None, "UTC")]
    for at, kind in enumerate(kinds):
        times = pa.array([exact], pa.timestamp("us")).cast(kind, safe=False)
        other = pa.array([1], pa.timestamp("ns"))  # a column that is not wanted
        table = {"user_id": [at], "item_id": [1], "timestamp": times, "ns": other}
        parquet(tmp_path / "p", f"{at}.parquet", **table)
    old = pa.table({"user_id": [9], "item_id": [1], "timestamp": pa.array([exact])})
    pq.write_table(old, tmp_path / "p/9.parquet", use_deprecated_int96_timestamps=True)
    columns = {"format": "parquet", "columns": {"value": None}}
    frame = opened(spark, tmp_path / "p", **columns).frame
    found = {row.user: row.timestamp.replace(tzinfo=UTC) for row in frame.collect()}
    milliseconds = exact.replace(microsecond=123000, tzinfo=UTC)
    assert {user: time for user, time in found.items() if user in "01"} == dict.fromkeys(
        "01", milliseconds
    )
    assert set(found) == set("0123459")
    assert {time for user, time in found.items() if user not in "01"} == {exact.replace(tzinfo=UTC)}


def damaged(folder):
    """A folder of files that are not what they seem."""
    good = parquet(folder / "good", user_id=[1], item_id=[2]) / "part.parquet"
    whole = good.read_bytes()
    files = {
        "cut.parquet": whole[:-20],
        "README.md": b"# About\n",
        "packed.parquet": gzip.compress(whole),
        "some.parquet": b"a,b\n1,2\n",
        "_hidden.parquet": whole,
        "cut.csv.gz": gzip.compress(UTF8 * 100)[:40],
        "whole.csv": whole,
        "zeros.csv": PLAIN.encode("utf-16-le"),
        "array.json": b'[{"user_id": 1},\n{"user_id": 2}]',
        "pretty.json": b'{\n  "user_id": 1\n}\n',
        "text.json": UTF8,
        "semicolon.csv": UTF8.replace(b",", b";"),
        "comment.csv": b"# made by us\n" + UTF8,
        "rows.csv": b"ann,tea,5,1700000000\n",
        "json.csv": b'{"user_id": 1}\n',
        "case.csv": UTF8.replace(b"rating", b"Rating"),
        "twice.csv": UTF8.replace(b"timestamp", b"user_id"),
        "twice_case.csv": UTF8.replace(b"timestamp", b"User_ID"),
        "nothing.csv": b"\n\n",
        "excel.csv": b"sep=;\n" + UTF8.replace(b",", b";"),
        "ids.csv": b"tea\njam\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)


REFUSED = [
    ("cut.parquet", "parquet", "is cut off or damaged"),
    ("README.md", "parquet", "is not Parquet but something else"),
    ("packed.parquet", "parquet", "not Parquet but compressed with gzip"),
    ("some.parquet", "parquet", "is not Parquet"),
    ("_hidden.parquet", "parquet", "no Parquet file of such a name"),
    ("cut.csv.gz", "csv", "is cut off"),
    ("whole.csv", "csv", "a Parquet file: set ingest.source.format: parquet"),
    ("zeros.csv", "csv", "encoding: utf-16-le"),
    ("array.json", "jsonl", "is one JSON array: write an object a line"),
    ("pretty.json", "jsonl", "objects that go over several lines"),
    ("text.json", "jsonl", "no JSON object"),
    ("semicolon.csv", "csv", "If ';' separates its fields, set ingest.source.separator"),
    ("comment.csv", "csv", "looks like a comment"),
    ("rows.csv", "csv", "header: false"),
    ("json.csv", "csv", "format: jsonl"),
    ("case.csv", "csv", "no column 'rating' .*There is 'Rating'"),
    ("twice.csv", "csv", "'user_id' .*is there twice"),
    ("twice_case.csv", "csv", "twice in .*'user_id' and 'User_ID'"),
    ("nothing.csv", "csv", "is empty"),
    ("excel.csv", "csv", "Excel writes for itself: remove it"),
    ("ids.csv", "csv", "header: false"),
]


@pytest.fixture(scope="module")
def damaged_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    damaged(folder)
    return folder


@pytest.mark.parametrize(("name", "form", "text"), REFUSED)
def test_tables_that_are_not_what_they_seem_are_refused(spark, damaged_files, name, form, text):
    columns = {"timestamp": None, **({"value": None} if form == "parquet" else {})}
    with pytest.raises(ContractError, match=text) as caught:
        opened(spark, damaged_files / name, format=form, columns=columns)
    assert name in str(caught.value)


def test_tables_a_parquet_column_twice_up_to_case(spark, tmp_path):
    columns = {"user_id": [1], "User_ID": [2], "item_id": [3], "x": [1], "X": [2]}
    folder = parquet(Path(tmp_path) / "p", **columns)
    with pytest.raises(ContractError, match="'user_id' and 'User_ID'"):
        opened(spark, folder, **BARE)
    folder = parquet(Path(tmp_path) / "q", user_id=[1], item_id=[3], x=[1], X=[2])
    assert opened(spark, folder, **BARE).frame.count() == 1
