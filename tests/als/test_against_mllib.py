"""Half-steps and converged predictions against `pyspark.ml.recommendation.ALS` itself."""

import numpy as np
import pytest
from pyspark.ml.recommendation import ALS

from recsys_spark import WALS
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import Factors
from recsys_spark.als.trainer import solve_side
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import factors_of, frame_of, ratings

RANK = 4
COLUMNS = {"userCol": "user", "itemCol": "item", "ratingCol": "value"}


def awkward_ratings():
    """Ratings with zeros, negative values and pairs that occur twice."""
    user, item, value = ratings(seed=1, users=14, items=10, low=-2, density=0.5)
    again = np.arange(0, len(user), 7)
    return tuple(np.concatenate([x, x[again]]) for x in (user, item, value))


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
def test_user_half_step_from_mllibs_items_gives_mllibs_users(spark, implicit, nonnegative):
    columns = awkward_ratings()
    assert (columns[2] == 0).any()
    assert (columns[2] < 0).any()
    ratings_frame = frame_of(spark, columns, id_type="int")
    als = ALS(
        rank=RANK,
        maxIter=2,
        regParam=0.2,
        implicitPrefs=implicit,
        alpha=3.0,
        nonnegative=nonnegative,
        seed=5,
        **COLUMNS,
    ).fit(ratings_frame)
    given = {"rank": RANK, "regularization": 0.2, "nonnegative": nonnegative}
    spec = (
        resolve_spec("mllib", alpha=3.0, **given) if implicit else resolve_spec("explicit", **given)
    )
    # MLlib solves items first, so its users answer to its final items.
    solved = solve_side(ratings_frame, "user", Factors(*factors_of(als.itemFactors)), spec, Plan(3))
    ids, expected = factors_of(als.userFactors)
    np.testing.assert_array_equal(solved.ids, ids)
    np.testing.assert_allclose(solved.vectors, expected, rtol=1e-4, atol=1e-5)
    assert (np.abs(expected) > 0.01).mean() > 0.3
    assert not nonnegative or (expected == 0).any()


def test_converged_explicit_predictions_agree(spark):
    """A well regularised problem of rank 2 has one minimum, up to rotation, from any start."""
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(15, 2)) @ rng.normal(size=(2, 12))
    user, item = np.nonzero(rng.random(truth.shape) < 0.9)
    frame = frame_of(spark, (user, item, truth[user, item]), id_type="int")
    common = {"rank": 2, "maxIter": 8, "regParam": 0.2, "seed": 1, **COLUMNS}
    ours = WALS(objective="explicit", numBlocks=2, **common).fit(frame)
    theirs = ALS(numUserBlocks=2, numItemBlocks=2, **common).fit(frame)
    predictions = [
        factors_of(model.userFactors)[1] @ factors_of(model.itemFactors)[1].T
        for model in (ours, theirs)
    ]
    assert np.std(predictions[1]) > 1
    np.testing.assert_allclose(*predictions, atol=0.01)
