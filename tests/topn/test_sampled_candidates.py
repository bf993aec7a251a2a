"""Sampled candidates: negatives of users, and their order by score, then by item id."""

import numpy as np
import pyarrow as pa
import pytest
from chispa import assert_df_equality
from pyspark.sql.types import IntegerType

from recsys_spark.topn.catalog import Catalog
from recsys_spark.topn.sampled_candidates import draw_negatives, rank_candidates

INDEX = [90, 10, 30, 70, 50, 20]  # in the order of the items' own ids
CATALOG = Catalog(
    np.array(INDEX, dtype=np.int64), pa.array(INDEX), IntegerType(),
    np.zeros((6, 1), dtype=np.float32), np.zeros(6, dtype=bool), np.zeros(6),
)  # fmt: skip
CANDIDATES = [("a", 0, item) for item in range(5)] + [("b", 1, 3), ("b", 1, 0), ("c", 9, 1)]


def users(spark, partitions=2):
    rows = [(user, [10, 30, 999] if user % 2 else []) for user in range(40)]
    return spark.createDataFrame(rows, "user int, left_out array<bigint>").repartition(partitions)


def test_negatives_are_items_that_users_do_not_have(spark):
    rows = draw_negatives(users(spark), CATALOG, 3, 1).collect()
    assert len(rows) == len(set(rows)) == 3 * 40
    odd = {row["item"] for row in rows if row["user"] % 2}
    assert odd == set(INDEX) - {10, 30}
    assert {row["item"] for row in rows} == set(INDEX)


def test_negatives_are_all_items_left_where_fewer_than_n(spark):
    rows = draw_negatives(users(spark), CATALOG, 100, 1).collect()
    assert len(rows) == 20 * 6 + 20 * 4


def test_negatives_do_not_depend_on_partitions(spark):
    one, other = (draw_negatives(users(spark, parts), CATALOG, 3, 1) for parts in (1, 5))
    assert_df_equality(one, other, ignore_row_order=True)


@pytest.mark.parametrize(
    ("names", "tied"),
    [(["i", "h", "g", "f", "e"], [1, 2, 0, 3, 4]), ([10, 5, 4, 9, 8], [1, 2, 0, 3, 4])],
    ids=["texts", "numbers"],
)
def test_candidates_are_ranked_by_score_then_by_id(spark, names, tied):
    users = spark.createDataFrame([(0, [1.0, 0.0]), (1, [0.0, -1.0])], "id int, x array<float>")
    items = spark.createDataFrame(
        [(0, [1.0, 1.0]), (1, [3.0, 0.0]), (2, [1.0, 0.0]), (3, [-9.0, 2.0])],
        "id int, y array<float>",
    )
    ids = spark.createDataFrame(list(zip(names, range(5), strict=True)), ["id", "index"])
    ids = ids.withColumn("index", ids["index"].cast("int"))
    candidates = spark.createDataFrame(CANDIDATES, "user_id string, user int, item int")
    lists = rank_candidates(candidates, ids, users, items).collect()
    for row in lists:
        ranks = [entry["rank"] for entry in row["recommendations"]]
        assert ranks == list(range(1, len(ranks) + 1))
    found = {row["user_id"]: [e["item_id"] for e in row["recommendations"]] for row in lists}
    assert found == {"a": tied, "b": [0, 3], "c": [1]}
