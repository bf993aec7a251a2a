"""Several events of one pair become one row, by every policy and in any order."""

from datetime import datetime, timedelta
from itertools import chain

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.ingest.duplicates import combine_duplicates

EVENTS = "user_id string, item_id string, value double, timestamp timestamp"
DAY = [datetime(2024, 1, day) for day in range(1, 5)]
SOURCE = [
    ("later time wins", "x", 1.0, DAY[1]),
    ("later time wins", "x", 5.0, DAY[0]),
    ("later time wins", "x", 2.0, DAY[0]),
    ("tie: larger value", "x", 3.0, DAY[2]),
    ("tie: larger value", "x", 4.0, DAY[2]),
    ("no time loses", "x", 9.0, None),
    ("no time loses", "x", -1.0, DAY[0]),
    ("no times: larger value", "x", 2.0, None),
    ("no times: larger value", "x", 8.0, None),
    ("other items stay apart", "x", 1.0, DAY[0]),
    ("other items stay apart", "y", 2.0, None),
]
KEYS = [
    ("later time wins", "x", DAY[1], 3),
    ("tie: larger value", "x", DAY[2], 2),
    ("no time loses", "x", DAY[0], 2),
    ("no times: larger value", "x", None, 2),
    ("other items stay apart", "x", DAY[0], 1),
    ("other items stay apart", "y", None, 1),
]
EXPECTED = {
    "last": [1.0, 4.0, -1.0, 8.0, 1.0, 2.0],
    "error": [1.0, 4.0, -1.0, 8.0, 1.0, 2.0],
    "max": [5.0, 4.0, 9.0, 8.0, 1.0, 2.0],
    "sum": [8.0, 7.0, 8.0, 10.0, 1.0, 2.0],
    "mean": [8.0 / 3, 3.5, 4.0, 5.0, 1.0, 2.0],
    "count": [3.0, 2.0, 2.0, 2.0, 1.0, 1.0],
}


@pytest.mark.parametrize("policy", EXPECTED)
def test_policy_decides_the_value(spark: SparkSession, policy: str) -> None:
    source = spark.createDataFrame(SOURCE, EVENTS)
    actual = combine_duplicates(source, policy)
    rows = [
        (user, item, value, time, events)
        for (user, item, time, events), value in zip(KEYS, EXPECTED[policy], strict=True)
    ]
    expected = spark.createDataFrame(rows, EVENTS + ", events bigint")
    assert_df_equality(actual, expected, ignore_row_order=True, ignore_nullable=True)


@pytest.mark.parametrize("policy", ["last", "sum", "mean"])
def test_order_and_partitions_do_not_change_a_bit(spark: SparkSession, policy: str) -> None:
    values = [0.1 * 3**power * (-1) ** power for power in range(30)] + [1e16, 1.0, -1e16]
    rows = [
        (f"u{at % 2}", "x", value, DAY[0] + timedelta(days=at % 3))
        for at, value in enumerate(values)
    ]
    assert sum(value for _, _, value, _ in rows) != sum(value for _, _, value, _ in rows[::-1])

    def combined(events: list[tuple[str, str, float, datetime]], partitions: int) -> DataFrame:
        frame = spark.createDataFrame(events, EVENTS).repartition(partitions)
        return combine_duplicates(frame, policy)

    shuffled = list(chain(rows[1::3], rows[2::3], rows[0::3]))
    found = [
        sorted(map(tuple, combined(events, partitions).collect()))
        for events, partitions in ((rows, 1), (rows[::-1], 2), (shuffled, 7))
    ]
    assert found[0] == found[1] == found[2]
