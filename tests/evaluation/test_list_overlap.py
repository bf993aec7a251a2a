"""How similar two models' lists are."""

import random

import numpy as np
import pyarrow as pa
import pytest

from recsys_spark.evaluation import measure_agreement
from recsys_spark.evaluation.list_overlap import agreement_of
from recsys_spark.evaluation.model_lists import Ranking
from recsys_spark.topn.blocks import factor_column
from recsys_spark.topn.scorers import FactorScorer
from tests.reference import lists as plain

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


def dense_list(vector, factors, seen, n):
    """The first n unseen items, by a loop over scores."""
    if vector is None:
        return []
    scores = [sum(a * b for a, b in zip(vector, row, strict=True)) for row in factors]
    return sorted(set(range(len(factors))) - set(seen), key=lambda at: (-scores[at], at))[:n]


@pytest.mark.parametrize("users", [0, 1, 20])
def test_lists_of_two_models_follow_the_definitions(users):
    n, items = 4, 9
    factors = {
        name: [[float(DRAW.randint(-3, 3)) for _ in range(rank)] for _ in range(users + items)]
        for name, rank in (("one", 2), ("other", 3))
    }
    without = {"one": {1, 2}, "other": {2, 3}}  # users without factors: one has none at all
    own = {
        name: [None if at in without[name] else rows[at] for at in range(users)]
        for name, rows in factors.items()
    }
    seen = [DRAW.sample(range(items), DRAW.randint(0, items)) for _ in range(users)]
    index, scored = np.arange(items), np.ones(items, dtype=bool)
    scorers = {
        name: FactorScorer(name, np.array(rows[users:], dtype=np.float32), scored)
        for name, rows in factors.items()
    }
    columns = {"seen": pa.array(seen, pa.list_(pa.int64()))}
    for name, rows in own.items():
        columns[factor_column(name)] = pa.array(rows, pa.list_(pa.float32()))
    found = agreement_of(pa.table(columns), Ranking(index, scorers, n))
    expected = []
    for at in range(users):
        lists = [dense_list(own[m][at], factors[m][users:], seen[at], n) for m in factors]
        if any(lists):
            expected.append(plain.agreement(*lists, n))  # type: ignore[call-arg]
    assert found.pop("compared_users") == len(expected)
    names = expected[0] if expected else ()
    means = {name: sum(row[name] for row in expected) / len(expected) for name in names}
    assert found == pytest.approx(means, abs=1e-8)
