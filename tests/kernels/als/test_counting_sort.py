"""Both sides' compressed rows: content and order, whatever the order of the input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.als.counting_sort import compress_both

USERS, ITEMS = 5, 7
ENTRIES = st.lists(
    st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), st.integers(0, 3))
)
KINDS = {
    "codes": lambda values: values.astype(np.uint8),
    "weights": lambda values: (values // 2 - 1j * (values % 2)).astype(np.complex64),
}


def sides(entries, kind):
    users, items, values = np.array(entries, dtype=np.int32).reshape(-1, 3).T.copy()
    counts = np.bincount(users, minlength=USERS), np.bincount(items, minlength=ITEMS)
    return compress_both(users, items, KINDS[kind](values), counts)


def listed(rows):
    at = np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr))
    return list(zip(at.tolist(), rows.cols.tolist(), rows.values.tolist(), strict=True))


def parts(entry):
    row, col, value = entry
    return row, col, value.real, value.imag


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=50)
@given(entries=ENTRIES)
def test_both_sides_hold_the_entries_in_order(entries, kind):
    values = KINDS[kind](np.array([entry[2] for entry in entries], dtype=np.int32)).tolist()
    known = [(user, item, value) for (user, item, _), value in zip(entries, values, strict=True)]
    by_user, by_item = sides(entries, kind)
    assert listed(by_user) == sorted(known, key=parts)
    assert listed(by_item) == sorted(((item, user, v) for user, item, v in known), key=parts)
    assert [len(rows.indptr) for rows in (by_user, by_item)] == [USERS + 1, ITEMS + 1]


def test_array_types():
    for rows in sides([(0, 1, 2)], "codes"):
        assert [array.dtype for array in rows] == [np.int64, np.int32, np.uint8]
