"""Test rows that training has seen, or that are older than it."""

from chispa import assert_df_equality

from recsys_spark.stages.overlap import overlap

ROWS = "user int, item int, timestamp timestamp_ltz, part string"


def test_pairs_in_both_parts_and_rows_out_of_order_are_counted(spark):
    rows = [
        (1, 1, 100, "train"), (1, 2, 200, "train"), (2, 1, 300, "train"),
        (1, 1, 250, "test"),  # in both
        (1, 3, 150, "test"), (1, 4, 200, "test"),  # one is older than the user's newest
        (2, 3, 299, "test"), (3, 1, 1, "test"),  # older; a user without training
        (2, 4, None, "test"), (1, 5, 1, "validation"),
    ]  # fmt: skip
    frame = spark.createDataFrame(rows, "user int, item int, at long, part string")
    timed = frame.selectExpr("user", "item", "timestamp_seconds(at) as timestamp", "part")
    expected = spark.createDataFrame([(1, 2)], "in_both long, older_than_training long")
    assert_df_equality(overlap(timed).select(*expected.columns), expected, ignore_nullable=True)
