"""Source files of every layout, and the reason code of every broken row."""

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.config import Ingest, Source, ValidationRules
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.ingest.validation_rules import REASONS, apply_rules
from recsys_spark.io.events import open_events
from recsys_spark.io.records import record_text

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
T = 1_700_000_000
EVENTS = "reasons array<string>, user_id string, item_id string, value double, timestamp timestamp"
EVENT = ("reasons", "user_id", "item_id", "value", "timestamp")
REJECTED = "raw string, source_file string, reasons array<string>"
JUDGED = "item_id string, reasons array<string>"
FILE = "regexp_replace(source_file, '^file:/+', '/') as source_file"


def check(
    spark: SparkSession, path: Path | str, kind: str = "string", **settings: Any
) -> DataFrame:
    """The checked rows of a source; settings: of Ingest, or under `source` of the source."""
    source = Source(path=str(path), **settings.pop("source", {}))
    ingest = Ingest(source=source, **settings)
    opened = open_events(spark, source, ingest.filters)
    return apply_rules(opened.frame, ingest, kind, "string", NOW)


def same(actual: DataFrame, expected: DataFrame) -> None:
    assert_df_equality(actual, expected, ignore_row_order=True, ignore_nullable=True)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def write(folder: Path, content: str | bytes, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


HEAD = "user_id,item_id,rating,timestamp\n"
PLAIN = HEAD + f"ann,x,5,{T}\nböb,007,3.5,{T + 1}\n"
POSITIONS = {"columns": {"user": 0, "item": 1, "value": 2, "timestamp": 3}, "header": False}
LAYOUTS: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    "comma": (PLAIN, {}),
    "semicolon_gzip": (gzip.compress(PLAIN.replace(",", ";").encode()), {"separator": ";"}),
    "tab_crlf_no_last_newline": (
        PLAIN.replace(",", "\t").replace("\n", "\r\n").rstrip(),
        {"separator": "\\t"},
    ),
    "two_characters": (PLAIN.replace(",", "::"), {"separator": "::"}),
    "byte_order_mark_quotes": (
        '\ufeff"user_id","item_id","rating","timestamp"\n'
        f'"ann","x",5,"{T}"\n"böb","007","3.5",{T + 1}\n',
        {},
    ),
    "other_order_and_more_columns": (
        f"when,note,film,who,stars\n{T},hi,x,ann,5\n{T + 1},,007,böb,3.5\n",
        {"columns": {"user": "who", "item": "film", "value": "stars", "timestamp": "when"}},
    ),
    "byte_order_mark_positions": ("\ufeff" + PLAIN.removeprefix(HEAD), POSITIONS),
    "json_lines": (
        f'{{"user_id": "ann", "item_id": "x", "rating": 5, "timestamp": {T}, "more": [1]}}\n'
        f'{{"timestamp": {T + 1}, "item_id": "007", "user_id": "böb", "rating": 3.5}}\n',
        {"format": "jsonl"},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_text_gives_the_same_events(
    spark: SparkSession, tmp_path: Path, layout: str
) -> None:
    content, source = LAYOUTS[layout]
    name = "events.csv.gz" if layout.endswith("gzip") else "events.csv"
    actual = check(spark, write(tmp_path, content, name), source=source).select(*EVENT)
    rows = [([], "ann", "x", 5.0, at(T)), ([], "böb", "007", 3.5, at(T + 1))]
    same(actual, spark.createDataFrame(rows, EVENTS))


def test_quoted_fields_keep_separators_and_doubled_quotes(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = write(tmp_path, HEAD + f'"a,b","say ""hi""",1,{T}\n')
    row = check(spark, path).select(*EVENT).first()
    assert row is not None
    assert tuple(row)[:3] == ([], "a,b", 'say "hi"')


def test_without_a_quotation_mark_quotes_are_text(spark: SparkSession, tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + f'"ann,b\\"x,1,{T}\n')
    row = check(spark, path, source={"quote": ""}).select(*EVENT).first()
    assert row is not None
    assert tuple(row)[:3] == ([], '"ann', 'b\\"x')


@pytest.mark.parametrize("name", ["NULL", "null", "NaN", "nan", "None", "NA", "\\N"])
def test_ids_that_other_readers_take_for_missing_are_ids(
    spark: SparkSession, tmp_path: Path, name: str
) -> None:
    path = write(tmp_path, HEAD + f"{name},{name},1,{T}\n")
    row = check(spark, path, source={"quote": ""}).select(*EVENT).first()
    assert row is not None
    assert tuple(row)[:3] == ([], name, name)


def test_events_without_value_and_time_count_one(spark: SparkSession, tmp_path: Path) -> None:
    path = write(tmp_path, "user_id,item_id\nann,x\n")
    source = {"columns": {"value": None, "timestamp": None}}
    actual = check(spark, path, source=source).select(*EVENT)
    same(actual, spark.createDataFrame([([], "ann", "x", 1.0, None)], EVENTS))


def test_parquet_keeps_its_types(spark: SparkSession, tmp_path: Path) -> None:
    big = 2**53 + 1
    times = [datetime(2023, 11, 14, 22, 13, 20, 250000), None, datetime(2023, 1, 1)]
    table = pa.table(
        {
            "user_id": pa.array([7, big, -1], pa.int64()),
            "item_id": ["007", "b", "c"],
            "rating": [0.1, float("nan"), 1e300],
            "timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
        }
    )
    pq.write_table(table, tmp_path / "part.parquet")
    source = Source(path=str(tmp_path), format="parquet")
    assert open_events(spark, source, []).numeric == {"user"}
    checked = check(spark, tmp_path, "bigint", source={"format": "parquet"})
    rows = [
        ([], 7, "007", 0.1, times[0]),
        (["nan_value", "bad_timestamp"], big, "b", None, None),
        ([], -1, "c", 1e300, times[2]),
    ]
    columns = EVENTS.replace("user_id string", "user_id bigint")
    same(
        checked.select(*EVENT),
        spark.createDataFrame(rows, columns),
    )
    raw = checked.where("item_id = 'b'").select(record_text(checked).alias("raw")).first()
    assert raw is not None
    assert json.loads(raw["raw"])["user_id"] == big


NUMBERS = [5.0, 0.1, -2.5, 1e300, float("nan"), float("inf"), float("-inf"), None, 0.0]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.string()], ids=str)
def test_numbers_of_parquet_break_the_rules_that_their_text_breaks(
    spark: SparkSession, tmp_path: Path, kind: pa.DataType
) -> None:
    given = pa.array(NUMBERS, pa.float64()).cast(pa.float32() if kind == pa.float32() else kind)
    names = [str(at) for at in range(len(NUMBERS))]
    table = pa.table({"user_id": names, "item_id": names, "rating": given})
    pq.write_table(table, tmp_path / "part.parquet")
    texts = ["" if number is None else repr(number) for number in given.cast("double").to_pylist()]
    lines = "".join(f"{name},{name},{text}\n" for name, text in zip(names, texts, strict=True))
    plain = write(tmp_path, f"user_id,item_id,rating\n{lines}")
    columns = {"timestamp": None}
    settings: dict[str, Any] = {
        "rules": {"min_value": -1, "max_value": 1e10},
        "event_weights": {},
    }
    by_type, by_text = (
        check(spark, path, source={"columns": columns, **form}, **settings).select(*EVENT)
        for path, form in ((tmp_path / "part.parquet", {"format": "parquet"}), (plain, {}))
    )
    same(by_type, by_text)


def test_text_of_parquet_that_is_not_utf8_is_rejected(spark: SparkSession, tmp_path: Path) -> None:
    item = pa.array([b"x", b"a\xffb"]).view(pa.string())
    pq.write_table(pa.table({"user_id": ["u", "v"], "item_id": item}), tmp_path / "p.parquet")
    source = {"format": "parquet", "columns": {"value": None, "timestamp": None}}
    checked = check(spark, tmp_path / "p.parquet", source=source)
    found = {row["user_id"]: row["reasons"] for row in checked.collect()}
    assert found == {"u": [], "v": ["bad_encoding"]}


def test_parquet_numbers_count_as_times_in_the_configured_unit(
    spark: SparkSession, tmp_path: Path
) -> None:
    table = pa.table(
        {
            "user_id": [1, 2],
            "item_id": ["a", "b"],
            "rating": pa.array([3, 4], pa.int8()),
            "timestamp": pa.array([Decimal("1700000000000.5"), Decimal(1)]),
        }
    )
    pq.write_table(table, tmp_path / "part.parquet")
    source = {"format": "parquet", "timestamp_unit": "milliseconds"}
    checked = check(spark, tmp_path, "bigint", source=source)
    actual = checked.select("item_id", "value", "timestamp", "reasons").orderBy("item_id").collect()
    assert tuple(actual[0]) == ("a", 3.0, datetime(2023, 11, 14, 22, 13, 20, 500), [])
    assert actual[1]["reasons"] == ["bad_timestamp"]


CASES: list[tuple[bytes, list[str]]] = [
    (b"u,1,3", ["malformed_row"]),
    (b"u,2,3,1700000000,more", ["malformed_row"]),
    (b"u\xff,4,3,1700000000", ["bad_encoding"]),
    (b",5,3,1700000000", ["empty_user"]),
    (b'"",6,3,1700000000', ["empty_user"]),
    (b"u,   ,3,1700000000", ["empty_item"]),
    (b"u\x01,8,3,1700000000", ["bad_user"]),
    (b"u,9\x7f,3,1700000000", ["bad_item"]),
    (b"123456789,10,3,1700000000", ["long_user"]),
    ("u,€€€,3,1700000000".encode(), ["long_item"]),
    (b"u,12,,1700000000", ["missing_value"]),
    (b"u,13, ,1700000000", ["missing_value"]),
    (b"u,14,three,1700000000", ["bad_value"]),
    (b"u,15,NaN,1700000000", ["nan_value"]),
    (b"u,16,Infinity,1700000000", ["infinite_value"]),
    (b"u,17,0.4,1700000000", ["out_of_range"]),
    (b"u,18,5.01,1700000000", ["out_of_range"]),
    (b"u,19,3,", ["bad_timestamp"]),
    (b"u,20,3,yesterday", ["bad_timestamp"]),
    (b"u,21,3,631151999", ["bad_timestamp"]),
    (b"u,22,3,1717329601", ["future_timestamp"]),
    (
        b"\x01,123456789,1e400,9e9",
        ["bad_user", "long_item", "infinite_value", "out_of_range", "future_timestamp"],
    ),
    (b'"u,3,3,1700000000', ["malformed_row"]),  # the last line: the quotation stays open behind it
]
GOOD = [b"12345678,1,0.5,631152000", "€€,a b,5,1717329600".encode(), b"u, x,3,1700000000"]


def test_every_broken_rule_is_named_and_the_raw_row_kept(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = [*GOOD, *(line for line, _ in CASES)]
    path = write(tmp_path, HEAD.encode() + b"\n".join(lines) + b"\n")
    rules = ValidationRules(min_value=0.5, max_value=5, max_id_bytes=8)
    checked = check(spark, path, rules=rules)
    expected = [(raw.decode(errors="replace"), str(path), why) for raw, why in CASES]
    same(
        checked.where("size(reasons) > 0").selectExpr("raw", FILE, "reasons"),
        spark.createDataFrame(expected, REJECTED),
    )
    accepted = checked.where("size(reasons) = 0").select("user_id", "item_id", "value")
    ids = {(row.user_id, row.item_id, row.value) for row in accepted.collect()}
    assert ids == {("12345678", "1", 0.5), ("€€", "a b", 5.0), ("u", " x", 3.0)}
    named = {reason for _, reasons in CASES for reason in reasons}
    assert named == set(REASONS) - {"unknown_event"}  # which has its own test below


WEIGHTS = {"view": 1.0, "cart": 3.0, "dislike": -2.5}


@pytest.mark.parametrize("value", ["rating", None])
def test_an_events_value_is_its_weight_times_its_value(
    spark: SparkSession, tmp_path: Path, value: str | None
) -> None:
    head = "user_id,item_id,rating,timestamp,kind\n"
    events = [("view", 1.0), (" cart", 3.0), ("dislike", -2.5), ("View", None), ("", None)]
    lines = [f"u,{at_},2,{T},{event}" for at_, (event, _) in enumerate(events)]
    path = write(tmp_path, head + "\n".join(lines))
    source = {"columns": {"value": value, "event": "kind"}}
    checked = check(spark, path, source=source, event_weights=WEIGHTS)
    times = 2.0 if value else 1.0
    expected = [
        (["unknown_event"] if weight is None else [], str(at_), weight and weight * times)
        for at_, (_, weight) in enumerate(events)
    ]
    same(
        checked.select("reasons", "item_id", "value"),
        spark.createDataFrame(expected, "reasons array<string>, item_id string, value double"),
    )


def test_rules_see_the_value_before_it_is_weighed(spark: SparkSession, tmp_path: Path) -> None:
    head = "user_id,item_id,rating,timestamp,kind\n"
    lines = [f"u,a,4,{T},cart", f"u,b,6,{T},view", f"u,c,,{T},view", f"u,d,1e308,{T},hit"]
    source = {"columns": {"event": "kind"}}
    path = write(tmp_path, head + "\n".join(lines))
    weights = {**WEIGHTS, "hit": 100.0}
    checked = check(
        spark, path, source=source, event_weights=weights, rules=ValidationRules(max_value=5)
    ).orderBy("item_id")
    assert [tuple(row) for row in checked.select("reasons", "value").collect()] == [
        ([], 12.0),
        (["out_of_range"], 6.0),
        (["missing_value"], None),
        (["infinite_value", "out_of_range"], float("inf")),
    ]


def test_blank_lines_are_no_rows(spark: SparkSession, tmp_path: Path) -> None:
    checked = check(spark, write(tmp_path, "\n" + PLAIN + "\n   \n"))
    assert sorted(row.user_id for row in checked.collect()) == ["ann", "böb"]


def test_broken_json_is_malformed(spark: SparkSession, tmp_path: Path) -> None:
    good = f'{{"user_id": 7, "item_id": "x", "rating": "4", "timestamp": {T}}}'
    missing = f'{{"user_id": null, "item_id": "x", "rating": null, "timestamp": {T}}}'
    lines = [good, missing, '{"user_id": ', "[1, 2]", "7", "text"]
    path = write(tmp_path, "\n".join(lines) + "\n", "events.jsonl")
    checked = check(spark, path, source={"format": "jsonl"})
    malformed = ["malformed_row"]
    expected = [[], ["empty_user", "missing_value"], malformed, malformed, malformed, malformed]
    rows = list(zip(lines, expected, strict=True))
    same(
        checked.select("raw", "reasons"),
        spark.createDataFrame(rows, "raw string, reasons array<string>"),
    )
    kept = checked.where("size(reasons) = 0").select("user_id", "value").collect()
    assert [tuple(row) for row in kept] == [("7", 4.0)]


def test_values_are_plain_decimal_numbers(spark: SparkSession, tmp_path: Path) -> None:
    good = {"5.": 5.0, ".5": 0.5, "+3": 3.0, "-2": -2.0, "1E2": 100.0, " 4 ": 4.0, "1e-400": 0.0}
    good |= {"true": 1.0, " False ": 0.0}
    bad = {
        **dict.fromkeys(["1d", "2F", "0x10", "1_000", "1 2", "٣", "--1", "1e", "yes"], "bad"),
        **dict.fromkeys(["NaN", "nan", "-NAN"], "nan"),
        **dict.fromkeys(["inf", "-Infinity", "+INF", "1e400", "-1e400"], "infinite"),
    }
    texts = [*good, *bad]
    lines = [f"u,{at_},{text},{T}" for at_, text in enumerate(texts)]
    checked = check(spark, write(tmp_path, HEAD + "\n".join(lines)))
    found = {texts[int(row.item_id)]: row for row in checked.collect()}
    assert {text: found[text].reasons for text in bad} == {
        text: [f"{why}_value"] for text, why in bad.items()
    }
    assert {text: (found[text].reasons, found[text].value) for text in good} == {
        text: ([], value) for text, value in good.items()
    }


def test_values_with_decimal_commas(spark: SparkSession, tmp_path: Path) -> None:
    head = HEAD.replace(",", ";")
    path = write(tmp_path, head + f"u;a;4,5;{T}\nu;b;3;{T}\nu;c;1.234;{T}\nu;d;true;{T}\n")
    checked = check(spark, path, source={"separator": ";", "decimal": ","}).orderBy("item_id")
    found = [(row.value, row.reasons) for row in checked.collect()]
    assert found == [(4.5, []), (3.0, []), (None, ["bad_value"]), (1.0, [])]


def test_ids_are_text_unless_long_is_chosen(spark: SparkSession, tmp_path: Path) -> None:
    longs = {"007": 7, "7": 7, "-5": -5, "9223372036854775807": 2**63 - 1}
    longs |= {"1.0": 1, "123.00": 123, "1e3": 1000, "1.2345678E7": 12_345_678}
    others = ["1.5", "+7", "9223372036854775808", "1e300", " 8", "x", "٣"]
    lines = [f"{text},{text},1,{T}" for text in [*longs, *others]]
    path = write(tmp_path, HEAD + "\n".join(lines))
    as_text = check(spark, path).select("user_id", "reasons").collect()
    assert {row.user_id for row in as_text} == {*longs, *others}
    assert all(row.reasons == [] for row in as_text)
    as_long = check(spark, path, "bigint").select("item_id", "user_id", "reasons").collect()
    found = {row.item_id: (row.user_id, row.reasons) for row in as_long}
    assert {text: found[text] for text in longs} == {text: (n, []) for text, n in longs.items()}
    assert {text: found[text][1] for text in others} == {text: ["bad_user"] for text in others}


def test_a_line_break_does_not_pass_as_part_of_a_whole_number(
    spark: SparkSession, tmp_path: Path
) -> None:
    line = {"user_id": "7\n", "item_id": "x\n", "rating": 1, "timestamp": T}
    path = write(tmp_path, json.dumps(line), "events.jsonl")
    row = check(spark, path, "bigint", source={"format": "jsonl"}).first()
    assert row is not None
    assert row["reasons"] == ["bad_user", "bad_item"]


TIMES: dict[str, dict[str, datetime | str]] = {
    "seconds": {
        "1700000000": at(T),
        "1700000000.25": at(T + 0.25),
        "1.7e9": at(T),
        "9223372036854775807": "bad_timestamp",
        "1e300": "bad_timestamp",
        "10000000000": "future_timestamp",
    },
    "milliseconds": {
        "1700000000000": at(T),
        "1700000000250": at(T + 0.25),
        "1700000000000.5": at(T).replace(microsecond=500),
        "9223372036854775807": "bad_timestamp",
        "1700000000": "bad_timestamp",
        "-1": "bad_timestamp",
    },
    "microseconds": {
        "1700000000250000": at(T + 0.25),
        "9223372036854775807": "future_timestamp",
        "-9223372036854775808": "bad_timestamp",
        "99999999999999999999": "bad_timestamp",
        "NaN": "bad_timestamp",
    },
    "nanoseconds": {
        "1700000000250000000": at(T + 0.25),
        "1700000000250000999": at(T + 0.25),
        "1700000000": "bad_timestamp",
        "9223372036854775807": "future_timestamp",
        "99999999999999999999": "future_timestamp",  # of the year 5138
        "1e30": "bad_timestamp",
    },
    "iso": {
        "2023-11-14T22:13:20Z": at(T),
        "2023-11-14 22:13:20.25": at(T + 0.25),
        "2023-11-15T00:13:20+02:00": at(T),
        "2023-11-14": datetime(2023, 11, 14),
        "2023-02-30": "bad_timestamp",
        "294248-01-01T00:00:00Z": "bad_timestamp",
        "2024-06-02T12:00:00.000001Z": "future_timestamp",
        "soon": "bad_timestamp",
    },
}


@pytest.mark.parametrize("unit", TIMES)
def test_times_are_read_in_their_unit_and_never_overflow(
    spark: SparkSession, tmp_path: Path, unit: str
) -> None:
    lines = [f"u,{text},1,{text}" for text in TIMES[unit]]
    path = write(tmp_path, HEAD + "\n".join(lines))
    checked = check(spark, path, source={"timestamp_unit": unit})
    expected = [
        (text, [] if isinstance(time, datetime) else [time]) for text, time in TIMES[unit].items()
    ]
    same(checked.select("item_id", "reasons"), spark.createDataFrame(expected, JUDGED))
    kept = checked.where("size(reasons) = 0").select("item_id", "timestamp").collect()
    assert {row.item_id: row.timestamp for row in kept} == {
        text: time for text, time in TIMES[unit].items() if isinstance(time, datetime)
    }


def test_oldest_and_future_are_configurable(spark: SparkSession, tmp_path: Path) -> None:
    now = int(NOW.timestamp())
    path = write(tmp_path, HEAD + "".join(f"u,{t},1,{t}\n" for t in (T - 1, T, now, now + 1)))
    rules = ValidationRules(min_timestamp=datetime(2023, 11, 14, 22, 13, 20), max_future_hours=0)
    checked = check(spark, path, rules=rules)
    expected = [
        (str(T - 1), ["bad_timestamp"]),
        (str(T), []),
        (str(now), []),
        (str(now + 1), ["future_timestamp"]),
    ]
    same(checked.select("item_id", "reasons"), spark.createDataFrame(expected, JUDGED))


SHOP = (
    "user_id,item_id,event,price,gift\n"
    "u,a,buy,10,true\nu,b,view,9.5,False\nu,c,,100,\nu,d,buy,,TRUE\nu,e,Buy,cheap,no\n"
)
FILTERS: list[tuple[list[dict[str, Any]], str]] = [
    ([{"column": "event", "op": "eq", "value": "buy"}], "ad"),
    ([{"column": "event", "op": "ne", "value": "buy"}], "be"),
    ([{"column": "event", "op": "in", "value": ["buy", "Buy"]}], "ade"),
    ([{"column": "event", "op": "not_in", "value": ["buy", "Buy"]}], "b"),
    ([{"column": "event", "op": "in", "value": []}], ""),
    ([{"column": "event", "op": "is_null"}], "c"),
    ([{"column": "event", "op": "not_null"}], "abde"),
    ([{"column": "event", "op": "lt", "value": "buz"}], "ade"),
    ([{"column": "price", "op": "eq", "value": 10.0}], "a"),
    ([{"column": "price", "op": "lt", "value": 10}], "b"),
    ([{"column": "price", "op": "le", "value": 10}], "ab"),
    ([{"column": "price", "op": "gt", "value": 10}], "c"),
    ([{"column": "price", "op": "ge", "value": 10}], "ac"),
    ([{"column": "price", "op": "in", "value": [10, 100]}], "ac"),
    ([{"column": "gift", "op": "eq", "value": True}], "ad"),
    ([{"column": "item_id", "op": "ge", "value": "c"}], "cde"),
    (
        [
            {"column": "price", "op": "ge", "value": 9},
            {"column": "price", "op": "lt", "value": 50},
            {"column": "event", "op": "eq", "value": "buy"},
        ],
        "a",
    ),
]


def test_filters_keep_the_rows_that_fulfil_all(spark: SparkSession, tmp_path: Path) -> None:
    path = write(tmp_path, SHOP)
    source = Source(path=str(path), columns={"value": None, "timestamp": None})
    everything = Ingest(filters=[one for filters, _ in FILTERS for one in filters]).filters
    parsed = open_events(spark, source, everything).frame.localCheckpoint()
    frames = []
    for at_, (filters, _) in enumerate(FILTERS):
        checked = apply_rules(parsed, Ingest(filters=filters), "string", "string", NOW)
        frames.append(checked.where("kept").select(F.lit(at_).alias("filter"), "item_id"))
    kept = frames[0]
    for frame in frames[1:]:
        kept = kept.unionByName(frame)
    expected = [(at_, item) for at_, (_, items) in enumerate(FILTERS) for item in items]
    same(kept, spark.createDataFrame(expected, "filter int, item_id string"))


def test_filters_reach_json_fields_that_are_not_mapped(spark: SparkSession, tmp_path: Path) -> None:
    lines = [{"user_id": "u", "item_id": i, "event": e} for i, e in (("a", "buy"), ("b", "view"))]
    path = write(tmp_path, "\n".join(map(json.dumps, lines)), "events.jsonl")
    source = {"format": "jsonl", "columns": {"value": None, "timestamp": None}}
    filters = [{"column": "event", "op": "eq", "value": "buy"}]
    checked = check(spark, path, source=source, filters=filters)
    assert [row.item_id for row in checked.where("kept").collect()] == ["a"]


def test_a_filter_on_a_missing_column_names_it_and_what_is_there(
    spark: SparkSession, tmp_path: Path
) -> None:
    filters = [{"column": "evnt", "op": "eq", "value": "buy"}]
    with pytest.raises(ContractError, match=r"evnt.*ingest\.filters.*'user_id', 'item_id'"):
        check(spark, write(tmp_path, PLAIN), filters=filters)


def test_the_window_includes_since_and_excludes_until(spark: SparkSession, tmp_path: Path) -> None:
    times = [T - 1, T, T + 9, T + 10]
    path = write(tmp_path, HEAD + "".join(f"u,{time - T},1,{time}\n" for time in times))
    checked = check(spark, path, since=at(T), until=at(T + 10))
    assert {row.item_id for row in checked.where("kept").collect()} == {"0", "9"}
    assert checked.where("size(reasons) > 0").collect() == []


def test_configured_times_with_a_zone_are_converted(spark: SparkSession, tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "".join(f"u,{time - T},1,{time}\n" for time in (T - 1, T)))
    checked = check(spark, path, since=datetime.fromisoformat("2023-11-15T00:13:20+02:00"))
    assert [row.item_id for row in checked.where("kept").collect()] == ["0"]


def test_a_header_without_a_column_names_it_and_what_is_there(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = write(tmp_path, "user_id,film,rating,timestamp\n1,2,3,4\n")
    message = r"no column 'item_id' \(ingest\.source\.columns\.item\).*'user_id', 'film', 'rating'"
    with pytest.raises(ContractError, match=message):
        check(spark, path)


def test_a_position_beyond_the_fields_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"no column '3' .*columns are '0', '1', '2'"):
        check(spark, write(tmp_path, "a,b,c\n"), source=POSITIONS)


@pytest.mark.parametrize("source", [{}, POSITIONS], ids=["header", "positions"])
def test_an_empty_file_is_refused(spark: SparkSession, tmp_path: Path, source: Any) -> None:
    with pytest.raises(ContractError, match="empty"):
        check(spark, write(tmp_path, ""), source=source)


def test_a_header_alone_gives_no_rows(spark: SparkSession, tmp_path: Path) -> None:
    assert check(spark, write(tmp_path, HEAD)).count() == 0


def test_files_share_one_header(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, PLAIN, "1.csv")
    write(tmp_path, HEAD + f"cy,y,1,{T}\n", "2.csv")
    checked = check(spark, tmp_path).selectExpr("user_id", FILE)
    rows = [("ann", "1"), ("böb", "1"), ("cy", "2")]
    expected = [(user, str(tmp_path / f"{name}.csv")) for user, name in rows]
    same(checked, spark.createDataFrame(expected, "user_id string, source_file string"))
    write(tmp_path, f"item_id,user_id,rating,timestamp\nx,dan,1,{T}\n", "3.csv")
    with pytest.raises(ContractError, match="need the same header"):
        check(spark, tmp_path)


def test_a_path_that_names_nothing_is_a_configuration_error(
    spark: SparkSession, tmp_path: Path
) -> None:
    for form in ("csv", "jsonl", "parquet"):
        with pytest.raises(ConfigError, match=r"ingest\.source\.path is .*does not exist"):
            check(spark, tmp_path / "nowhere", source={"format": form})
    with pytest.raises(ConfigError, match=r"ingest\.source\.path is not set"):
        open_events(spark, Source(), [])


def test_the_fingerprint_follows_the_content(spark: SparkSession, tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN)
    before = open_events(spark, Source(path=str(path)), []).fingerprint
    assert open_events(spark, Source(path=str(path)), []).fingerprint == before
    write(tmp_path, PLAIN + f"cy,y,1,{T}\n")
    assert open_events(spark, Source(path=str(path)), []).fingerprint != before
