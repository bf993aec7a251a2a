"""Compression of entries: content, order, no dependence on the order of the input; weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.als.csr import Csr, compress, decode_weights, encode_weights

WEIGHTS = st.sampled_from([-1.0, 0.5, 1.0, 2.0])
ENTRIES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), WEIGHTS, WEIGHTS))


def compressed(entries, count=10):
    rows, cols, a, b = zip(*entries, strict=True) if entries else ((), (), (), ())
    whole = (np.array(x, dtype=np.int32) for x in (rows, cols))
    return compress(*whole, *(np.array(x, dtype=np.float32) for x in (a, b)), count)  # type: ignore[call-arg]


@settings(deadline=None, max_examples=50)
@given(ENTRIES)
def test_rows_hold_exactly_the_entries_in_order(entries):
    block = compressed(entries)
    assert len(block.indptr) == 11
    rows = np.repeat(np.arange(10), np.diff(block.indptr))
    columns = (rows, block.cols, block.a, block.b)
    assert list(zip(*(x.tolist() for x in columns), strict=True)) == sorted(entries)


@settings(deadline=None, max_examples=50)
@given(ENTRIES.flatmap(lambda entries: st.tuples(st.just(entries), st.permutations(entries))))
def test_equal_entries_in_another_order_give_the_same_block(pair):
    one, other = map(compressed, pair)
    for name in ("indptr", "cols", "a", "b"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_array_types():
    block = compressed([(2, 1, 0.5, 1.0)])
    kinds = [getattr(block, name).dtype for name in ("indptr", "cols", "a", "b")]
    assert kinds == [np.int64, np.int32, np.float32, np.float32]


def test_row_sums_of_empty_rows_are_zero():
    ones = np.ones(3, np.float32)
    block = Csr(np.array([0, 0, 2, 2, 3]), np.zeros(3, np.int32), ones, ones)
    assert block.row_sums(np.array([1.0, 2.0, 4.0])).tolist() == [0, 3, 0, 4]


@pytest.mark.parametrize("distinct", [1, 2, 256, 257, 5000])
@pytest.mark.parametrize("entries", [1, 300, 5000])
def test_weights_survive_their_coding(distinct, entries):
    rng = np.random.default_rng(distinct)
    pairs = rng.normal(size=(distinct, 2)).astype(np.float32)
    a, b = pairs[rng.integers(0, distinct, entries)].T.copy()
    codes, table = encode_weights(a, b)
    for found, expected in zip(decode_weights(codes, table, entries), (a, b), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_few_distinct_weights_take_a_byte_an_entry_and_one_takes_none():
    a = np.tile(np.arange(10, dtype=np.float32), 100)
    codes, table = encode_weights(a, a + 1)
    assert codes.nbytes == 1000
    assert table.shape == (2, 10)
    codes, table = encode_weights(np.ones_like(a), a * 0)
    assert codes.nbytes == 0
    assert table.tolist() == [[1.0], [0.0]]
