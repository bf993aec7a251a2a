"""Which files a configured path names, on this machine."""

import os
import zipfile

import pytest

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.io.files import find_files, fingerprint

KEY = "ingest.source.path"


def no_session():
    raise AssertionError("files of this machine need no session")


def names(path):
    return [os.path.basename(file.name) for file in find_files(KEY, str(path), no_session).files]


def fill(folder, *paths, content="x\n"):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)


LITERAL = [
    "ratings[1].csv",
    "{a,b}.csv",
    "what?.csv",
    "s*.csv",
    "a:b.csv",
    "50% #1.csv",
    "b\\c.csv",
]
LITERAL += ["_ratings.csv", ".hidden.csv", "ümlaut.csv", "two words.csv"]


@pytest.mark.parametrize("name", LITERAL)
def test_files_a_path_that_exists_is_literal(tmp_path, name):
    fill(tmp_path, name, "other.csv")
    assert names(tmp_path / name) == [name]
    assert names(f"file://{tmp_path}/{name}") == [name]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.csv", ["1.csv", "2.csv", "ab.csv"]),
        ("[12].csv", ["1.csv", "2.csv"]),
        ("{1,ab}.csv", ["1.csv", "ab.csv"]),
        ("?.csv", ["1.csv", "2.csv"]),
        ("d*", ["3.csv", "4.csv"]),
    ],
)
def test_files_of_a_pattern(tmp_path, pattern, expected):
    fill(tmp_path, "1.csv", "2.csv", "ab.csv", "c.txt", "d/3.csv", "d/e/4.csv", "d/_SUCCESS")
    assert names(tmp_path / pattern) == expected


def test_files_of_folders_are_read_with_their_sub_folders(tmp_path):
    fill(tmp_path, "a.csv", "2024/b.csv", "2024/01/c.csv", "_SUCCESS", ".a.csv.crc", "_tmp/d.csv")
    fill(tmp_path, "_part=1/e.csv")
    fill(tmp_path, "empty.csv", content="")
    assert sorted(names(tmp_path)) == ["a.csv", "b.csv", "c.csv", "e.csv"]


def test_files_partitions_are_columns(tmp_path):
    fill(tmp_path, "date=2024-01-01/country=a%2Fb/x.csv")
    (file,) = find_files(KEY, str(tmp_path), no_session).files
    assert file.partitions["date"] == "2024-01-01"
    assert file.partitions["country"] == "a/b"


@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        ("nowhere.csv", ConfigError, "does not exist"),
        ("*.nothing", ConfigError, "matches no file"),
        ("C:\\data\\x.csv", ConfigError, "path of Windows"),
        ("https://example.org/x.csv", ConfigError, "download it"),
        ("hidden", ContractError, "is empty.*begin with '_'"),
        ("void", ContractError, "is empty"),
        ("zero", ContractError, "is empty"),
        ("delta", ContractError, "Delta"),
        ("delta/part=1", ContractError, "Delta"),
        ("delta/part=1/a.parquet", ContractError, "Delta"),
        ("hudi", ContractError, "Hudi"),
        ("iceberg", ContractError, "Iceberg"),
        ("book.xlsx", ContractError, "workbook"),
        ("cut.zip", ContractError, "cut off"),
        ("ml.zip/other.csv", ContractError, "no member 'other.csv'; it has ml/movies.csv"),
    ],
)
def test_files_that_cannot_be_read_are_refused_in_words(tmp_path, path, error, text):
    fill(tmp_path, "hidden/_a.csv", "hidden/.b.csv", "delta/_delta_log/0.json")
    fill(tmp_path, "delta/part=1/a.parquet", "hudi/.hoodie/x", "hudi/a.parquet")
    fill(tmp_path, "iceberg/metadata/v1.metadata.json", "iceberg/data/a.parquet")
    fill(tmp_path, "zero/a.csv", content="")
    (tmp_path / "void").mkdir()
    archive(tmp_path / "book.xlsx", "xl/workbook.xml")
    archive(tmp_path / "ml.zip", "ml/movies.csv", "ml/ratings.csv")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "ml.zip").read_bytes()[:60])
    given = path if ":" in path else str(tmp_path / path)
    with pytest.raises(error, match=text) as caught:
        find_files(KEY, given, no_session)
    assert KEY in str(caught.value)


def test_files_that_links_lead_to(tmp_path):
    fill(tmp_path, "data/a.csv", "elsewhere/b.csv")
    (tmp_path / "data/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "data")
    assert sorted(names(tmp_path / "data")) == ["a.csv", "b.csv"]
    (tmp_path / "data/lost.csv").symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(ConfigError, match=r"lost\.csv cannot be read: No such file"):
        names(tmp_path / "data")


def archive(path, *members):
    with zipfile.ZipFile(path, "w") as target:
        for member in members:
            target.writestr(member, f"{member}\n")


def test_files_members_of_an_archive(tmp_path):
    archive(tmp_path / "ml.zip", "ml/ratings.csv", "ml/movies.csv", "__MACOSX/ml/._ratings.csv")
    found = find_files(KEY, str(tmp_path / "ml.zip"), no_session).files
    assert sorted(file.member for file in found) == ["ml/movies.csv", "ml/ratings.csv"]
    for inner in ("ratings.csv", "ml/ratings.csv"):
        (file,) = find_files(KEY, str(tmp_path / "ml.zip" / inner), no_session).files
        assert file.member == "ml/ratings.csv"


def test_files_fingerprint_follows_what_is_read_and_nothing_else(tmp_path):
    fill(tmp_path, "a.csv", "sub/b.csv", "_SUCCESS")
    first = fingerprint(KEY, str(tmp_path), no_session)
    assert fingerprint(KEY, str(tmp_path), no_session) == first
    fill(tmp_path, "_SUCCESS", content="changed, and not read")
    assert fingerprint(KEY, str(tmp_path), no_session) == first
    fill(tmp_path, "sub/b.csv", content="longer than before\n")
    assert fingerprint(KEY, str(tmp_path), no_session) != first
