"""The best of tiles against sorting, in ties and in doubt, and whatever the blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.inner_product import arrange, top_n
from recsys_spark.kernels.topn.tile import (
    Tile,
    best_of,
    exact_tile,
    factor_tile,
    leave_out,
    padded_items,
    user_blocks,
)
from tests.kernels.ragged import ragged
from tests.reference import topn as plain


def padded(values):
    values = np.array(values, dtype=np.float32)
    width = -(-values.shape[1] // 16) * 16
    out = np.full((len(values), width), -np.inf, dtype=np.float32)
    out[:, : values.shape[1]] = values
    return out


def pairs(found):
    """Lists of (position, score), the -1 entries cut off."""
    both = zip(found.positions.tolist(), found.scores.tolist(), strict=True)
    return [[(p, s) for p, s in zip(*lists, strict=True) if p >= 0] for lists in both]


@st.composite
def problems(draw):
    users, items = draw(st.integers(1, 5)), draw(st.integers(1, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = rng.integers(-3, 4, size=(users, items)).astype(np.float32)
    candidates = rng.random(items) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    seen = [np.flatnonzero(rng.random(items) < share).tolist() for _ in range(users)]
    return scores, candidates, seen, draw(st.integers(1, 70))


@settings(deadline=None, max_examples=150)
@given(problems(), st.sampled_from([0.0, 0.75]))
def test_lists_are_those_of_sorting_exact_scores(problem, noise):
    """noise: how far the values of the tile are from the scores, up to the slack."""
    scores, candidates, seen, n = problem
    shift = np.random.default_rng(1).uniform(-noise, noise, scores.shape)
    values = padded(scores + shift)
    leave_out(values, candidates, Ragged(*ragged(seen, np.int32)))
    exact = exact_tile(values)
    if noise:
        exact = Tile(values, np.full(len(scores), noise), lambda rows, at: scores[rows, at])
    for user, listed in enumerate(pairs(best_of(exact, n))):
        assert listed == plain.top_n(scores[user].tolist(), candidates, set(seen[user]), n)


def test_lists_of_factors_are_those_of_the_pruned_search():
    rng = np.random.default_rng(5)
    users, items = (rng.normal(size=(size, 24)).astype(np.float32) for size in (80, 700))
    items[350:] = items[:350] * np.float32(1 + 1e-7)  # near ties
    candidates = rng.random(700) < 0.9
    seen = Ragged(*ragged([rng.choice(700, 20, replace=False) for _ in users], np.int32))
    found = best_of(masked(factor_tile(users, padded_items(items)), candidates, seen), 12)
    expected = top_n(users, arrange(items, candidates), *seen, 12)
    np.testing.assert_array_equal(found.positions, expected.positions)
    np.testing.assert_array_equal(found.scores, expected.scores)


def masked(tile, candidates, seen):
    leave_out(tile.values, candidates, seen)
    return tile


def test_values_that_are_no_numbers_are_not_listed():
    values = padded([[np.nan, 2.0, np.nan, 1.0]])
    assert pairs(best_of(exact_tile(values), 3)) == [[(1, 2.0), (3, 1.0)]]


def test_some_users_of_a_tile_keep_their_exact_scores():
    scores = np.arange(12, dtype=np.float32).reshape(3, 4)
    tile = Tile(padded(scores), np.full(3, 0.5), lambda rows, at: scores[rows, at])
    some = tile.where(np.array([False, True, True]))
    assert pairs(best_of(some, 1)) == [[(3, 7.0)], [(3, 11.0)]]


@pytest.mark.parametrize("users", [0, 1, 9])
def test_blocks_cover_all_users(users, monkeypatch):
    monkeypatch.setattr("recsys_spark.kernels.topn.tile.CELLS", 40)
    rows = [at for block in user_blocks(users, 10) for at in range(block.start, block.stop)]
    assert rows == list(range(users))
