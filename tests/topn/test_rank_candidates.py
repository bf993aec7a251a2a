"""The order of few candidates: by score, then by item id; those without a score last."""

import pytest

from recsys_spark.topn.rank_candidates import rank_candidates

CANDIDATES = [("a", 0, item) for item in range(5)] + [("b", 1, 3), ("b", 1, 0), ("c", 9, 1)]


@pytest.mark.parametrize(
    ("names", "tied"),
    [(["i", "h", "g", "f", "e"], [1, 2, 0, 3, 4]), ([10, 5, 4, 9, 8], [1, 2, 0, 3, 4])],
    ids=["texts", "numbers"],
)
def test_by_score_then_by_id(spark, names, tied):
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
