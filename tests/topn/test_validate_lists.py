"""Each fault that a written table of lists could have is named and counted."""

import math

import pytest

from recsys_spark.errors import AuditError
from recsys_spark.topn.validate_lists import audit

KIND = "user_id string, recommendations array<struct<item_id: string, score: float, rank: int>>, "
KIND += "source string"
GOOD = [("a", 0.5, 1), ("b", 0.5, 2), ("c", -1.0, 3)]


@pytest.fixture(params=["files", "rows"])
def found(spark, tmp_path, request):
    """The audit of lists, in files that tasks read, or in rows that Spark gives them."""

    def audited(*lists, names=None, sources=None, n=3):
        names = names or [f"user{at}" for at in range(len(lists))]
        sources = sources or ["model"] * len(lists)
        frame = spark.createDataFrame(list(zip(names, lists, sources, strict=True)), KIND)
        if request.param == "files":
            folder = str(tmp_path / "the lists, 100%")
            frame.write.parquet(folder)
            frame = spark.read.schema(frame.schema).parquet(folder)
        return audit(frame, "user_id", "recommendations", n, ["model"])

    return audited


def test_lists_are_counted_by_source(found):
    mixed = [("a", 0.1, 1), ("b", 9.0, 2)]
    assert found(GOOD, mixed, [], GOOD, sources=["model", "both", "popular", "model"]) == {
        "lists": 4,
        "short": 2,
        "empty": 1,
        "sources": {"both": 1, "model": 2, "popular": 1},
    }


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ([("a", 0.5, 1), ("b", 0.4, 3)], "1 are not ranked 1, 2, 3"),
        ([("a", 0.5, 2), ("b", 0.4, 1)], "1 are not ranked 1, 2, 3"),
        ([("a", 0.5, None)], "1 are not ranked 1, 2, 3"),
        ([*GOOD, ("d", -2.0, 4)], "1 have more than 3 items"),
        ([("a", 0.5, 1), ("a", 0.4, 2)], "1 have an item twice or none"),
        ([(None, 0.5, 1)], "1 have an item twice or none"),
        ([("a", math.nan, 1)], "1 have scores that are not finite"),
        ([("a", None, 1)], "1 have scores that are not finite"),
        ([("a", math.inf, 1)], "1 have scores that are not finite"),
        ([("a", 1.0, 1), ("b", -math.inf, 2)], "1 have scores that are not finite"),
        ([("a", 0.4, 1), ("b", 0.5, 2)], "1 have scores out of order"),
        ([None], "1 are not ranked 1, 2, 3; 1 have an item twice or none; 1 have .* finite"),
        ([("a", math.inf, 1), ("b", math.nan, 2)], "1 have .* finite; 1 have scores out of order"),
        ([("a", None, 1), ("b", 0.5, 2)], "1 have .* finite; 1 have scores out of order"),
        ([("a", 0.5, 1), ("b", None, 2)], "1 have scores that are not finite"),
        (None, "1 are missing"),
    ],
)
def test_a_fault_is_named(found, entries, fault):
    with pytest.raises(AuditError, match=rf"Of 2 lists that were written, {fault}\. They are not"):
        found(GOOD, entries)


def test_two_lists_of_one_user_are_a_fault(found):
    with pytest.raises(AuditError, match="1 are for a user who has another"):
        found(GOOD, [], names=["ann", "ann"])


def test_several_faults_are_named_together(found):
    with pytest.raises(AuditError, match="1 have more than 1 items; 1 have an item twice or none"):
        found([("a", 0.5, 1), ("a", 0.5, 2)], n=1)
