"""Tables beside the events: every row is checked, and ids match the interactions' in any type."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.config import Blocked, ItemList, Items, Segments, Windows
from recsys_spark.errors import ContractError
from recsys_spark.io.side_tables import read_items, read_rows, read_windows
from recsys_spark.pipeline.side_tables import match
from recsys_spark.runtime.log import Log

DENY = "recommend.policy.deny"


@pytest.fixture(scope="module")
def known(spark):
    """The items of the interactions, by the type of their ids."""
    return {
        "long": spark.createDataFrame([(3,), (4,), (123,)], "id bigint"),
        "string": spark.createDataFrame([("3",), ("4",), ("123",)], "id string"),
    }


def listed(spark, path, known, **settings):
    """The ids of a deny list that are known, and what was said."""
    said = []
    log = Log([lambda event: said.append(event["msg"])])
    section = ItemList.model_validate({"path": str(path), **settings})
    rows = read_rows(spark, DENY, section, {"column": ("item_id", "id")})
    found = match(log, DENY, rows, {"item_id": known})
    return sorted(row.item_id for row in found.collect()), said


def parquet(path, values):
    pq.write_table(pa.table({"item_id": values}), path)


FORMS = {
    "text": ("csv", "item_id\n3\n4\n"),
    "whole floats": ("csv", "item_id\n3.0\n4.0\n"),
    "quoted": ("csv", '"item_id"\n"3"\n"4"\n'),
    "json": ("jsonl", '{"item_id": 3}\n{"item_id": 4.0}\n'),
    "json texts": ("jsonl", '{"item_id": "3"}\n{"item_id": "4"}\n'),
    "parquet floats": ("parquet", [3.0, 4.0]),
    "parquet": ("parquet", [3, 4]),
    "parquet texts": ("parquet", ["3", "4"]),
}


@pytest.mark.parametrize("kind", ["long", "string"])
@pytest.mark.parametrize("form", FORMS)
def test_side_tables_ids_match_in_any_type(spark, tmp_path, known, form, kind):
    name, content = FORMS[form]
    path = tmp_path / f"deny.{name}"
    parquet(path, content) if name == "parquet" else path.write_text(content)
    if form == "whole floats" and kind == "string":
        with pytest.raises(ContractError, match=r"values such as '3\.0', .* such as '123'"):
            listed(spark, path, known[kind], format=name)  # text is text: 3.0 is another name
    else:
        expected = [3, 4] if kind == "long" else ["3", "4"]
        assert listed(spark, path, known[kind], format=name)[0] == expected


REFUSED = {
    "no id matches": (b"item_id\n900\nx\n", {}, "in none of its 2 rows item_id is one of"),
    "latin-1": (b"item_id\nt\xe9\n", {}, "not UTF-8 .*Set recommend.policy.deny.encoding"),
    "more fields": (b"item_id\n3\n3,4\n", {}, r"more or fewer fields .*such as '3,4'"),
    "an open quotation": (b'item_id\n3\n"4\n', {}, "more or fewer fields"),
    "no id": (b"item_id,why\n3,x\n,y\n", {}, "1 of 2 rows have no item_id"),
    "no object": (
        b'{"item_id": 3}\n{"item_id": 4}{"item_id": 5}\n',
        {"format": "jsonl"},
        "no JSON",
    ),
    "a list": (b'{"item_id": [3]}\n', {"format": "jsonl"}, "item_id that is no id"),
    "a missing key": (b'{"item": 3}\n', {"format": "jsonl"}, "have no item_id"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_side_tables_rows_that_would_be_kept_in_part_are_refused(spark, tmp_path, known, kind):
    content, settings, text = REFUSED[kind]
    path = tmp_path / "deny.txt"
    path.write_bytes(content)
    with pytest.raises(ContractError, match=text) as caught:
        listed(spark, path, known["long"], **settings)
    assert DENY in str(caught.value)


def test_side_tables_say_how_many_rows_are_known(spark, tmp_path, known):
    path = tmp_path / "deny.csv"
    path.write_text("item_id\n3\nx\n900\n")
    found, said = listed(spark, path, known["long"])
    assert 3 in found
    assert said == [f"{DENY}: 1 of 3 rows have a known item_id"]


def test_side_tables_a_list_of_nothing_is_nothing(spark, tmp_path, known):
    path = tmp_path / "deny.csv"
    path.write_text("item_id\n")
    assert listed(spark, path, known["long"]) == ([], [])


def test_side_tables_every_column_of_a_pair_has_to_match(spark, tmp_path, known):
    path = tmp_path / "blocked.csv"
    path.write_text("user_id,item_id\n1,3\n2,4\n")
    names = {"user": ("user_id", "id"), "item": ("item_id", "id")}
    rows = read_rows(spark, "recommend.policy.blocked", Blocked(path=str(path)), names)
    users = spark.createDataFrame([("ann",)], "id string")
    with pytest.raises(ContractError, match="user_id is one of the interactions"):
        match(
            Log([]), "recommend.policy.blocked", rows, {"user_id": users, "item_id": known["long"]}
        )


def test_side_tables_positions_separators_and_folders(spark, tmp_path):
    folder = tmp_path / "country=NO"
    folder.mkdir()
    (folder / "part.csv").write_text("ann;x\nbob;y\n")
    settings = {"separator": ";", "header": False, "user": 0, "segment": 1}
    section = Segments.model_validate({"path": str(tmp_path), **settings})
    names = {"user": ("user_id", "id"), "segment": ("segment", "text")}
    rows = read_rows(spark, "recommend.segments", section, names)
    assert sorted(map(tuple, rows.collect())) == [("ann", "x"), ("bob", "y")]
    (folder / "part.csv").write_text("user_id\nann\n")
    section = Segments(path=str(tmp_path), segment="country")
    rows = read_rows(spark, "recommend.segments", section, names)
    assert [tuple(row) for row in rows.collect()] == [("ann", "NO")]


def test_side_tables_times_as_people_write_them(spark, tmp_path):
    path = tmp_path / "windows.csv"
    path.write_text("item_id,available_from,available_until\n1,2026-01-01,\n2,,1700000000\n")
    rows = read_windows(spark, "recommend.policy.available", Windows(path=str(path)))
    found = {row.item_id: (str(row.since), str(row.until)) for row in rows.collect()}
    assert found == {"1": ("2026-01-01 00:00:00", "None"), "2": ("None", "2023-11-14 22:13:20")}


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("1,2027-01-01,2026-01-01", "ends before it begins"),
        ("1,01.01.2024,", "write it as 2024-01-31"),
    ],
)
def test_side_tables_windows_that_cannot_be_are_refused(spark, tmp_path, row, text):
    path = tmp_path / "windows.csv"
    path.write_text(f"item_id,available_from,available_until\n{row}\n")
    with pytest.raises(ContractError, match=text):
        read_windows(spark, "recommend.policy.available", Windows(path=str(path)))


def titles(spark, path, **settings):
    warned = []
    items = Items.model_validate({"path": str(path), "columns": {"genres": "genres"}, **settings})
    rows = read_items(spark, items, warned.append).collect()
    return sorted((row.item_id, row.title, row.genres) for row in rows), warned


def test_side_tables_titles_in_their_encoding(spark, tmp_path):
    path = tmp_path / "items.csv"
    path.write_bytes("item_id,title,genres\n1,Amélie,a|b\n".encode("latin-1"))
    with pytest.raises(ContractError, match=r"not UTF-8.*Set items\.encoding"):
        titles(spark, path)
    assert titles(spark, path, encoding="latin-1") == ([("1", "Amélie", "a|b")], [])


def test_side_tables_names_that_cannot_be_read_are_left_out_with_a_warning(spark, tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("item_id,title,genres\n1,Heat,a\n2,Good, Bad and Ugly,b\n")
    found, (warning,) = titles(spark, path)
    assert found == [("1", "Heat", "a")]
    assert "1 of 2 rows" in warning
    assert "Good, Bad and Ugly" in warning


def test_side_tables_genres_may_be_a_list(spark, tmp_path):
    path = tmp_path / "items.parquet"
    table = {"item_id": [1.0, 2.0], "title": ["x", "y"], "genres": [["a", "b"], None]}
    pq.write_table(pa.table(table), path)
    found, _ = titles(spark, path, format="parquet")
    assert found == [("1", "x", "a|b"), ("2", "y", None)]
