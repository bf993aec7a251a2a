"""Spark's own ALS, to be measured beside ours."""

from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame

from recsys_spark.config import MllibAls
from recsys_spark.kernels.als.spec import WalsSpec

Scores = tuple[DataFrame, DataFrame]


def fit_mllib(history: DataFrame, config: MllibAls, spec: WalsSpec) -> Scores:
    """Factors of users and items, columns id and factors, trained by `pyspark.ml` ALS.

    history: columns user, item, value. spec: of the model beside it, whose rank, iterations and
    seed are taken, and whether ratings are predicted. The factors are what MLlib persists and never
    releases; they go when their RDDs are unpersisted.
    """
    als = ALS(
        rank=config.rank or spec.rank,
        maxIter=config.iterations or spec.iterations,
        regParam=config.regularization,
        alpha=config.alpha,
        implicitPrefs=not spec.explicit,
        seed=spec.seed,
        userCol="user",
        itemCol="item",
        ratingCol="value",
    )
    model = als.fit(history)
    users, items = (
        factors.withColumnRenamed("features", "factors")
        for factors in (model.userFactors, model.itemFactors)
    )
    return users, items
