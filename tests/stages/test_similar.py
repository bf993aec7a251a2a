"""Items that are liked alike, against all cosines."""

import numpy as np
import pytest

from recsys_spark.stages.recommend import read_catalogue
from recsys_spark.stages.similar import similar
from recsys_spark.wals.catalogue import with_factors
from recsys_spark.wals.policy import without

DRAW = np.random.default_rng(4)
FACTORS = DRAW.normal(size=(30, 5)).astype(np.float32)
FACTORS[7] = 0.0  # is like nothing
FACTORS[8] = 2 * FACTORS[9]  # has the direction of another
NAMES = [f"i{at:02}" for at in DRAW.permutation(30)]
COLD = 29  # in the history, without factors


@pytest.fixture(scope="module")
def shop(spark):
    """Item factors, dictionary and catalogue."""
    ids = spark.createDataFrame(list(zip(NAMES, range(30), strict=True)), "id string, index int")
    history = spark.createDataFrame([(0, at) for at in range(30)], "user int, item int")
    rows = [(at, FACTORS[at].tolist()) for at in range(30) if at != COLD]
    factors = spark.createDataFrame(rows, "id int, factors array<float>").repartition(3)
    return factors, ids, with_factors(read_catalogue(history, ids), factors)


def expected(at, n, removed=()):
    """Names and cosines of the nearest, ties by name."""
    if at == 7:
        return []
    unit = FACTORS.astype(float)
    lengths = np.linalg.norm(unit, axis=1)
    others = [x for x in range(30) if x not in (at, 7, COLD) and x not in removed]
    cosines = {x: unit[at] @ unit[x] / lengths[at] / lengths[x] for x in others}
    best = sorted(others, key=lambda x: (-round(cosines[x], 6), NAMES[x]))[:n]
    return [(NAMES[x], pytest.approx(cosines[x], abs=1e-6)) for x in best]


def lists(frame):
    return {
        row["item_id"]: [(entry["item_id"], entry["score"]) for entry in row["similar"]]
        for row in frame.collect()
    }


@pytest.mark.parametrize("n", [4, 50])
def test_the_nearest_by_the_cosine(shop, n):
    factors, ids, catalogue = shop
    found = lists(similar(factors, ids, catalogue, n, "item_id"))
    assert found == {NAMES[at]: expected(at, n) for at in range(30) if at != COLD}
    assert found[NAMES[8]][0] == (NAMES[9], pytest.approx(1.0))


def test_removed_items_are_not_listed_and_have_a_list(spark, shop):
    factors, ids, catalogue = shop
    removed = without(catalogue, spark.createDataFrame([(9,), (12,)], "item int"))
    found = lists(similar(factors, ids, removed, 4, "item_id"))
    assert found == {NAMES[at]: expected(at, 4, {9, 12}) for at in range(30) if at != COLD}
