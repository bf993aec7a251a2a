"""Models as they are fitted, turned into scorers over the positions of a catalog."""

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql.types import StringType

from recsys_spark.errors import ConfigError
from recsys_spark.topn.catalog import Catalog
from recsys_spark.topn.models import (
    Basis,
    BlendModel,
    CosineModel,
    FactorModel,
    Models,
    NeighbourModel,
    PopularityModel,
    UserNeighbourModel,
    scorers,
)


@pytest.fixture(scope="module")
def basis(spark):
    """Items 7, 3 and 9, of which 3 is not scored by the weighted ALS; 5 is outside the catalog."""
    catalog = Catalog(
        np.array([7, 3, 9]), pa.array(["x", "y", "z"]), StringType(),
        np.float32([[1, 2], [0, 0], [3, 4]]), np.array([True, False, True]), np.ones(3),
    )  # fmt: skip
    pairs = [(0, 9, 2.0), (1, 5, 4.0)]
    return Basis(catalog, spark.createDataFrame(pairs, "user int, item int, value double"), 1)


@pytest.fixture(scope="module")
def models(spark):
    own = spark.createDataFrame([(9, [5.0]), (5, [6.0])], "id int, factors array<float>")
    rows = [(9, [7, 5], [0.5, 1.0])]
    near = spark.createDataFrame(rows, "item int, neighbours array<int>, weights array<float>")
    scores = [(None, 7, 3.0), ("north", 9, 4.0)]
    sold = spark.createDataFrame(scores, "segment string, item int, score float")
    fitted = {
        "deep": FactorModel(own, own),
        "near": NeighbourModel(near, positive=False, weighted=True),
        "similar": UserNeighbourModel(weighted=True),
        "sold": PopularityModel(sold.where("segment is null")),
        "local": PopularityModel(sold, in_segments=True),
    }
    angle = {"angle": CosineModel("model"), "deep_angle": CosineModel("deep")}
    mix = BlendModel({"angle": 2.0, "near": 0.5}, "rank_fusion", 30.0)
    return Models(fitted, {**angle, "mix": mix})


def test_scorers_stand_over_the_catalog(models, basis):
    found = scorers(models, ["deep", "near", "similar", "sold", "local", "model"], basis)
    assert found["deep"].factors.tolist() == [[0], [0], [5]]
    assert found["deep"].scored.tolist() == [False, False, True]
    assert found["near"].matrix.indptr.tolist() == [0, 0, 0, 1]
    assert (found["near"].positive, found["near"].weighted) == (False, True)
    assert found["similar"].matrix.weights.tolist() == [2.0]
    assert (found["similar"].items, found["similar"].model) == (3, "similar")
    assert found["sold"].scores.tolist() == [3, 0, 0]
    assert found["local"].overall.scores.tolist() == [3, 0, 0]
    assert {name: own.scores.tolist() for name, own in found["local"].own.items()} == {
        "north": [0, 0, 4]
    }
    assert found["model"].factors is basis.catalog.factors


def test_mixtures_are_made_of_the_scorers_of_others(models, basis):
    found = scorers(models, ["angle", "deep_angle", "mix"], basis)
    assert list(found) == ["angle", "deep_angle", "mix"]
    assert (found["angle"].model, found["angle"].cosine) == ("model", True)
    assert (found["deep_angle"].model, found["deep_angle"].cosine) == ("deep", True)
    (angle, two), (near, half) = found["mix"].members
    assert (two, half) == (2.0, 0.5)
    assert angle.cosine
    assert near.weighted
    assert (found["mix"].method, found["mix"].constant) == ("rank_fusion", 30.0)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("deep", "the item factors of deep, 1 MB: lower its rank"),
        ("near", r"the neighbours of near, 1 MB: lower neighbours"),
        ("similar", "the interactions for similar, 1 MB: take kind: item_knn"),
    ],
)
def test_models_too_large_for_the_workers_are_refused(spark, basis, name, cure):
    rows = spark.range(2**17 + 1)
    large = {
        "deep": FactorModel(rows, rows.selectExpr("id", "array(1f, 2f) factors")),
        "near": NeighbourModel(spark.range(1).selectExpr(f"sequence(0, {2**17}) neighbours")),
        "similar": UserNeighbourModel(),
    }
    many = Basis(basis.catalog, rows, 1)
    with pytest.raises(ConfigError, match=cure + r", or raise budget_mb"):
        large[name].scorer(name, many)
