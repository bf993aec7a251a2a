"""Scorers against their definitions, and their lists whatever the blocks."""

import numpy as np
import pytest

from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.sparse_scores import SparseRows
from recsys_spark.kernels.topn.tile import best_of, exact_scores, leave_out
from recsys_spark.topn.blend_scorer import BlendScorer
from recsys_spark.topn.scorers import (
    Block,
    FactorScorer,
    NearestUsers,
    NeighbourScorer,
    UserNeighbourScorer,
    keep_listed,
)
from recsys_spark.topn.static_scorers import SegmentScorer, StaticScorer
from tests.kernels.ragged import ragged
from tests.reference import topn as plain

USERS, ITEMS, RANK = 40, 90, 6
DRAW = np.random.default_rng(11)
X = DRAW.normal(size=(USERS, RANK)).astype(np.float32)
Y = DRAW.normal(size=(ITEMS, RANK)).astype(np.float32)
Y[ITEMS // 2 :] = Y[: ITEMS // 2] * np.float32(1 + 2e-7)  # near ties
X[3], X[5, 2] = np.nan, np.inf  # users without factors
HISTORY = [np.sort(DRAW.choice(ITEMS, DRAW.integers(0, 12), replace=False)) for _ in range(USERS)]
VALUES = [DRAW.integers(1, 6, size=len(own)).astype(np.float32) for own in HISTORY]
W = np.where(DRAW.random((ITEMS, ITEMS)) < 0.1, DRAW.random((ITEMS, ITEMS)), 0).astype(np.float32)
R = np.zeros((USERS, ITEMS), dtype=np.float32)
for _user, _own in enumerate(HISTORY):
    R[_user, _own] = VALUES[_user]
ALIKE = (R @ R.T) / np.maximum(np.outer(*[np.linalg.norm(R, axis=1)] * 2), 1e-9)
np.fill_diagonal(ALIKE, 0)
ALIKE[np.argsort(np.argsort(-ALIKE)) >= 5] = 0  # all but the 5 nearest
ALL = np.ones(ITEMS, dtype=bool)
SCORED = DRAW.random(ITEMS) < 0.9


def sparse(matrix):
    rows, columns = np.nonzero(matrix)
    bounds = np.searchsorted(rows, np.arange(len(matrix) + 1))
    return SparseRows(bounds, columns.astype(np.int32), matrix[rows, columns])


FACTORS = FactorScorer("model", Y, SCORED)
NEAR = NeighbourScorer(sparse(W))
BY_USERS = UserNeighbourScorer(sparse(R), weighted=True, model="alike", width=ITEMS)
SOLD = StaticScorer(DRAW.integers(0, 5, size=ITEMS).astype(np.float32), ALL)
SEGMENTS = np.array(["north", "south", None, "nowhere"], dtype=object)[np.arange(USERS) % 4]
SOLD_IN = {
    name: StaticScorer(DRAW.integers(0, 9, size=ITEMS).astype(np.float32), DRAW.random(ITEMS) < 0.7)
    for name in ("north", "south", "east")
}
LOCAL = SegmentScorer("local", SOLD, SOLD_IN)


def block(users=range(USERS)):
    users = list(users)
    own = Ragged(*ragged([HISTORY[user] for user in users], np.int32))
    weights = np.concatenate([np.zeros(0, np.float32), *(VALUES[user] for user in users)])
    near = [np.flatnonzero(ALIKE[user]) for user in users]
    similarities = np.concatenate([ALIKE[user, at] for user, at in zip(users, near, strict=True)])
    nearest = {"alike": NearestUsers(Ragged(*ragged(near, np.int32)), similarities)}
    segments = {"local": SEGMENTS[users]}
    factors = {"model": X[users]}
    return Block(len(users), factors, own, weights, own, nearest=nearest, segments=segments)


def dense(scorer):
    """Scores by their definitions in double precision; -inf where there is none."""
    if isinstance(scorer, FactorScorer):
        known = np.isfinite(X).all(axis=1)
        users, items = np.where(known[:, None], X, 0).astype(float), Y.astype(float)
        if scorer.cosine:
            users, items = (
                part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-30)
                for part in (users, items)
            )
        return np.where(SCORED, users @ items.T, -np.inf)
    if isinstance(scorer, UserNeighbourScorer):
        return ALIKE.astype(float) @ R.astype(float)
    if isinstance(scorer, NeighbourScorer):
        known = np.zeros((USERS, ITEMS))
        for user, own in enumerate(HISTORY):
            known[user, own] = VALUES[user] if scorer.weighted else 1
        return known @ W.astype(float)
    if isinstance(scorer, SegmentScorer):
        return np.array([_static(SOLD_IN.get(name, SOLD)) for name in SEGMENTS])
    return np.tile(_static(scorer), (USERS, 1))


def _static(scorer):
    return np.where(scorer.scored, scorer.scores.astype(float), -np.inf)


def lists(scorer, of, n=10):
    tile = scorer.score(of)
    leave_out(tile.values, ALL, of.seen)
    keep_listed(scorer, tile.values)
    found = best_of(tile, n)
    return found.positions.tolist(), found.scores.tolist()


ALONE = [
    FACTORS,
    FactorScorer("model", Y, SCORED, cosine=True),
    NEAR,
    NeighbourScorer(sparse(W), positive=False, weighted=True),
    BY_USERS,
    SOLD,
    LOCAL,
]
BLENDS = [
    BlendScorer(((FACTORS, 1.0), (NEAR, 2.5))),
    BlendScorer(((NEAR, 1.0), (SOLD, -0.25))),
    BlendScorer(((FACTORS, 1.0), (NEAR, 0.7), (BY_USERS, 0.3), (SOLD, 0.1)), "standardised"),
    BlendScorer(((NEAR, 1.0), (LOCAL, 0.5)), "standardised"),
    BlendScorer(((FACTORS, 1.0), (NEAR, 2.0)), "rank_fusion", depth=20),
]


@pytest.mark.parametrize("scorer", ALONE, ids=lambda s: type(s).__name__)
def test_scores_are_those_of_the_definition(scorer):
    tile, expected = scorer.score(block()), dense(scorer)
    rows, positions = np.nonzero(np.isfinite(expected))
    exact = exact_scores(tile, rows, positions.astype(np.int32))
    np.testing.assert_allclose(exact, expected[rows, positions], rtol=3e-7, atol=1e-6)
    assert (tile.values[:, :ITEMS][~np.isfinite(expected)] == -np.inf).all()
    assert (
        np.abs(tile.values[rows, positions] - exact) <= tile.slack[rows] * tile.shares[positions]
    ).all()


def known(scorer):
    if isinstance(scorer, FactorScorer):
        return np.isfinite(X).all(axis=1)
    if isinstance(scorer, UserNeighbourScorer):
        return ALIKE.any(axis=1)
    if isinstance(scorer, NeighbourScorer):
        return np.array([len(own) > 0 for own in HISTORY])
    return np.ones(USERS, dtype=bool)


def spread(scorer):
    own = dense(scorer)
    return np.array([row[np.isfinite(row)].std() for row in own])


@pytest.mark.parametrize("blend", BLENDS[:4], ids=lambda b: b.method)
def test_a_blend_sums_the_scores_of_those_who_know_the_user(blend):
    expected = np.zeros((USERS, ITEMS))
    for scorer, weight in blend.members:
        own = np.where(np.isfinite(dense(scorer)), dense(scorer), 0)
        scale = np.full(USERS, weight)
        if blend.method == "standardised":
            width = spread(scorer)
            scale = np.divide(weight, width, out=np.zeros(USERS), where=width > 1e-9)
        expected += own * np.where(known(scorer), scale, 0)[:, None]
    tile = blend.score(block())
    rows, positions = np.nonzero(tile.values[:, :ITEMS] > -np.inf)
    exact = exact_scores(tile, rows, positions.astype(np.int32))
    np.testing.assert_allclose(exact, expected[rows, positions], rtol=1e-5, atol=1e-5)
    assert (
        np.abs(tile.values[rows, positions] - exact) <= tile.slack[rows] * tile.shares[positions]
    ).all()


def test_rank_fusion_adds_up_reciprocal_ranks():
    blend, expected = BLENDS[4], np.zeros((USERS, ITEMS))
    for scorer, weight in blend.members:
        own = dense(scorer)
        for user in np.flatnonzero(known(scorer)):
            candidates = np.isfinite(own[user]) & ((own[user] > 0) | (scorer is FACTORS))
            exact = own[user].astype(np.float32).tolist()
            ranked = plain.top_n(exact, candidates, set(HISTORY[user].tolist()), 20)
            for rank, (item, _) in enumerate(ranked, start=1):
                expected[user, item] += weight / (60 + rank)
    values = blend.score(block()).values[:, :ITEMS]
    np.testing.assert_allclose(np.where(np.isfinite(values), values, 0), expected, rtol=1e-6)


@pytest.mark.parametrize("scorer", [*ALONE, *BLENDS], ids=lambda s: type(s).__name__)
def test_lists_do_not_depend_on_the_block(scorer):
    whole = lists(scorer, block())
    for users in ([0, 1, 2], [7], range(20, USERS)):
        own = lists(scorer, block(users))
        assert own == tuple([part[user] for user in users] for part in whole)
    assert lists(scorer, block().where(np.arange(USERS) % 3 == 1)) == tuple(
        part[1::3] for part in whole
    )
    assert lists(scorer, block().rows(slice(5, 9))) == tuple(part[5:9] for part in whole)


def test_a_cold_item_is_scored_by_the_parts_that_have_it():
    blend = BLENDS[0]
    values = blend.score(block()).values
    cold = np.flatnonzero(~SCORED)
    reached = (dense(NEAR)[:, cold] > 0) & known(NEAR)[:, None]
    assert reached.any()
    assert np.isfinite(values[:, cold][reached]).all()


@pytest.mark.parametrize(
    "scorer",
    [
        NEAR,
        NeighbourScorer(sparse(W), weighted=True),
        BY_USERS,
        BlendScorer(((NEAR, 1.5), (NeighbourScorer(sparse(W.T)), 0.5))),
        BlendScorer(((NEAR, 1.5), (NeighbourScorer(sparse(W.T)), 0.5)), "standardised"),
    ],
    ids=["near", "weighted", "users", "sum", "standardised"],
)
def test_contributions_sum_to_the_score(scorer):
    of, listed = block(), np.array([0, 3, 41, 60, 89], dtype=np.int32)
    tile = scorer.score(of)
    for user, own in enumerate(HISTORY):
        had, added = scorer.parts(of, user, listed)
        assert set(had) == set(own)
        exact = exact_scores(tile, np.full(5, user), listed)
        np.testing.assert_allclose(added.sum(axis=0), exact, rtol=1e-5, atol=1e-6)
