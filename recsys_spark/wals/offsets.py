"""Biases as coordinates of the factors, so that a prediction is always one dot product.

With biases a vector has two more coordinates: (p, b_u, 1) of a user and (q, 1, b_i + mu) of an
item, mu the mean of all ratings. Biases that are learned jointly are solved for like the other
coordinates and are penalised with them: the fixed side's last two coordinates become a column of
ones and an offset of the targets.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.kernels.spec import WalsSpec
from recsys_spark.wals.biases import Biases, learn_biases, mean_rating, subtract_biases
from recsys_spark.wals.factors import SideFactors, with_bias

Single = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Baseline:
    """What is subtracted from the ratings before training. fixed: biases known beforehand."""

    mean: float = 0.0
    fixed: Biases | None = None

    def restore(self, side: str, factors: SideFactors) -> SideFactors:
        """The side's factors, with what was subtracted in their last coordinates."""
        if self.fixed is not None:
            factors = factors.with_biases(side, getattr(self.fixed, side))
        return factors.raised(self.mean) if side == "item" and self.mean else factors


def subtract_baseline(ratings: DataFrame, spec: WalsSpec) -> tuple[Baseline, DataFrame]:
    """The baseline of an objective with biases, and the ratings with what it leaves over."""
    if spec.biases == "none":
        return Baseline(), ratings
    if spec.biases == "learned":
        mean = mean_rating(ratings)
        return Baseline(mean), ratings.withColumn("value", F.col("value") - mean)
    biases = learn_biases(ratings, spec)
    return Baseline(biases.mean, biases), subtract_biases(ratings, biases)


def trained_width(spec: WalsSpec) -> int:
    """Length of the vectors that are trained; biases known beforehand are added in the end."""
    return spec.rank + 2 if spec.biases == "learned" else spec.rank


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
