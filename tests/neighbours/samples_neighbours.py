"""Small histories as dense matrices and as frames, and how fitted rows are compared."""

import numpy as np
import pytest

DRAW = np.random.default_rng(23)
USERS, ITEMS = 26, 19
# Not there: user 3 and item 4. Alone: user 5 with item 6.
THERE = DRAW.random((USERS, ITEMS)) < 0.3
THERE[3], THERE[:, 4], THERE[5], THERE[:, 6] = False, False, False, False
THERE[5, 6] = True
VALUES = np.where(THERE, np.round(DRAW.random((USERS, ITEMS)) * 4 + 0.5, 3), np.nan)


def history(spark, values=VALUES, partitions=3, order=None):
    rows = [
        (int(u), int(i), float(values[u, i]))
        for u, i in zip(*np.nonzero(~np.isnan(values)), strict=True)
    ]
    if order is not None:
        rows = [rows[at] for at in np.random.default_rng(order).permutation(len(rows))]
    return spark.createDataFrame(rows, "user int, item int, value double").repartition(partitions)


def rows_of(frame, key="item"):
    """{row: {neighbour: weight}}, each checked to be in order."""
    rows = {}
    for row in frame.collect():
        assert row["neighbours"] == sorted(set(row["neighbours"]))
        assert row[key] not in rows
        rows[row[key]] = dict(zip(row["neighbours"], row["weights"], strict=True))
    return rows


def assert_nearest(found, dense, k, magnitude=False):
    """Weights are those of the dense matrix, and as large as its k largest; ties are free."""
    key = np.abs(dense) if magnitude else dense
    for row, values in enumerate(dense):
        one = found.get(row, {})
        assert row not in one
        others = np.delete(key[row], row)
        best = np.sort(others[others > 1e-9])[::-1][:k]
        assert list(one.values()) == pytest.approx([values[c] for c in one], rel=2e-6)
        assert sorted((abs(w) for w in one.values()), reverse=True) == pytest.approx(best, rel=2e-6)
