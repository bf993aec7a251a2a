"""Item-item and user-user models against dense loops, and one placement against the other."""

import numpy as np
import pytest

from recsys_spark.errors import ContractError
from recsys_spark.neighbours import cogrouped
from recsys_spark.neighbours.cogrouped import nearest_cogrouped
from recsys_spark.neighbours.fit import entries_of, fit_items, fit_users, multiplications
from recsys_spark.neighbours.formulas import formula
from recsys_spark.neighbours.spec import ItemKnn, RP3Beta, UserKnn
from tests.neighbours.samples_neighbours import (
    ITEMS,
    THERE,
    USERS,
    VALUES,
    assert_nearest,
    history,
    rows_of,
)
from tests.reference.neighbours import rp3beta, similarities, truncated

KNN = [
    {"similarity": "cosine"},
    {"similarity": "cosine", "shrinkage": 3.0, "weights": "values"},
    {"similarity": "cosine", "weights": "values", "centring": "item_mean"},
    {"similarity": "cosine", "weights": "values", "centring": "user_mean", "shrinkage": 1.0},
    {"similarity": "jaccard", "shrinkage": 2.0},
    {"similarity": "jaccard", "weights": "values"},
    {"similarity": "bm25"},
    {"similarity": "bm25", "weights": "values"},
    {"similarity": "tfidf", "shrinkage": 0.5},
    {"similarity": "tfidf", "weights": "values"},
]
WALKS = [
    {},
    {"alpha": 0.7, "beta": 0.2},
    {"alpha": 0.4, "user_alpha": 1.3, "beta": 0.0},
    {"weights": "values", "alpha": 1.1, "beta": 0.6},
]


def named(keys):
    return "-".join(str(value) for value in keys.values()) or "default"


@pytest.fixture(scope="module")
def pairs(spark):
    return history(spark).cache()


@pytest.mark.parametrize("keys", KNN, ids=named)
def test_item_knn_is_the_dense_one(pairs, keys):
    found = rows_of(fit_items(pairs, ItemKnn(**keys, neighbours=5)))
    centring = {"item_mean": "row", "user_mean": "middle"}.get(keys.get("centring"), "none")
    dense = similarities(VALUES.T, **{**keys, "centring": centring})
    assert_nearest(found, dense, 5)


@pytest.mark.parametrize("keys", KNN, ids=named)
def test_user_knn_of_given_users_is_the_dense_one(spark, pairs, keys):
    wanted = [0, 3, 5, 7, 20, 25, 99, 7]
    users = spark.createDataFrame([(u,) for u in wanted], "user int")
    found = rows_of(fit_users(pairs, users, UserKnn(**keys, neighbours=4)), "user")
    centring = {"user_mean": "row", "item_mean": "middle"}.get(keys.get("centring"), "none")
    dense = similarities(VALUES, **{**keys, "centring": centring})
    unwanted = [u for u in range(USERS) if u not in wanted]
    dense[unwanted] = 0.0
    assert_nearest(found, dense, 4)
    assert set(found) <= set(wanted)


@pytest.mark.parametrize("keys", WALKS, ids=named)
def test_rp3beta_is_the_dense_one(pairs, keys):
    found = rows_of(fit_items(pairs, RP3Beta(**keys, neighbours=6)))
    alpha = keys.get("alpha", 1.0)
    defaults = {"alpha": alpha, "user_alpha": alpha, "beta": 0.5}
    assert_nearest(found, rp3beta(VALUES, **{**defaults, **keys}), 6)


@pytest.mark.parametrize("similarity", ["cosine", "jaccard"])
def test_equal_similarities_go_to_smaller_ids(pairs, similarity):
    """Binary sums are exact, so ties are those of the dense matrix."""
    found = rows_of(fit_items(pairs, ItemKnn(similarity, neighbours=3)))
    assert found == {
        row: {other: np.float32(weight) for other, weight in one.items()}
        for row, one in truncated(similarities(VALUES.T, similarity), 3).items()
    }


@pytest.mark.parametrize(
    "spec",
    [*(ItemKnn(**keys, neighbours=5) for keys in KNN), *(RP3Beta(**keys) for keys in WALKS)],
    ids=lambda spec: f"{type(spec).__name__}-{spec}",
)
def test_both_placements_give_the_same_bits(spark, monkeypatch, pairs, spec):
    monkeypatch.setattr(cogrouped, "_ROWS_A_BLOCK", 7)
    fast = rows_of(fit_items(pairs, spec))
    assert len(fast) > ITEMS / 2
    assert rows_of(fit_items(pairs, spec, budget_bytes=0)) == fast


def test_both_placements_give_the_same_bits_for_given_users(spark, monkeypatch, pairs):
    monkeypatch.setattr(cogrouped, "_ROWS_A_BLOCK", 3)
    users = spark.createDataFrame([(u,) for u in (1, 2, 3, 8, 9, 24, 99)], "user int")
    spec = UserKnn("tfidf", weights="values", neighbours=6)
    fast = rows_of(fit_users(pairs, users, spec), "user")
    assert rows_of(fit_users(pairs, users, spec, budget_bytes=0), "user") == fast


@pytest.mark.parametrize(
    ("spec", "budget"),
    [
        (ItemKnn("bm25", weights="values"), 0),
        (ItemKnn("bm25", weights="values"), 10**9),
        (RP3Beta(weights="values"), 10**9),
    ],
    ids=lambda given: given if isinstance(given, int) else type(given).__name__,
)
def test_rows_do_not_depend_on_partitions_and_order(spark, pairs, spec, budget):
    expected = rows_of(fit_items(pairs, spec, budget))
    for partitions, order in [(1, 1), (5, 2)]:
        again = history(spark, partitions=partitions, order=order)
        assert rows_of(fit_items(again, spec, budget)) == expected


def only(spark, pairs):
    rows = [(user, item, 2.0) for user, item in pairs]
    return spark.createDataFrame(rows, "user int, item int, value double")


@pytest.mark.parametrize(
    "spec", [ItemKnn(neighbours=10**9), ItemKnn("bm25"), RP3Beta()], ids=["knn", "bm25", "rp3beta"]
)
@pytest.mark.parametrize(
    "there",
    [[], [(1, 5)], [(1, 5), (2, 5)], [(1, 5), (2, 7)]],
    ids=["nothing", "one pair", "one item", "without users in common"],
)
def test_items_without_neighbours_have_no_rows(spark, spec, there):
    assert rows_of(fit_items(only(spark, there), spec)) == {}


def test_items_without_neighbours_have_no_rows_in_a_distributed_product(spark):
    pairs = only(spark, [(1, 5), (2, 7), (3, 7), (3, 9)])
    assert rows_of(fit_items(pairs, ItemKnn(), 0)) == {
        7: {9: np.float32(0.5**0.5)},
        9: {7: np.float32(0.5**0.5)},
    }
    assert rows_of(nearest_cogrouped(entries_of(only(spark, []), "item", BM25), BM25), "row") == {}


BM25 = formula(ItemKnn("bm25"))


@pytest.mark.parametrize("budget", [0, 10**9])
def test_one_user_and_more_neighbours_than_items(spark, budget):
    pairs = only(spark, [(8, item) for item in (30, 10, 20)])
    found = rows_of(fit_items(pairs, ItemKnn(neighbours=10**6), budget))
    assert found == {i: {j: 1.0 for j in (10, 20, 30) if j != i} for i in (10, 20, 30)}


def test_binary_models_need_no_values(pairs):
    found = rows_of(fit_items(pairs.drop("value"), ItemKnn()))
    assert found == rows_of(fit_items(pairs, ItemKnn()))


def test_values_that_a_model_cannot_take_are_refused(spark, pairs):
    with pytest.raises(ContractError, match="lacks the column value"):
        fit_items(pairs.drop("value"), ItemKnn(weights="values"))
    refused = [
        (0.0, RP3Beta(weights="values")),
        (-1.0, ItemKnn("tfidf", weights="values")),
        (None, ItemKnn(weights="values")),
        (np.inf, ItemKnn(weights="values")),
    ]
    for value, spec in refused:
        bad = spark.createDataFrame([(1, 1, 1.0), (1, 2, value)], pairs.schema)
        with pytest.raises(ContractError, match="is not in 1 of 2 pairs"):
            fit_items(bad, spec)


def test_negative_values_are_taken_where_they_mean_something(spark):
    values = np.where(THERE, DRAWN, np.nan)
    found = rows_of(fit_items(history(spark, values), ItemKnn(weights="values", neighbours=4)))
    assert_nearest(found, similarities(values.T, "cosine", weights="values"), 4)


DRAWN = np.random.default_rng(3).normal(size=(USERS, ITEMS))


def test_multiplications_are_counted(spark, pairs):
    users = spark.createDataFrame([(u,) for u in range(10)], "user int")
    assert multiplications(pairs) == int((THERE.sum(axis=1) ** 2).sum())
    assert multiplications(pairs, "user") == int((THERE.sum(axis=0) ** 2).sum())
    assert multiplications(pairs, "user", users) == int((THERE[:10] @ THERE.sum(axis=0)).sum())
