"""The catalogue of what may be recommended."""

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql.types import IntegerType

from recsys_spark.wals.topn import Catalogue


def catalogue(index):
    size = len(index)
    return Catalogue(
        np.array(index, dtype=np.int64), pa.array(range(size)), IntegerType(),
        np.zeros((size, 1), dtype=np.float32), np.ones(size, dtype=bool), np.zeros(size),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("index", "ids", "expected"),
    [
        ([7, 2, 9], [9, 7, 3, 2, 10, -1], [2, 0, -1, 1, -1, -1]),
        ([4], [4, 5], [0, -1]),
        ([7, 2**40, -9], [2**40, 7, 8, -9, -1], [1, 0, -1, 2, -1]),
        ([], [4, 5], [-1, -1]),
        ([1, 2], [], []),
    ],
)
def test_items_are_found_by_their_ids(index, ids, expected):
    found = catalogue(index).positions(np.array(ids, dtype=np.int64))
    assert found.tolist() == expected
