"""Both half-steps against `implicit`'s exact CPU solver, by the two presets that describe it."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import Factors
from recsys_spark.als.trainer import solve_side
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import frame_of, normal_factors, ratings

als = pytest.importorskip("implicit.cpu.als")

USERS, ITEMS, RANK = 12, 10, 4


# implicit's confidences are whole weights. Users who mean C = 1 + alpha r give it that.
CASES = {
    "hu2008": (lambda value: 1.0 + 3.0 * value, 1.0, 3.0),
    "implicit": (lambda value: value, 3.0, 3.0),
    "implicit, below one and dislikes": (lambda value: value - 2.5, 0.5, 0.5),
}


@pytest.mark.parametrize("case", CASES)
def test_half_steps_from_its_factors_give_its_factors(spark, case):
    to_value, their_alpha, alpha = CASES[case]
    preset = case.partition(",")[0]
    user, item, value = ratings(seed=4, users=USERS, items=ITEMS - 1)
    confidence = to_value(value)
    if preset == "implicit":
        value = confidence
    with threadpool_limits(1):
        peer = als.AlternatingLeastSquares(
            factors=RANK,
            regularization=4.0,
            alpha=their_alpha,
            use_cg=False,
            iterations=1,
            num_threads=1,
        )
        start = normal_factors(5, ITEMS, RANK)  # the last item has no ratings: zero rows count too
        peer.user_factors = normal_factors(6, USERS, RANK)
        peer.item_factors = start.copy()
        peer.fit(csr_matrix((confidence, (user, item)), (USERS, ITEMS)), show_progress=False)
    frame = frame_of(spark, (user, item, value))
    spec = resolve_spec(preset, rank=RANK, alpha=alpha, regularization=4.0)
    users = solve_side(frame, "user", Factors(np.arange(ITEMS), start), spec, Plan())
    np.testing.assert_allclose(users.vectors, peer.user_factors, rtol=1e-3, atol=1e-5)
    # implicit ends with the items, so its items answer to its users and not the other way round.
    fixed = Factors(np.arange(USERS), np.asarray(peer.user_factors))
    items = solve_side(frame, "item", fixed, spec, Plan())
    np.testing.assert_allclose(items.vectors, peer.item_factors[:-1], rtol=1e-3, atol=1e-5)
    assert not np.any(peer.item_factors[-1])
