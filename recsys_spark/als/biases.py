"""Offsets of ratings that are known before the factors: a mean, and a bias of each user and item.

A rating's baseline is always mu + b_u + b_i; the factors are trained on what is left over.

means   b = (mean of the side's ratings - mu) / 2, so that mu + b_u + b_i = (mean_u + mean_i) / 2
damped  b_i = sum(r - mu) / (n_i + damping), then b_u = sum(r - mu - b_i) / (n_u + damping), as
        LensKit's BiasModel; a bias of few ratings stays close to 0
"""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.kernels.als.spec import WalsSpec, other_side


@dataclass(frozen=True)
class Biases:
    """mean: of all ratings. user, item: columns id, bias; an id without a row has bias 0."""

    mean: float
    user: DataFrame
    item: DataFrame


def learn_biases(ratings: DataFrame, spec: WalsSpec) -> Biases:
    """The biases of `means` or `damped`. ratings: columns user, item, value; not empty."""
    mean = mean_rating(ratings)
    item = side_biases(ratings, "item", mean, spec)
    user = side_biases(ratings, "user", mean, spec, item)
    return Biases(mean, user, item)


def mean_rating(ratings: DataFrame) -> float:
    """mu: the mean of column value."""
    row = ratings.agg(F.avg("value")).first()
    assert row is not None
    return float(row[0])


def side_biases(
    ratings: DataFrame, side: str, mean: float, spec: WalsSpec, other: DataFrame | None = None
) -> DataFrame:
    """Columns id, bias of a side, given the other side's, which only `damped` subtracts first.

    Also for ids that training has not seen, with the mean and the other biases of training.
    """
    rest = F.col("value") - mean
    if spec.biases == "damped" and other is not None:
        ratings = _join(ratings, other, other_side(side), "_other")
        rest = rest - F.col("_other")
    n = F.count(rest)
    bias = F.sum(rest) / (n + spec.bias_damping if spec.biases == "damped" else 2 * n)
    return ratings.groupBy(F.col(side).alias("id")).agg(bias.alias("bias"))


def with_baseline(frame: DataFrame, biases: Biases) -> DataFrame:
    """The frame, which has columns user and item, with mu + b_u + b_i as column baseline.

    Ids without a bias, on either side, count as those with bias 0.
    """
    joined = _join(_join(frame, biases.user, "user", "_user"), biases.item, "item", "_item")
    baseline = F.col("_user") + F.col("_item") + biases.mean
    return joined.select(*frame.columns, baseline.alias("baseline"))


def _join(frame: DataFrame, biases: DataFrame, side: str, name: str) -> DataFrame:
    known = biases.select(F.col("id").alias(side), F.col("bias").alias(name))
    return frame.join(known, side, "left").fillna(0.0, [name])
