"""The same scores for everyone: what the tiles of these scores give."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.metrics.full_ranking import full_ranking
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.static_order import static_lists, static_order, static_ranking
from recsys_spark.kernels.topn.tile import best_of, empty_tile, exact_tile, leave_out
from tests.kernels.ragged import ragged


def tile_of(scores, scored, seen):
    values = empty_tile(len(seen.indptr) - 1, len(scores))
    values[:, : len(scores)] = scores
    leave_out(values, scored, seen)
    return exact_tile(values)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 6), st.integers(1, 50))
def test_lists_and_full_ranking_are_those_of_tiles(seed, items, users, n):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, size=items).astype(np.float32)
    scored = rng.random(items) < rng.choice([0.3, 1.0])
    seen = [rng.choice(items, rng.integers(0, items + 1), replace=False) for _ in range(users)]
    seen[0] = np.repeat(seen[0], 2)  # an item may be known twice
    truth = [
        rng.choice(np.arange(-1, items), rng.integers(0, items + 2), replace=False)
        for _ in range(users)
    ]
    known, relevant = (Ragged(*ragged(rows, np.int32)) for rows in (seen, truth))
    order = static_order(scores, scored)
    found = best_of(tile_of(scores, scored, known), n).positions
    np.testing.assert_array_equal(static_lists(order, known, n), found)
    expected = full_ranking(tile_of(scores, scored, known), relevant)
    np.testing.assert_array_equal(static_ranking(order, known, relevant), expected)
