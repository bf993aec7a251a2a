"""What groups think, against the members' scores side by side."""

import numpy as np
import pytest

from recsys_spark.kernels.topn.group_scores import group_scores

DRAW = np.random.default_rng(2)
MEMBERS = DRAW.normal(size=(4, 3)).astype(np.float32)
FACTORS = DRAW.normal(size=(9, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("opinion", "joined"),
    [("average", np.mean), ("least_misery", np.min), ("most_pleasure", np.max)],
)
def test_opinions_are_joined_item_by_item(opinion, joined):
    scores = MEMBERS.astype(float) @ FACTORS.T
    found = group_scores(MEMBERS, FACTORS, opinion)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, joined(scores, axis=0), rtol=1e-5, atol=1e-6)


def test_group_scores_of_one_member_are_the_members():
    alone = [group_scores(MEMBERS[:1], FACTORS, opinion) for opinion in ("average", "least_misery")]
    assert alone[0].tolist() == alone[1].tolist() == (FACTORS @ MEMBERS[0]).tolist()
