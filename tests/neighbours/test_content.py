"""Similar items by their terms against scikit-learn."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys_spark.errors import ContractError
from recsys_spark.neighbours import cogrouped
from recsys_spark.neighbours.content import content_matrix
from recsys_spark.neighbours.spec import ContentKnn
from tests.neighbours.samples_neighbours import assert_nearest, rows_of

DRAW = np.random.default_rng(5)
WORDS = [f"w{number}" for number in range(12)] + ["Zoë", "ünder", "science fiction"]
TERMS = [list(DRAW.choice(WORDS, DRAW.integers(0, 9))) for _ in range(20)]
TERMS[4], TERMS[7] = [], ["alone"]


@pytest.fixture(scope="module")
def texts(spark):
    rows = [(at, [str(term) for term in terms]) for at, terms in enumerate(TERMS)]
    return spark.createDataFrame([*rows, (20, None)], "item int, terms array<string>").cache()


def dense():
    tfidf = TfidfVectorizer(analyzer=lambda terms: terms).fit_transform([*TERMS, []])
    return (tfidf @ tfidf.T).toarray()


@pytest.mark.parametrize("k", [3, 10**6])
def test_weights_are_those_of_scikit_learn(texts, k):
    found = rows_of(content_matrix(texts, ContentKnn(k)))
    assert_nearest(found, dense(), k)
    assert not {4, 7, 20} & set(found)


def test_both_placements_give_the_same_bits(monkeypatch, texts):
    monkeypatch.setattr(cogrouped, "_ROWS_A_BLOCK", 6)
    fast = rows_of(content_matrix(texts, ContentKnn(4)))
    assert rows_of(content_matrix(texts.repartition(5), ContentKnn(4), budget_bytes=0)) == fast


def test_missing_terms_are_refused(texts):
    with pytest.raises(ContractError, match="texts lacks the column terms"):
        content_matrix(texts.drop("terms"), ContentKnn())
