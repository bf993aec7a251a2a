"""Each fault that a written table of lists could have is named and counted."""

import math

import pytest
from pyspark.sql import functions as F

from recsys_spark.errors import AuditError
from recsys_spark.topn.validate_lists import audit

KIND = "user_id string, recommendations array<struct<item_id: string, score: float, rank: int>>, "
KIND += "source string"
GOOD = [("a", 0.5, 1), ("b", 0.5, 2), ("c", -1.0, 3)]


def found(spark, *lists, names=None, sources=None, n=3):
    names = names or [f"user{at}" for at in range(len(lists))]
    sources = sources or ["model"] * len(lists)
    frame = spark.createDataFrame(list(zip(names, lists, sources, strict=True)), KIND)
    return audit(frame, "user_id", "recommendations", n, F.col("source") == "model")


def test_lists_are_counted_by_source(spark):
    mixed = [("a", 0.1, 1), ("b", 9.0, 2)]
    assert found(spark, GOOD, mixed, [], GOOD, sources=["model", "both", "popular", "model"]) == {
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
        (None, "1 are missing"),
    ],
)
def test_a_fault_is_named(spark, entries, fault):
    with pytest.raises(AuditError, match=rf"Of 2 lists that were written, {fault}\. They are not"):
        found(spark, GOOD, entries)


def test_two_lists_of_one_user_are_a_fault(spark):
    with pytest.raises(AuditError, match="1 are for a user who has another"):
        found(spark, GOOD, [], names=["ann", "ann"])


def test_several_faults_are_named_together(spark):
    with pytest.raises(AuditError, match="1 have more than 1 items; 1 have an item twice or none"):
        found(spark, [("a", 0.5, 1), ("a", 0.5, 2)], n=1)
