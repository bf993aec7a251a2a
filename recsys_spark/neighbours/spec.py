"""Settings of the neighbour models; what each computes stands in `neighbours.formulas`.

A model is a matrix W: row j is an item of a user's history, column i a candidate, and the score
of i is the sum of h_j W_ji over the history. Every row keeps its K largest entries, positive ones
(of EASE: those of largest magnitude), of equal ones the smaller ids. The diagonal is left out: an
item does not recommend itself, and what a user has is commonly left out of the lists.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from recsys_spark.errors import ConfigError

Similarity = Literal["cosine", "jaccard", "bm25", "tfidf"]
Weights = Literal["binary", "values"]
Centring = Literal["none", "item_mean", "user_mean"]


@dataclass(frozen=True)
class Knn:
    """K nearest rows of a matrix of interactions x, by the similarity of two rows.

    Parameters
    ----------
    similarity
        cosine: x_j'x_i / (|x_j| |x_i| + shrinkage). jaccard: x_j'x_i / (|x_j|^2 + |x_i|^2 -
        x_j'x_i + shrinkage), Tanimoto's extension where weights are values. bm25: the product of
        rows weighed by BM25 with K1 = 1.2, B = 0.75, rows as documents. tfidf: the cosine of rows
        with entries sqrt(x) idf, idf = ln(rows) - ln(1 + pairs of the column).
    shrinkage
        Added to the denominator; without effect, and refused, with bm25.
    neighbours
        K.
    weights
        binary: every pair is 1. values: it is its value, above 0 with bm25 and tfidf.
    centring
        The mean that is subtracted from values, of a pair's item or user; of cosine alone.
    """

    similarity: Similarity = "cosine"
    shrinkage: float = 0.0
    neighbours: int = 50
    weights: Weights = "binary"
    centring: Centring = "none"

    def __post_init__(self) -> None:
        _choose("similarity", self.similarity, get_args(Similarity))
        _choose("weights", self.weights, get_args(Weights))
        _choose("centring", self.centring, get_args(Centring))
        _at_least("shrinkage", self.shrinkage, 0.0)
        _at_least("neighbours", self.neighbours, 1)
        if self.shrinkage and self.similarity == "bm25":
            raise ConfigError("shrinkage has no effect with similarity: bm25; remove it.")
        if self.centring == "none":
            return
        if self.weights == "binary":
            raise ConfigError(
                f"centring is {self.centring}, but with weights: binary every value is 1; "
                "set weights: values, or centring: none."
            )
        if self.similarity != "cosine":
            raise ConfigError(
                f"centring is {self.centring}, which needs similarity: cosine and not "
                f"{self.similarity}; set similarity: cosine, or centring: none."
            )


@dataclass(frozen=True)
class ItemKnn(Knn):
    """K nearest items of each item: rows are items, columns users (Sarwar et al. 2001)."""


@dataclass(frozen=True)
class UserKnn(Knn):
    """K nearest users of each user: rows are users, columns items."""


@dataclass(frozen=True)
class RP3Beta:
    """Random walks of three steps, damped by popularity (Paudel et al. 2017).

    W_ji = d_j^-alpha (sum over users v of r_vj r_vi d_v^-user_alpha) d_i^-beta, the K largest of a
    row after this scaling. d is a row's number of pairs and r is 1, or with weights: values the
    sum of its values and the value. beta: 0 is P3alpha (Cooper et al. 2014). A user_alpha of None
    is alpha.
    """

    alpha: float = 1.0
    user_alpha: float | None = None
    beta: float = 0.5
    neighbours: int = 300
    weights: Weights = "binary"

    def __post_init__(self) -> None:
        _choose("weights", self.weights, get_args(Weights))
        for name in ("alpha", "user_alpha", "beta"):
            value = getattr(self, name)
            if value is not None and not -inf < value < inf:
                raise ConfigError(f"{name} is {value}; it must be finite.")
        _at_least("neighbours", self.neighbours, 1)


@dataclass(frozen=True)
class Ease:
    """A linear autoencoder without a diagonal, in closed form (Steck 2019).

    W = I - P diag(1 / diag P), P = (X'X + regularization I)^-1, of binary X. neighbours: the K
    entries of largest magnitude of each row; None keeps all.
    """

    regularization: float = 200.0
    neighbours: int | None = None

    def __post_init__(self) -> None:
        _at_least("regularization", self.regularization, 0.0)
        if self.neighbours is not None:
            _at_least("neighbours", self.neighbours, 1)


@dataclass(frozen=True)
class ContentKnn:
    """K nearest items by the cosine of their terms' TF-IDF.

    An entry is the number of times that an item has a term, times
    idf = ln((1 + items) / (1 + items with the term)) + 1.
    """

    neighbours: int = 50

    def __post_init__(self) -> None:
        _at_least("neighbours", self.neighbours, 1)


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")


def _at_least(name: str, value: float, minimum: float) -> None:
    if not minimum <= value < inf:
        raise ConfigError(f"{name} is {value}; it must be {minimum} or more.")
