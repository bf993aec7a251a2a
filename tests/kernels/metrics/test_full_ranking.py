"""AUC and percentile rank over all candidates, against scikit-learn and plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS, full_ranking, rank_metrics
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.tile import Tile, padded_items
from tests.kernels.ragged import ragged
from tests.reference import lists as plain

DRAW = np.random.default_rng(3)
ITEMS = 230


def measure(users, items, seen, truth, candidates=None):
    candidates = np.ones(len(items), dtype=bool) if candidates is None else candidates
    out = rank_metrics(
        np.array(users, dtype=np.float32),
        padded_items(np.array(items, dtype=np.float32)),
        candidates,
        Ragged(*ragged(seen, np.int32)),
        Ragged(*ragged(truth, np.int32)),
    )
    return [dict(zip(RANK_METRICS, user, strict=True)) for user in out.tolist()]


def test_by_hand():
    """Scores 5, 4, 3, 2, 1, 0: item 5 is left out; of the negatives 0, 2, 4 item 1 has one above,
    and of the others two; item 3 two and three."""
    found = measure([[1.0]], [[5], [4], [3], [2], [1], [0]], [[5]], [[1, 3]])[0]
    assert found["auc"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert found["percentile_rank"] == pytest.approx((1 / 4 + 3 / 4) / 2)
    assert found["partial_auc"] == 0


def test_an_item_without_a_score_or_left_out_comes_last():
    for seen, truth in (([], [-1]), ([1], [1])):
        found = measure([[1.0]], [[5], [4], [3]], [seen], [truth])[0]
        assert found == {"auc": 0.0, "partial_auc": 0.0, "percentile_rank": 1.0}


def test_without_negatives_there_is_no_value():
    found = measure([[1.0]], [[5], [4]], [[0]], [[1]])[0]
    assert np.isnan(list(found.values())).all()


def test_areas_are_those_of_scikit_learn():
    users, items = DRAW.normal(size=(40, 8)), DRAW.normal(size=(ITEMS, 8))
    truth = [DRAW.choice(ITEMS, DRAW.integers(1, 20), replace=False) for _ in users]
    seen = [np.setdiff1d(DRAW.choice(ITEMS, 30, replace=False), one) for one in truth]
    for user, found in enumerate(measure(users, items, seen, truth)):
        kept = np.setdiff1d(np.arange(ITEMS), seen[user])
        scores = (items[kept].astype(np.float32) @ users[user].astype(np.float32)).astype(float)
        label = np.isin(kept, truth[user])
        assert found["auc"] == pytest.approx(roc_auc_score(label, scores), abs=1e-9)
        least = 0.1**2 / 2  # scikit-learn's is stretched: chance becomes a half, the best stays 1
        stretched = roc_auc_score(label, scores, max_fpr=0.1)
        area = (2 * stretched - 1) * (0.1 - least) + least
        assert found["partial_auc"] == pytest.approx(area / 0.1, abs=1e-9)


SMALL = st.integers(-2, 2)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=4),
    st.lists(st.tuples(SMALL, SMALL), min_size=2, max_size=14),
    st.data(),
)
def test_all_metrics_equal_their_definitions_also_in_ties(users, items, data):
    places = st.integers(0, len(items) - 1)
    seen = [data.draw(st.lists(places, unique=True)) for _ in users]
    truth = [
        data.draw(st.lists(st.integers(-1, len(items) - 1), unique=True, min_size=1)) for _ in users
    ]
    candidates = np.array(data.draw(st.lists(st.booleans(), min_size=len(items),
                                             max_size=len(items))))  # fmt: skip
    found = measure(users, items, seen, truth, candidates)
    for user, factors in enumerate(users):
        scores = {
            at: sum(x * y for x, y in zip(factors, item, strict=True))
            for at, item in enumerate(items) if candidates[at]
        }  # fmt: skip
        expected = plain.rank_metrics(scores, seen[user], truth[user])
        expected = {n: np.nan if v is None else v for n, v in expected.items()}
        assert found[user] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_neither_other_users_nor_the_height_of_a_tile_change_a_bit(monkeypatch):
    """Near ties, where single-precision products of another shape may round another way."""
    users = DRAW.normal(size=(50, 16))
    items = np.repeat(DRAW.normal(size=(ITEMS // 2, 16)), 2, axis=0) * (1 + 1e-7)
    truth = [DRAW.choice(len(items), 5, replace=False) for _ in users]
    seen = [[] for _ in users]
    whole = measure(users, items, seen, truth)
    monkeypatch.setattr("recsys_spark.kernels.topn.tile.CELLS", 3 * len(items))
    assert measure(users, items, seen, truth) == whole
    assert measure(users[7:8], items, seen[7:8], truth[7:8]) == whole[7:8]


@pytest.mark.parametrize("share", [0.0, 1e-7, 1e-3, 0.3])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 3e20])
@pytest.mark.parametrize("kind", ["spread", "levels", "equal", "far", "shifted"])
def test_ranks_are_exact_for_any_scale_of_scores_and_slack(kind, scale, share):
    """Rows of several chunks; approximate values anywhere within the slack of the exact ones."""
    exact = {
        "spread": DRAW.normal(size=(6, 700)),
        "levels": DRAW.integers(-3, 3, (6, 700)),
        "equal": np.ones((6, 700)),
        "far": np.where(DRAW.random((6, 700)) < 0.01, 1e4, DRAW.normal(size=(6, 700))),
        "shifted": 50 + 1e-4 * DRAW.normal(size=(6, 700)),
    }[kind]
    exact = (exact * scale).astype(np.float32)
    slack = np.full(6, float(share * scale))
    values = (exact + slack[:, None] * DRAW.uniform(-0.9, 0.9, exact.shape)).astype(np.float32)
    left_out = DRAW.random(exact.shape) < 0.1
    values = np.where(left_out, np.float32(-np.inf), values if share else exact)
    truth = [DRAW.choice(700, size, replace=False).tolist() for size in (1, 2, 5, 40, 300, 1)]
    tile = Tile(values, slack, lambda rows, positions: exact[rows, positions])
    found = full_ranking(tile, Ragged(*ragged(truth, np.int32)))
    for user, own in enumerate(truth):
        scores = dict(enumerate(exact[user].tolist()))
        expected = plain.rank_metrics(scores, np.flatnonzero(left_out[user]).tolist(), own)
        assert dict(zip(RANK_METRICS, found[user], strict=True)) == pytest.approx(
            expected, abs=1e-9
        )
