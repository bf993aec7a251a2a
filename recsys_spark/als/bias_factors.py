"""Biases as coordinates of the factors, so that a prediction is always one dot product.

With biases a vector has two more coordinates: (p, b_u, 1) of a user and (q, 1, b_i + mu) of an
item, mu the mean of all ratings. Biases that are learned jointly are solved for like the other
coordinates and are penalised with them: the fixed side's last two coordinates become a column of
ones and an offset of the targets.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.biases import Biases, learn_biases, mean_rating, side_biases, with_baseline
from recsys_spark.als.factors import SideFactors, with_bias
from recsys_spark.kernels.als.spec import WalsSpec

Single = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Baseline:
    """What training subtracts from the targets. fixed: biases estimated before it."""

    mean: float = 0.0
    fixed: Biases | None = None

    def join_to(self, ratings: DataFrame) -> DataFrame:
        """The ratings with what is subtracted from each as column baseline, if anything is."""
        if self.fixed is not None:
            return with_baseline(ratings, self.fixed)
        return ratings.withColumn("baseline", F.lit(self.mean)) if self.mean else ratings

    def folded(self, side: str, ratings: DataFrame, spec: WalsSpec) -> "Baseline":
        """The baseline of training with other ids on a side, whose biases follow from `ratings`."""
        if self.fixed is None:
            return self
        before = self.fixed.item if side == "user" else None  # users' biases come after items'
        own = {side: side_biases(ratings, side, self.mean, spec, before)}
        sides = {"user": self.fixed.user, "item": self.fixed.item} | own
        return replace(self, fixed=Biases(self.mean, **sides))

    def restore(self, side: str, factors: SideFactors) -> SideFactors:
        """The side's factors, with what was subtracted in their last coordinates."""
        if self.fixed is not None:
            factors = factors.with_biases(side, getattr(self.fixed, side))
        return factors.raised(self.mean) if side == "item" and self.mean else factors

    def remove(self, side: str, factors: SideFactors) -> SideFactors:
        """The inverse of `restore`."""
        if self.fixed is not None:
            return factors.without_biases()
        return factors.raised(-self.mean) if side == "item" and self.mean else factors


def learn_baseline(ratings: DataFrame, spec: WalsSpec) -> Baseline:
    """The baseline of an objective with biases, from columns user, item, value."""
    if spec.biases == "none":
        return Baseline()
    if spec.biases == "learned":
        return Baseline(mean_rating(ratings))
    biases = learn_biases(ratings, spec)
    return Baseline(biases.mean, biases)


def solved_part(side: str, vectors: Single, spec: WalsSpec) -> Single:
    """The coordinates that a half-sweep solves for: all, or the factors and the own bias."""
    if spec.biases != "learned":
        return vectors
    own = spec.rank if side == "user" else spec.rank + 1
    return np.ascontiguousarray(vectors[:, [*range(spec.rank), own]])


def from_solved(side: str, solved: Single, spec: WalsSpec) -> Single:
    """The vectors whose `solved_part` this is."""
    if spec.biases != "learned":
        return solved
    return with_bias(side, solved[:, :-1], solved[:, -1])


def fixed_part(side: str, vectors: Single, spec: WalsSpec) -> tuple[Single, Single]:
    """What the other side sees of fixed vectors: features, and offsets of targets (or none)."""
    if spec.biases != "learned":
        return vectors, np.empty(0, np.float32)
    bias, one = (spec.rank, spec.rank + 1) if side == "user" else (spec.rank + 1, spec.rank)
    features = np.ascontiguousarray(vectors[:, [*range(spec.rank), one]])
    return features, np.ascontiguousarray(vectors[:, bias])
