"""The id dictionary: dense, append-only, and the same on any partitioning."""

import random

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.errors import ContractError
from recsys_spark.ingest.ids import extend_sides

STRINGS = [f"{prefix}{n}" for prefix in ("", "0", "user-", "é") for n in range(80)]
LONGS = [n * n * 10**9 - 5 for n in range(300)]
KINDS = pytest.mark.parametrize(("kind", "ids"), [("string", STRINGS), ("bigint", LONGS)])


def frame(spark: SparkSession, kind: str, ids: list[str] | list[int]) -> DataFrame:
    return spark.createDataFrame([(one,) for one in ids], f"id {kind}")


def extend_ids(ids: DataFrame, known: DataFrame | None) -> DataFrame:
    return extend_sides({"side": (ids, known)})["side"]


def entries(dictionary: DataFrame) -> dict[str | int, int]:
    rows = dictionary.collect()
    found = {row["id"]: row["index"] for row in rows}
    assert len(found) == len(rows)
    return found


@KINDS
def test_ids_have_one_index_each_without_gaps_on_any_partitions(
    spark: SparkSession, kind: str, ids: list[str] | list[int]
) -> None:
    repeated: list[str] | list[int] = ids + ids[::2]
    shuffled = random.Random(5).sample(repeated, len(repeated))
    first, *others = (
        entries(extend_ids(frame(spark, kind, many).repartition(partitions), None))
        for many, partitions in ((repeated, 1), (repeated[::-1], 2), (shuffled, 7))
    )
    assert set(first) == set(ids)
    assert sorted(first.values()) == list(range(len(ids)))
    assert all(other == first for other in others)


@KINDS
def test_known_ids_keep_their_index_and_only_new_ones_are_added(
    spark: SparkSession, kind: str, ids: list[str] | list[int]
) -> None:
    yesterday, today = ids[:100], ids[60:]
    known = extend_ids(frame(spark, kind, yesterday), None).localCheckpoint()
    before = entries(known)
    after = entries(extend_ids(frame(spark, kind, today), known))
    assert {one: after[one] for one in before} == before
    assert set(after) == set(ids)
    assert sorted(set(after.values()) - set(before.values())) == list(range(100, len(ids)))


def test_ids_without_new_ones_are_unchanged(spark: SparkSession) -> None:
    known = spark.createDataFrame([("b", 0), ("a", 1)], "id string, index int")
    assert_df_equality(extend_ids(frame(spark, "string", ["a", "a"]), known), known)


def test_an_empty_dictionary_is_begun_at_zero(spark: SparkSession) -> None:
    known = spark.createDataFrame([], "id string, index int")
    actual = extend_ids(frame(spark, "string", ["only"]), known)
    expected = spark.createDataFrame([("only", 0)], "id string, index int")
    assert_df_equality(actual, expected, ignore_nullable=True)


def test_more_ids_than_an_index_holds_are_refused(spark: SparkSession) -> None:
    known = spark.createDataFrame([("last", 2**31 - 2)], "id string, index int")
    assert entries(extend_ids(frame(spark, "string", ["last"]), known)) == {"last": 2**31 - 2}
    with pytest.raises(ContractError, match="2,147,483,648 ids"):
        extend_ids(frame(spark, "string", ["new"]), known)
