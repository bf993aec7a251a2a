"""Negatives of users, from frames to frames."""

import numpy as np
import pyarrow as pa
from chispa import assert_df_equality
from pyspark.sql.types import IntegerType

from recsys_spark.topn.catalog import Catalog
from recsys_spark.topn.negatives import draw_negatives

INDEX = [90, 10, 30, 70, 50, 20]  # in the order of the items' own ids
CATALOG = Catalog(
    np.array(INDEX, dtype=np.int64), pa.array(INDEX), IntegerType(),
    np.zeros((6, 1), dtype=np.float32), np.zeros(6, dtype=bool), np.zeros(6),
)  # fmt: skip


def users(spark, partitions=2):
    rows = [(user, [10, 30, 999] if user % 2 else []) for user in range(40)]
    return spark.createDataFrame(rows, "user int, left_out array<bigint>").repartition(partitions)


def test_they_are_items_that_users_do_not_have(spark):
    rows = draw_negatives(users(spark), CATALOG, 3, 1).collect()
    assert len(rows) == len(set(rows)) == 3 * 40
    odd = {row["item"] for row in rows if row["user"] % 2}
    assert odd == set(INDEX) - {10, 30}
    assert {row["item"] for row in rows} == set(INDEX)


def test_all_are_drawn_where_no_more_are_left(spark):
    rows = draw_negatives(users(spark), CATALOG, 100, 1).collect()
    assert len(rows) == 20 * 6 + 20 * 4


def test_partitions_do_not_change_them(spark):
    one, other = (draw_negatives(users(spark, parts), CATALOG, 3, 1) for parts in (1, 5))
    assert_df_equality(one, other, ignore_row_order=True)
