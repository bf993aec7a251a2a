"""Similar items, against all cosines."""

import numpy as np
import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.topn.business_rules import without
from recsys_spark.topn.recommend import read_catalog
from recsys_spark.topn.similar import similar

DRAW = np.random.default_rng(4)
FACTORS = DRAW.normal(size=(30, 5)).astype(np.float32)
FACTORS[7] = 0.0  # is like nothing
FACTORS[8] = 2 * FACTORS[9]  # has the direction of another
NAMES = [f"i{at:02}" for at in DRAW.permutation(30)]
COLD = 29  # in the history, without factors


@pytest.fixture(scope="module")
def shop(spark):
    """Item factors, dictionary and catalog."""
    ids = spark.createDataFrame(list(zip(NAMES, range(30), strict=True)), "id string, index int")
    history = spark.createDataFrame([(0, at) for at in range(30)], "user int, item int")
    rows = [(at, FACTORS[at].tolist()) for at in range(30) if at != COLD]
    factors = spark.createDataFrame(rows, "id int, factors array<float>").repartition(3)
    return factors, ids, read_catalog(history, ids)


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


@pytest.mark.parametrize(("n", "tiles"), [(4, 1), (50, 1), (4, 3), (50, 2)])
def test_the_nearest_by_the_cosine(shop, n, tiles):
    factors, ids, catalog = shop
    found = lists(similar(factors, ids, catalog, n, "item_id", tiles=tiles))
    assert found == {NAMES[at]: expected(at, n) for at in range(30) if at != COLD}
    assert found[NAMES[8]][0] == (NAMES[9], pytest.approx(1.0))


def test_removed_items_are_not_listed_and_have_a_list(spark, shop):
    factors, ids, catalog = shop
    removed = without(catalog, spark.createDataFrame([(9,), (12,)], "item int"))
    found = lists(similar(factors, ids, removed, 4, "item_id"))
    assert found == {NAMES[at]: expected(at, 4, {9, 12}) for at in range(30) if at != COLD}


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_common_genres_count_as_much_as_they_are_asked_to(spark, shop, weight):
    factors, ids, catalog = shop
    sets = [set("abcdef"[: at % 4]) | {"abcdef"[at % 6]} if at % 5 else set() for at in range(30)]
    rows = [(at, [*sorted(own), *sorted(own)]) for at, own in enumerate(sets) if at != 11]
    rows += [(12345, ["of no item"])]
    genres = spark.createDataFrame(rows, "id int, genres array<string>")
    sets[11] = set()
    found = lists(similar(factors, ids, catalog, 29, "item_id", genres, weight))
    unit = FACTORS.astype(float) / np.maximum(np.linalg.norm(FACTORS, axis=1), 1e-9)[:, None]
    for at in set(range(30)) - {COLD}:
        for name, score in found[NAMES[at]]:
            other = NAMES.index(name)
            common = len(sets[at] & sets[other])
            likeness = common / np.sqrt(len(sets[at]) * len(sets[other])) if common else 0.0
            blend = (1 - weight) * (unit[at] @ unit[other]) + weight * likeness
            assert score == pytest.approx(blend, abs=1e-6), (at, other)
    assert len(found[NAMES[1]]) == 28 if weight < 1 else len(found[NAMES[1]]) > 0


def test_similar_refuses_tags_in_place_of_genres(spark, shop):
    factors, ids, catalog = shop
    tags = [(at, [f"{at}-{tag}" for tag in range(100)]) for at in range(11)]
    genres = spark.createDataFrame(tags, "id int, genres array<string>")
    with pytest.raises(ConfigError, match="genre_weight: 0"):
        similar(factors, ids, catalog, 3, "item_id", genres, 0.5)
