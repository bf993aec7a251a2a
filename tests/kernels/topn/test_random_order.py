"""Random rankings: those of their scores in a tile, and no item before others."""

import numpy as np
import pytest

from recsys_spark.kernels.metrics.full_ranking import full_ranking
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.random_order import (
    begin,
    shuffle,
    shuffled_lists,
    shuffled_ranking,
    shuffled_scores,
)
from recsys_spark.kernels.topn.tile import best_of, empty_tile, exact_tile, leave_out
from tests.kernels.ragged import ragged

DRAW = np.random.default_rng(17)
ITEMS, USERS = 53, 60


def some_items(most):
    return Ragged(
        *ragged(
            [
                DRAW.choice(ITEMS, DRAW.integers(0, most), replace=False).tolist()
                for _ in range(USERS)
            ],
            np.int32,
        )
    )


@pytest.mark.parametrize("most_seen", [1, 20, ITEMS + 1])
def test_lists_and_ranks_are_those_of_the_scores(most_seen):
    items, begun = shuffle(3, np.arange(ITEMS)), begin(3, ITEMS, np.arange(USERS))
    seen, truth = some_items(most_seen), some_items(12)
    truth.positions[::7] = -1
    values = empty_tile(USERS, ITEMS)
    values[:, :ITEMS] = shuffled_scores(items, begun)
    leave_out(values, np.ones(ITEMS, dtype=bool), seen)
    tile = exact_tile(values)
    np.testing.assert_array_equal(
        shuffled_lists(items, begun, seen, 10), best_of(tile, 10).positions
    )
    np.testing.assert_array_equal(
        shuffled_ranking(items, begun, seen, truth), full_ranking(tile, truth)
    )


def test_every_item_is_as_likely_at_every_rank():
    users = 40_000
    items, begun = shuffle(1, np.arange(ITEMS)), begin(1, ITEMS, np.arange(users))
    nothing = Ragged(np.zeros(users + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))
    listed = shuffled_lists(items, begun, nothing, ITEMS)
    for rank in (0, 5, ITEMS - 1):
        counts = np.bincount(listed[:, rank], minlength=ITEMS)
        expected = users / ITEMS
        assert ((counts - expected) ** 2 / expected).sum() < 110  # 1 in 100,000 for 52 degrees


def test_orders_are_a_function_of_seed_and_ids():
    ids = np.arange(100, 100 + ITEMS)
    one, same, other = shuffle(5, ids), shuffle(5, ids), shuffle(6, ids)
    np.testing.assert_array_equal(one.orders, same.orders)
    assert (one.orders != other.orders).any()
    users = np.arange(30)
    np.testing.assert_array_equal(begin(5, ITEMS, users)[7:9], begin(5, ITEMS, users[7:9]))
