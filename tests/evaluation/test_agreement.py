"""How alike two models' lists are."""

import random

import pytest
from reference import lists as plain

from recsys_spark.evaluation import measure_agreement

DRAW = random.Random(2)
ONE = {f"u{at}": DRAW.sample(range(12), DRAW.randint(0, 9)) for at in range(25)}
OTHER = {f"u{at}": DRAW.sample(range(12), DRAW.randint(0, 9)) for at in range(3, 30)}


def frame(spark, lists, kind):
    rows = [
        (user, [(item, rank) for rank, item in enumerate(ranked, start=1)])
        for user, ranked in lists.items()
    ]
    entries = "array<struct<item_id: int, rank: int>>"
    found = spark.createDataFrame(rows, f"user_id string, recommendations {entries}")
    return found.selectExpr(
        "user_id",
        f"transform(recommendations, e -> struct(cast(e.item_id as {kind}) item_id, e.rank rank)) "
        "recommendations",
    )


@pytest.mark.parametrize("kind", ["int", "string"])
def test_users_of_both_follow_the_definitions(spark, kind):
    found = measure_agreement(frame(spark, ONE, kind), frame(spark, OTHER, kind), [2, 6], "one")
    rows = {(row["user_id"], row["k"]): row for row in found.collect()}
    assert set(rows) == {(user, k) for user in set(ONE) & set(OTHER) for k in (2, 6)}
    for (user, k), row in rows.items():
        expected = plain.agreement(ONE[user], OTHER[user], k)
        actual = {name: row[name] for name in ("overlap", "rbo")}
        assert actual == pytest.approx(expected, abs=1e-12)
        assert (row["model"], row["segment"]) == ("one", "all")
