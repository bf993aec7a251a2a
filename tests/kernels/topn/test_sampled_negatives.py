"""Items drawn among those that a user has nothing to do with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.topn.sampled_negatives import draw_positions
from tests.kernels.ragged import ragged


def drawn(users, left_out, size, n, seed=1):
    found = draw_positions(  # type: ignore[call-arg]
        np.array(users, dtype=np.int64), *ragged(left_out, np.int32), size, n, seed
    )
    return [[at for at in row if at >= 0] for row in found.tolist()]


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 12).flatmap(
        lambda size: st.tuples(
            st.just(size), st.lists(st.lists(st.integers(0, size - 1)), min_size=1, max_size=5)
        )
    ),
    st.integers(1, 15),
)
def test_they_are_allowed_different_and_as_many_as_there_are(case, n):
    size, left_out = case
    for row, out in zip(drawn(range(len(left_out)), left_out, size, n), left_out, strict=True):
        allowed = set(range(size)) - set(out)
        assert set(row) <= allowed
        assert len(row) == len(set(row)) == min(n, len(allowed))


def test_they_are_a_function_of_seed_and_user():
    left_out = [[0], [1, 2], []]
    one, two, three = drawn([7, 8, 9], left_out, 1000, 5)
    assert drawn([9, 8], [left_out[2], left_out[1]], 1000, 5) == [three, two]
    assert one != three
    assert drawn([7], [left_out[0]], 1000, 5, seed=2) != [one]


@pytest.mark.parametrize("n", [1, 3])
def test_every_allowed_one_is_equally_likely(n):
    users = 6000
    rows = drawn(range(users), [[2, 5]] * users, 8, n)
    counts = np.bincount(np.concatenate(rows).astype(int), minlength=8)
    assert counts[[2, 5]].sum() == 0
    share = n * users / 6
    # Five standard deviations of a binomial count.
    assert np.abs(counts[[0, 1, 3, 4, 6, 7]] - share).max() < 5 * share**0.5


def test_sampled_negatives_of_an_empty_catalog_are_empty():
    assert drawn([1], [[]], 0, 3) == [[]]
