"""Ids to positions, in a table or by search."""

import numpy as np
import pytest

from recsys_spark.lookup import Lookup


@pytest.mark.parametrize(
    ("ids", "asked", "expected"),
    [
        ([7, 2, 9], [9, 7, 3, 2, 10, -1], [2, 0, -1, 1, -1, -1]),
        ([4], [4, 5], [0, -1]),
        ([7, 2**40, -9], [2**40, 7, 8, -9, -1], [1, 0, -1, 2, -1]),
        ([2**40, 5], [5, 2**40, 2**41, 0], [1, 0, -1, -1]),
        ([], [4, 5], [-1, -1]),
        ([1, 2], [], []),
    ],
)
def test_ids_are_found_where_they_stand(ids, asked, expected):
    found = Lookup(np.array(ids, dtype=np.int64)).positions(np.array(asked, dtype=np.int64))
    assert found.tolist() == expected
    assert found.dtype == np.int32
