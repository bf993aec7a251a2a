"""Planted factors come back: unseen cells are predicted to about the noise."""

import numpy as np

from recsys_spark import WALS
from tests.als.samples import factors_of, frame_of

NOISE = 0.1


def test_missing_entries_of_a_planted_matrix_are_recovered(spark):
    rng = np.random.default_rng(12)
    truth = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 60))
    noisy = truth + NOISE * rng.normal(size=truth.shape)
    observed = rng.random(truth.shape) < 0.4
    user, item = np.nonzero(observed)
    frame = frame_of(spark, (user, item, noisy[observed]), names=("user", "item", "rating"))
    # A prior of variance 1 on the factors would be regParam = NOISE^2 / (about 28 ratings a row).
    model = WALS(objective="explicit", rank=3, maxIter=10, regParam=4e-4, numBlocks=2).fit(frame)
    predicted = factors_of(model.userFactors)[1] @ factors_of(model.itemFactors)[1].T
    missing = ~observed
    assert np.sqrt(np.mean((predicted - noisy)[missing] ** 2)) < 1.2 * NOISE
    assert np.sqrt(np.mean((predicted - truth)[missing] ** 2)) < 0.6 * NOISE
    assert np.std(noisy[missing]) > 10 * NOISE
