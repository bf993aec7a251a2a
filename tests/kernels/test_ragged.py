"""Rows of positions."""

import numpy as np

from recsys_spark.kernels.ragged import Ragged

LISTS = Ragged(np.array([0, 2, 2, 5]), np.array([-1, 3, 0, -1, -1], dtype=np.int32))


def as_lists(found):
    return [part.tolist() for part in np.split(found.positions, found.indptr[1:-1])]


def test_lists_lose_a_position():
    assert as_lists(LISTS.without(-1)) == [[3], [], [0]]


def test_ragged_rows_keep_their_lists():
    assert as_lists(LISTS.where(np.array([True, False, True]))) == [[-1, 3], [0, -1, -1]]
    assert as_lists(LISTS.where(np.array([False, True, False]))) == [[]]
