"""Test rows that training has seen, that are older than it, or that are of others than its own."""

import pytest
from chispa import assert_df_equality

from recsys_spark.splitting.overlap import overlap

ROWS = "user int, item int, at long, part string"
TRAIN = [(1, 1, 100, "train"), (1, 2, 200, "train"), (2, 1, 300, "train")]


def found(spark, rows):
    frame = spark.createDataFrame(rows, ROWS)
    return overlap(frame.selectExpr("user", "item", "timestamp_seconds(at) as timestamp", "part"))


def test_pairs_in_both_parts_and_rows_out_of_order_are_counted(spark):
    rows = [
        *TRAIN,
        (1, 1, 250, "test"),  # in both
        (1, 3, 150, "test"), (1, 4, 200, "test"),  # one is older than the user's newest
        (2, 3, 299, "test"), (3, 1, 1, "test"),  # older; a user without training
        (2, 4, None, "test"), (1, 5, 1, "validation"),
    ]  # fmt: skip
    expected = spark.createDataFrame([(1, 2)], "in_both long, older_than_training long")
    counted = found(spark, rows).select(*expected.columns)
    assert_df_equality(counted, expected, ignore_nullable=True)


COLD = {
    "known": ([(1, 1, 9, "test"), (2, 2, 9, "test")], (0, 0, 0, 0)),
    "users": ([(3, 1, 9, "test"), (3, 2, 9, "test"), (4, 1, 9, "test")], (2, 3, 0, 0)),
    "items": ([(1, 5, 9, "test"), (2, 5, 9, "test"), (1, 6, 9, "test")], (0, 0, 2, 3)),
    "both": ([(3, 5, 9, "test")], (1, 1, 1, 1)),
    "folded in": ([(3, 5, 8, "fold_in"), (3, 1, 9, "test"), (3, 5, 9, "test")], (0, 0, 1, 1)),
    "validation": ([(3, 5, 8, "validation"), (3, 5, 9, "test")], (1, 1, 1, 1)),
    "not tested": ([(3, 5, 8, "unused"), (4, 6, 8, "validation")], (0, 0, 0, 0)),
}


@pytest.mark.parametrize("case", COLD)
def test_cold_users_and_items_of_the_test_rows_are_counted(spark, case):
    rows, expected = COLD[case]
    row = found(spark, [*TRAIN, *rows]).first()
    assert tuple(row["cold"]) == expected
    assert row["pairs"] == len({(user, item) for user, item, *_ in [*TRAIN, *rows]})


def test_overlap_of_no_rows_is_nothing(spark):
    row = found(spark, []).first()
    assert tuple(row) == (0, (0, 0, 0, 0), 0, 0)
