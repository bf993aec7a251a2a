"""Rows of local tables, looked up by ids that people write as text."""

from pathlib import Path

import pyarrow as pa
import pytest

from recsys_spark.storage.local import local_tables, one_of, open_version
from tests.versions import write_version

NUMBERS = list(range(100))
WORDS = [f"u{number:02}" for number in NUMBERS]


def opened(root: Path, ids: list[int] | list[str]):
    write_version(root, "user_ids", "night", pa.table({"id": ids}))
    return open_version(local_tables(str(root)), "user_ids", "night")


@pytest.mark.parametrize(
    ("ids", "asked", "found"),
    [
        (WORDS, ["u07", "u55", "u7", "", "'; --"], ["u07", "u55"]),
        (NUMBERS, ["7", "55", "-1", "5.5", "many", "", "9" * 30], [7, 55]),
        (NUMBERS, [], []),
        (["a/b", 'say "hi"', "<b>", "чай"], ["чай", "<b>", "a/b"], ["a/b", "<b>", "чай"]),
    ],
)
def test_rows_are_found_by_the_text_of_their_ids(tmp_path, ids, asked, found):
    data = opened(tmp_path, ids)
    assert data.to_table(filter=one_of(data, "id", asked))["id"].to_pylist() == found


@pytest.mark.parametrize(("ids", "asked"), [(WORDS, "u55"), (NUMBERS, "55")])
def test_parts_of_files_that_cannot_hold_the_id_are_skipped(tmp_path, ids, asked):
    data = opened(tmp_path, ids)
    (file,) = data.get_fragments()
    assert len(file.row_groups) == 10
    assert len(file.subset(one_of(data, "id", [asked])).row_groups) == 1


def test_a_local_root_may_be_an_address(tmp_path):
    opened(tmp_path, WORDS)
    assert local_tables(tmp_path.as_uri()).manifest("user_ids", "night") is not None
