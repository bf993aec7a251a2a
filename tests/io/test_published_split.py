"""Published splits: the layouts in which others keep them, as records."""

import pytest

from recsys_spark.config import Source
from recsys_spark.config.splitting import Predefined
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.io.events import together
from recsys_spark.io.published_split import open_negatives, open_predefined


@pytest.fixture
def opened(spark, tmp_path):
    """The records of both files, and the fields that are read from them."""

    def open_(layout, train, test):
        for name, text in (("train", train), ("test", test)):
            (tmp_path / name).write_text(text)
        given = Predefined(
            format=layout, train=str(tmp_path / "train"), test=str(tmp_path / "test")
        )
        parts = open_predefined(spark, given, Source(user_id_type="long"), [])
        raw = together(parts)
        records = [row["raw"] for row in raw.frame.orderBy("raw").collect()]
        columns = raw.source.columns.model_dump(exclude_none=True)
        assert raw.source.user_id_type == "long"
        return records, columns

    return open_


PAIRS = {"user": 0, "item": 1}
RATED = PAIRS | {"value": 2}
TIMED = RATED | {"timestamp": 3}


@pytest.mark.parametrize(
    ("layout", "train", "test", "records", "columns"),
    [
        ("adjacency", "0 5 6\n1 7\n", "0 8\n1\n", ["0\t5", "0\t6", "0\t8", "1\t7"], PAIRS),
        ("adjacency", "0\n1 7 \n", "1  8\n\n", ["1\t7", "1\t8"], PAIRS),
        ("adjacency", "a,x,y\n", "a,z\n", ["a\tx", "a\ty", "a\tz"], PAIRS),
        ("triples", "0\t5\t4\t978824330\n", "0\t6\t1\t978824331\n",
         ["0\t5\t4\t978824330", "0\t6\t1\t978824331"], TIMED),
        ("triples", "uid,sid\n0,5\n", "uid,sid\n0,6\n", ["0\t5", "0\t6"], PAIRS),
        ("triples", "0 5 4 9\n", "0 6 1\n", ["0\t5\t4", "0\t6\t1"], RATED),
        ("triples", "0 5 4 2001-01-01\n", "0 6 1 2001-01-01\n", ["0\t5\t4", "0\t6\t1"], RATED),
        ("movielens", "1::5::4.5::9\n", "1::6::3::8\n", ["1\t5\t4.5\t9", "1\t6\t3\t8"], TIMED),
        ("movielens", "userId,movieId,rating,timestamp\n1,5,4,9\n", "1,6,3,8\n",
         ["1\t5\t4\t9", "1\t6\t3\t8"], TIMED),
    ],
)  # fmt: skip
def test_every_layout_gives_records(opened, layout, train, test, records, columns):
    assert opened(layout, train, test) == (records, columns)


def test_a_line_that_is_too_short_stays_to_be_rejected(opened):
    records, _ = opened("triples", "0\t5\t4\n1\n", "0\t6\t1\n")
    assert "1" in records


def test_a_change_of_any_file_is_another_source(spark, tmp_path):
    prints = []
    for text in ("0 6\n", "0 6 7\n"):
        (tmp_path / "train").write_text("0 5\n")
        (tmp_path / "test").write_text(text)
        given = Predefined(
            format="adjacency", train=str(tmp_path / "train"), test=str(tmp_path / "test")
        )
        prints.append(open_predefined(spark, given, Source(), [])["train"].fingerprint)
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    "text", ["(0,25)\t7\t9\n(1,3)\t8\t9\n", "0 7 9\n1 8 9\n"], ids=["NCF", "adjacency"]
)
def test_negatives(spark, tmp_path, text):
    (tmp_path / "negatives").write_text(text)
    found = open_negatives(spark, Predefined(negatives=str(tmp_path / "negatives")))
    assert sorted(map(tuple, found.collect())) == [("0", "7"), ("0", "9"), ("1", "8"), ("1", "9")]


@pytest.mark.parametrize(
    ("train", "error", "words"),
    [
        (None, ConfigError, r"split\.predefined\.train is not set"),
        ("nowhere", ConfigError, r"split\.predefined\.train is .*nowhere, which does not exist"),
        ("", ContractError, r"\(split\.predefined\.train\) is empty"),
        ("7\n8\n", ContractError, "begin with '7', which has no second field"),
    ],
    ids=["unset", "missing", "empty", "one field"],
)
def test_published_split_refuses_unreadable_files(spark, tmp_path, train, error, words):
    (tmp_path / "test").write_text("0 6\n")
    path = None if train is None else str(tmp_path / "nowhere")
    if train not in (None, "nowhere"):
        path = str(tmp_path / "train")
        (tmp_path / "train").write_text(train)
    with pytest.raises(error, match=words):
        open_predefined(spark, Predefined(train=path, test=str(tmp_path / "test")), Source(), [])
