"""Where relevant items stand in the whole catalog, from frames to metrics."""

import random

import pytest
from chispa import assert_df_equality

from recsys_spark.evaluation import measure_full_ranking
from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS
from tests.reference import lists as plain

DRAW = random.Random(5)
USERS, ITEMS = range(12), [3, 5, 8, 13, 21, 34, 55, 89]
X = {user: [float(DRAW.randint(-2, 2)) for _ in range(2)] for user in USERS if user != 7}
Y = {item: [float(DRAW.randint(-2, 2)) for _ in range(2)] for item in ITEMS}
# Another model of another rank, which knows fewer items.
MODELS = {
    "model": (X, Y),
    "other": ({user: [1.0] for user in USERS}, {item: [float(item % 4)] for item in ITEMS[2:]}),
}
SEEN = {user: DRAW.sample([*ITEMS, 1000], DRAW.randint(0, 3)) for user in USERS}
TRUTH = {user: DRAW.sample([*ITEMS, 2000], DRAW.randint(1, 3)) for user in USERS}


def frames(spark, partitions=2):
    truth = [(f"u{user}", user, item) for user, items in TRUTH.items() for item in items]
    seen = [(user, item) for user, items in SEEN.items() for item in items]
    tables = [
        spark.createDataFrame(truth, "user_id string, user int, item int"),
        spark.createDataFrame(seen, "user int, item int"),
    ]
    scores = {
        name: tuple(
            spark.createDataFrame(list(side.items()), "id int, factors array<float>")
            for side in sides
        )
        for name, sides in MODELS.items()
    }
    return *(table.repartition(partitions) for table in tables), scores


@pytest.mark.parametrize("model", MODELS)
def test_every_user_follows_the_definitions(spark, model):
    measured = measure_full_ranking(*frames(spark)).where(f"model = '{model}'").collect()
    rows, (own, items) = {row["user_id"]: row for row in measured}, MODELS[model]
    assert set(rows) == {f"u{user}" for user in USERS}
    for user in USERS:
        x = own.get(user, [0.0, 0.0])
        scores = {item: sum(a * b for a, b in zip(x, y, strict=True)) for item, y in items.items()}
        expected = plain.rank_metrics(scores, SEEN[user], TRUTH[user])
        row = rows[f"u{user}"]
        assert {name: row[name] for name in RANK_METRICS} == pytest.approx(expected, abs=1e-12)
        assert (row["k"], row["segment"]) == (None, "all")


def test_partitions_do_not_change_a_bit(spark):
    one, other = (
        measure_full_ranking(*frames(spark, parts)).sort("model", "user_id") for parts in (1, 5)
    )
    assert_df_equality(one, other)
