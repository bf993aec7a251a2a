"""Tables of fitted models, and interactions, as sparse rows over the positions of a catalog."""

import numpy as np
import pytest

from recsys_spark.lookup import Lookup
from recsys_spark.topn.matrices import interaction_rows, sparse_rows

LOOKUP = Lookup(np.array([7, 3, 9]))  # item 5 is outside the catalog
PAIRS = [(4, 9, 2.0), (0, 3, 0.5), (4, 7, 3.0), (4, 5, 8.0), (1, 5, 1.0)]


def dense(matrix, columns):
    found = np.zeros((len(matrix.indptr) - 1, columns))
    for row in range(len(found)):
        entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
        assert (np.diff(matrix.columns[entries]) > 0).all(), "in order, none twice"
        found[row, matrix.columns[entries]] = matrix.weights[entries]
    return found.tolist()


@pytest.mark.parametrize("valued", [False, True])
def test_a_user_s_row_is_that_of_the_index(spark, valued):
    history = spark.createDataFrame(PAIRS, "user int, item int, value double").repartition(3)
    zero, few = [0, 0, 0], [0, 0.5 if valued else 1, 0]
    many = [3, 0, 2] if valued else [1, 0, 1]
    rows = interaction_rows(history, LOOKUP, valued)
    assert dense(rows, 3) == [few, zero, zero, zero, many]


def test_neighbours_outside_the_catalog_are_left_out(spark):
    rows = [(3, [5, 7, 9], [1.0, 2.0, 3.0]), (5, [3], [4.0]), (9, [3], [5.0])]
    schema = "item int, neighbours array<int>, weights array<float>"
    found = sparse_rows(spark.createDataFrame(rows, schema), LOOKUP)
    assert dense(found, 3) == [[0, 0, 0], [2, 0, 3], [0, 5, 0]]
