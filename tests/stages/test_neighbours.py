"""Neighbourhood lists against dense arithmetic, and against implicit's own models."""

import numpy as np
import pytest
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
from scipy import sparse

from recsys_spark.config import Neighbours
from recsys_spark.stages import neighbours
from recsys_spark.stages.neighbours import multiplications, recommend_by_neighbours

DRAW = np.random.default_rng(17)
USERS, ITEMS, N = 25, 18, 6
X = (DRAW.random((USERS, ITEMS)) < 0.3).astype(float)
X[3], X[:, 4] = 0.0, 0.0
SEEN = (X + (DRAW.random((USERS, ITEMS)) < 0.1)).astype(bool)


def pairs(spark, matrix):
    rows = [(int(u), int(i)) for u, i in zip(*np.nonzero(matrix), strict=True)]
    return spark.createDataFrame(rows, "user int, item int").repartition(3)


def lists(spark, side, users=range(USERS), n=N, **keys):
    named = spark.createDataFrame([(f"u{u}", u) for u in users], "user_id string, user int")
    frame = recommend_by_neighbours(
        named, pairs(spark, X), pairs(spark, SEEN), side, Neighbours(**keys), n
    )
    rows = {row["user_id"]: row["recommendations"] for row in frame.collect()}
    for entries in rows.values():
        assert [entry["rank"] for entry in entries] == list(range(1, len(entries) + 1))
    return {
        user: {entry["item_id"]: entry["score"] for entry in entries}
        for user, entries in rows.items()
    }


def dense(side, similarity, neighbours, shrinkage):
    """Scores of all users and items."""
    rows = X.T if side == "item" else X
    products, sizes = rows @ rows.T, rows.sum(axis=1)
    if similarity == "cosine":
        whole = np.sqrt(np.outer(sizes, sizes))
    else:
        whole = sizes[:, None] + sizes[None, :] - products
    near = np.divide(products, whole + shrinkage, out=np.zeros_like(products), where=whole > 0)
    np.fill_diagonal(near, 0.0)
    for at, row in enumerate(near):
        order = sorted(range(len(row)), key=lambda other, row=row: (-row[other], other))
        near[at, order[neighbours:]] = 0.0
    return X @ near if side == "item" else near @ X


@pytest.mark.parametrize("side", ["item", "user"])
@pytest.mark.parametrize(
    "keys",
    [
        {"similarity": "cosine", "neighbours": 5, "shrinkage": 0.0},
        {"similarity": "jaccard", "neighbours": 4, "shrinkage": 3.0},
    ],
    ids=lambda keys: keys["similarity"],
)
def test_scores_are_those_of_dense_matrices(spark, monkeypatch, side, keys):
    monkeypatch.setattr(neighbours, "_ROWS_A_BLOCK", 7)
    wanted = [0, 1, 2, 3, 8, 24]
    found = lists(spark, side, wanted, **keys)
    scores = np.where(SEEN, 0.0, dense(side, **keys))
    for user in wanted:
        order = sorted(range(ITEMS), key=lambda item, u=user: (-scores[u, item], item))
        best = [item for item in order[:N] if scores[user, item] > 0]
        entries = found.get(f"u{user}", {})
        assert sorted(entries.values(), reverse=True) == pytest.approx(
            [scores[user, item] for item in best], abs=1e-6
        )
        for item, score in entries.items():
            assert score == pytest.approx(scores[user, item], abs=1e-6)


@pytest.mark.filterwarnings("ignore::implicit.utils.ParameterWarning")
@pytest.mark.parametrize(
    ("similarity", "theirs"),
    [("cosine", CosineRecommender(K=ITEMS)), ("bm25", BM25Recommender(K=ITEMS))],
    ids=["cosine", "bm25"],
)
def test_item_scores_are_those_of_implicit(spark, similarity, theirs):
    """Of all neighbours: which of equally near ones count is chance there."""
    kept = np.flatnonzero(X.any(axis=0))  # an item without users is unknown to us
    theirs.fit(sparse.csr_matrix(X[:, kept]), show_progress=False)
    found = lists(spark, "item", similarity=similarity, neighbours=ITEMS)
    matrix = np.zeros((ITEMS, ITEMS))
    matrix[np.ix_(kept, kept)] = theirs.similarity.toarray()
    np.fill_diagonal(matrix, 0.0)
    scores = np.where(SEEN, 0.0, X @ matrix)
    for user in range(USERS):
        best = np.sort(scores[user])[::-1][:N]
        entries = found.get(f"u{user}", {})
        assert sorted(entries.values(), reverse=True) == pytest.approx(best[best > 1e-9], rel=1e-5)


def test_multiplications_are_counted(spark):
    users = spark.createDataFrame([(u,) for u in range(10)], "user int")
    assert multiplications(users, pairs(spark, X), "item") == int((X.sum(axis=1) ** 2).sum())
    assert multiplications(users, pairs(spark, X), "user") == int((X[:10] @ X.sum(axis=0)).sum())
