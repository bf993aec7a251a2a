"""Models on one host without Spark: against implicit, and how rows are dealt to tasks."""

import numpy as np
import pytest
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from scipy import sparse

from recsys_spark.kernels.topn import sparse_product
from recsys_spark.neighbours.formulas import formula
from recsys_spark.neighbours.product import equal_ranges, exact_sum, fit_rows, prepare, work
from recsys_spark.neighbours.spec import ItemKnn, RP3Beta

DRAW = np.random.default_rng(31)
USERS, ITEMS = 300, 60
X = np.where(DRAW.random((USERS, ITEMS)) < 0.12, DRAW.integers(1, 6, (USERS, ITEMS)), 0)
X[:, 0] = 1


def fitted(spec, values=None):
    users, items = np.nonzero(X)
    given = X[users, items].astype(float) if spec.weights == "values" else None
    made = formula(spec)
    product = prepare(items.astype(np.int32), users.astype(np.int32), given, made)
    matrix = np.zeros((ITEMS, ITEMS))
    for some, found in fit_rows(product, made, np.arange(len(product.ids))):
        at = np.repeat(product.ids[some], np.diff(found.indptr))
        matrix[at, product.ids[found.columns]] = found.values
    return matrix


@pytest.mark.filterwarnings("ignore::implicit.utils.ParameterWarning")
@pytest.mark.parametrize("weights", ["binary", "values"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("cosine", CosineRecommender(K=ITEMS)),
        ("tfidf", TFIDFRecommender(K=ITEMS)),
        ("bm25", BM25Recommender(K=ITEMS)),
    ],
    ids=["cosine", "tfidf", "bm25"],
)
def test_similarities_are_those_of_implicit(name, theirs, weights):
    """Of all neighbours, since it counts the item itself among the K nearest."""
    values = X if weights == "values" else X > 0
    theirs.fit(sparse.csr_matrix(values.astype(float)), show_progress=False)
    expected = theirs.similarity.toarray()
    np.fill_diagonal(expected, 0.0)
    found = fitted(ItemKnn(name, neighbours=ITEMS, weights=weights))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_results_do_not_depend_on_parts(monkeypatch):
    spec = RP3Beta(weights="values", neighbours=7)
    expected = fitted(spec)
    assert (expected > 0).sum(axis=1).max() == 7
    monkeypatch.setattr(sparse_product, "_CELLS", 50)
    assert (fitted(spec) == expected).all()


@pytest.mark.parametrize("count", [1, 3, 8, 60])
def test_ranges_have_about_equal_work(count):
    users, items = np.nonzero(X)
    order = np.argsort(-X.astype(bool).sum(axis=0), kind="stable")
    made = formula(ItemKnn())
    product = prepare(np.argsort(order)[items].astype(np.int32), users, None, made)
    wanted = np.arange(ITEMS)
    done = work(product, wanted)
    there = (X > 0).astype(int)
    lengths = there.sum(axis=1) + 1
    assert np.diff(done).tolist() == (there.T @ lengths)[order].tolist()
    bounds = equal_ranges(done, count)
    assert bounds[0] == 0
    assert bounds[-1] == ITEMS
    assert len(bounds) == count + 1
    shares = np.diff(done[bounds])
    assert shares.min() >= 0
    assert shares.max() <= done[-1] / count + np.diff(done).max()
    chosen = np.array([5, 9, 41])
    assert np.diff(work(product, chosen)).tolist() == np.diff(done)[chosen].tolist()


def test_the_sum_of_all_values_is_that_of_any_order():
    values = DRAW.normal(size=1000) * 100
    assert exact_sum(values) == exact_sum(np.sort(values))
    assert exact_sum(values) == pytest.approx(values.sum(), abs=1e-3)
