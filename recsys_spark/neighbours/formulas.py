"""What becomes of values and degrees in each model: the arithmetic of both placements.

A model's entry is scale(sum over middles u of m_u x_ju x_iu) with x from `entries` and m from
`middles`. The scale is a cosine or Jaccard's of the rows' lengths, sum of m_u x_ju^2, or a product
with the rows' `factors`. Rows are what is compared, middles what they share.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.topn.sparse_product import Double, Kind, Whole
from recsys_spark.neighbours.spec import ContentKnn, ItemKnn, Knn, RP3Beta, UserKnn

_K1, _B = 1.2, 0.75  # as in BM25Recommender of implicit


class Degrees(NamedTuple):
    """Of rows or middles, or of the row or middle of each entry.

    pairs: how many entries each has. total: the sum of their values.
    """

    pairs: Whole
    total: Double

    def of(self, positions: npt.NDArray[np.integer[Any]]) -> "Degrees":
        """Those at some positions."""
        return Degrees(self.pairs[positions], self.total[positions])

    def means(self) -> Double:
        """The mean value of each."""
        means: Double = self.total / self.pairs
        return means


class Sizes(NamedTuple):
    """rows: how many have entries, at least 1. total: the sum of all values."""

    rows: int
    total: float

    def mean(self) -> float:
        """The mean total of a row."""
        return self.total / self.rows


class Formula(Protocol):
    """One model's arithmetic, elementwise; it is pickled for the tasks.

    kind, shrinkage: see `kernels.topn.sparse_product.Scale`. neighbours: K. values: whether the
    pairs' values are read. plain: whether every entry is 1. positive: whether values are above 0.
    """

    @property
    def kind(self) -> Kind: ...
    @property
    def shrinkage(self) -> float: ...
    @property
    def neighbours(self) -> int: ...
    @property
    def values(self) -> bool: ...
    @property
    def plain(self) -> bool: ...
    @property
    def positive(self) -> bool: ...

    def entries(self, values: Double, rows: Degrees, middles: Degrees, sizes: Sizes) -> Double:
        """x of each entry, given the degrees of its row and its middle."""

    def middles(self, middles: Degrees, sizes: Sizes) -> Double:
        """m of each middle."""

    def factors(self, rows: Degrees) -> tuple[Double, Double]:
        """What multiplies each as a row and as a column, where the kind is product."""


@dataclass(frozen=True)
class Compared:
    """The similarities of ItemKnn and UserKnn."""

    spec: Knn

    @property
    def kind(self) -> Kind:
        return {"bm25": "product", "jaccard": "jaccard"}.get(self.spec.similarity, "cosine")  # type: ignore[return-value]

    @property
    def shrinkage(self) -> float:
        return self.spec.shrinkage

    @property
    def neighbours(self) -> int:
        return self.spec.neighbours

    @property
    def values(self) -> bool:
        return self.spec.weights == "values"

    @property
    def plain(self) -> bool:
        return not self.values and self.spec.similarity != "bm25"

    @property
    def positive(self) -> bool:
        return self.spec.similarity in ("bm25", "tfidf")

    def entries(self, values: Double, rows: Degrees, middles: Degrees, sizes: Sizes) -> Double:
        if self.spec.similarity == "bm25":
            norm = 1 - _B + _B * rows.total / sizes.mean()
            weighed: Double = values * (_K1 + 1) / (_K1 * norm + values) * _rarity(middles, sizes)
            return weighed
        if self.spec.similarity == "tfidf":
            return np.sqrt(values)
        return self._centred(values, rows, middles)

    def _centred(self, values: Double, rows: Degrees, middles: Degrees) -> Double:
        if self.spec.centring == "none":
            return values
        of_rows = (self.spec.centring == "user_mean") == isinstance(self.spec, UserKnn)
        centred: Double = values - (rows if of_rows else middles).means()
        return centred

    def middles(self, middles: Degrees, sizes: Sizes) -> Double:
        if self.spec.similarity != "tfidf":
            return np.ones(len(middles.pairs))
        squared: Double = _rarity(middles, sizes) ** 2
        return squared

    def factors(self, rows: Degrees) -> tuple[Double, Double]:
        return np.ones(len(rows.pairs)), np.ones(len(rows.pairs))


@dataclass(frozen=True)
class Walked:
    """RP3beta."""

    spec: RP3Beta
    kind: Kind = "product"
    shrinkage: float = 0.0
    positive: bool = True

    @property
    def neighbours(self) -> int:
        return self.spec.neighbours

    @property
    def values(self) -> bool:
        return self.spec.weights == "values"

    @property
    def plain(self) -> bool:
        return not self.values

    def entries(self, values: Double, rows: Degrees, middles: Degrees, sizes: Sizes) -> Double:
        return values

    def middles(self, middles: Degrees, sizes: Sizes) -> Double:
        alpha = self.spec.alpha if self.spec.user_alpha is None else self.spec.user_alpha
        return np.power(middles.total, -alpha)

    def factors(self, rows: Degrees) -> tuple[Double, Double]:
        return np.power(rows.total, -self.spec.alpha), np.power(rows.total, -self.spec.beta)


@dataclass(frozen=True)
class Counted:
    """How many middles two rows share: the Gram matrix of binary interactions."""

    neighbours: int
    kind: Kind = "product"
    shrinkage: float = 0.0
    values: bool = False
    plain: bool = True
    positive: bool = False

    def entries(self, values: Double, rows: Degrees, middles: Degrees, sizes: Sizes) -> Double:
        return values

    def middles(self, middles: Degrees, sizes: Sizes) -> Double:
        return np.ones(len(middles.pairs))

    def factors(self, rows: Degrees) -> tuple[Double, Double]:
        return np.ones(len(rows.pairs)), np.ones(len(rows.pairs))


@dataclass(frozen=True)
class Worded:
    """The cosine of TF-IDF; values are counts of terms. documents: all items, with terms or not."""

    spec: ContentKnn
    documents: int
    kind: Kind = "cosine"
    shrinkage: float = 0.0
    values: bool = True
    plain: bool = False
    positive: bool = True

    @property
    def neighbours(self) -> int:
        return self.spec.neighbours

    def entries(self, values: Double, rows: Degrees, middles: Degrees, sizes: Sizes) -> Double:
        return values

    def middles(self, middles: Degrees, sizes: Sizes) -> Double:
        idf = np.log((1 + self.documents) / (1 + middles.pairs)) + 1
        squared: Double = idf**2
        return squared

    def factors(self, rows: Degrees) -> tuple[Double, Double]:
        return np.ones(len(rows.pairs)), np.ones(len(rows.pairs))


def _rarity(middles: Degrees, sizes: Sizes) -> Double:
    rarity: Double = np.log(float(sizes.rows)) - np.log1p(middles.pairs)
    return rarity


def formula(spec: ItemKnn | UserKnn | RP3Beta) -> Formula:
    """The arithmetic of these settings."""
    return Walked(spec) if isinstance(spec, RP3Beta) else Compared(spec)
