"""Compression of triples: content, order, and no dependence on the order of the input."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.csr import csr_from_triples

TRIPLES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([-1.0, 0.5, 1.0, 2.0]))
)


def compress(triples):
    rows, cols, values = zip(*triples, strict=True) if triples else ((), (), ())
    return csr_from_triples(
        np.array(rows, dtype=np.int64),
        np.array(cols, dtype=np.int32),
        np.array(values, dtype=np.float64),
    )


@settings(deadline=None, max_examples=50)
@given(TRIPLES)
def test_rows_hold_exactly_the_triples_in_order(triples):
    block = compress(triples)
    rows = np.repeat(block.ids, np.diff(block.indptr))
    entries = list(zip(rows.tolist(), block.cols.tolist(), block.values.tolist(), strict=True))
    assert entries == sorted(triples)
    assert block.ids.tolist() == sorted({row for row, _, _ in triples})
    assert len(block.indptr) == len(block.ids) + 1


@settings(deadline=None, max_examples=50)
@given(TRIPLES.flatmap(lambda triples: st.tuples(st.just(triples), st.permutations(triples))))
def test_equal_triples_in_another_order_give_the_same_block(pair):
    one, other = map(compress, pair)
    for name in ("ids", "indptr", "cols", "values"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_no_triples_give_no_rows():
    block = compress([])
    assert block.ids.tolist() == []
    assert block.indptr.tolist() == [0]


def test_array_types():
    block = compress([(2, 1, 0.5), (2**40, 0, 1.0)])
    kinds = [block.ids.dtype, block.indptr.dtype, block.cols.dtype, block.values.dtype]
    assert kinds == [np.int64, np.int64, np.int32, np.float64]
    assert block.ids.tolist() == [2, 2**40]
