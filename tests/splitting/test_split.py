"""Every split is a partition of the rows, the same on any partitioning, with the promised parts."""

import random
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.config import Split
from recsys_spark.errors import ContractError
from recsys_spark.splitting.split import split

ROWS = "user_id string, item_id string, value double, timestamp timestamp"
START = datetime(2024, 1, 1)
METHODS = {
    "random": {"test_fraction": 0.25, "validation_fraction": 0.125},
    "per_user": {"test_fraction": 0.2, "validation_fraction": 0.1},
    "leave_last_out": {"test_last": 2, "validation_last": 1},
    "global_time": {"test_fraction": 0.2, "validation_fraction": 0.1},
    "time_window": {"train_until": START + timedelta(hours=25), "test_days": 0.25},
    "k_fold": {"folds": 4, "fold": 1},
    "user_holdout": {"test_fraction": 0.4, "validation_fraction": 0.2},
}
Row = tuple[str, str, float, datetime]
Parts = dict[tuple[str, str], str]


def many_rows() -> list[Row]:
    """User n has n + 1 rows; times repeat within users and across them."""
    draw = random.Random(3)
    return [
        (f"u{user}", f"i{item}", float(item), START + timedelta(hours=draw.randrange(40)))
        for user in range(24)
        for item in draw.sample(range(60), user + 1)
    ]


MANY = many_rows()


def parts_of(frame: DataFrame, method: str, **settings: Any) -> Parts:
    rows = split(frame, Split(method=method, **METHODS[method] | settings)).collect()
    parts = {(row["user_id"], row["item_id"]): row["part"] for row in rows}
    assert len(parts) == len(rows)
    return parts


@pytest.fixture(scope="module")
def found(spark: SparkSession) -> dict[str, Parts]:
    """The parts that every method gives the many rows, in one partition."""
    frame = spark.createDataFrame(MANY, ROWS).coalesce(1)
    return {method: parts_of(frame, method) for method in METHODS}


def by_user(parts: Parts) -> dict[str, Counter[str]]:
    users: dict[str, Counter[str]] = defaultdict(Counter)
    for (user, _), part in parts.items():
        users[user][part] += 1
    return users


@pytest.mark.parametrize("method", METHODS)
def test_parts_are_disjoint_and_together_the_input(spark: SparkSession, method: str) -> None:
    source = spark.createDataFrame(MANY, ROWS)
    tagged = split(source, Split(method=method, **METHODS[method]))
    assert tagged.columns == [*source.columns, "part"]
    assert_df_equality(tagged.drop("part"), source, ignore_row_order=True, ignore_nullable=True)


@pytest.mark.parametrize("method", METHODS)
def test_partitions_and_order_do_not_matter(
    spark: SparkSession, found: dict[str, Parts], method: str
) -> None:
    shuffled = random.Random(8).sample(MANY, len(MANY))
    for rows, partitions in ((MANY[::-1], 2), (shuffled, 7)):
        frame = spark.createDataFrame(rows, ROWS).repartition(partitions)
        assert parts_of(frame, method) == found[method]


@pytest.mark.parametrize("method", ["random", "per_user", "k_fold", "user_holdout"])
def test_seed_changes_the_choice(spark: SparkSession, found: dict[str, Parts], method: str) -> None:
    other = parts_of(spark.createDataFrame(MANY, ROWS), method, seed=43)
    assert other != found[method]
    assert set(other.values()) == set(found[method].values())


def test_random_comes_near_its_shares(found: dict[str, Parts]) -> None:
    counts, rows = Counter(found["random"].values()), len(MANY)
    for part, share in (("test", 0.25), ("validation", 0.125), ("train", 0.625)):
        spread = (rows * share * (1 - share)) ** 0.5
        assert abs(counts[part] - rows * share) < 4 * spread


def test_time_window_tests_the_days_after_a_moment(found: dict[str, Parts]) -> None:
    times = {(user, item): time for user, item, _, time in MANY}
    until = START + timedelta(hours=25)
    for pair, part in found["time_window"].items():
        expected = "test" if times[pair] < until + timedelta(hours=6) else "unused"
        assert part == ("train" if times[pair] < until else expected)
    assert set(found["time_window"].values()) == {"train", "test", "unused"}


def test_folds_are_a_partition_of_equal_parts(spark: SparkSession) -> None:
    frame = spark.createDataFrame(MANY, ROWS)
    tests = [
        {pair for pair, part in parts_of(frame, "k_fold", fold=fold).items() if part == "test"}
        for fold in range(4)
    ]
    assert sorted(pair for test in tests for pair in test) == sorted((u, i) for u, i, *_ in MANY)
    share, spread = len(MANY) / 4, (len(MANY) * 3 / 16) ** 0.5
    assert all(abs(len(test) - share) < 4 * spread for test in tests)


def test_per_user_gives_exact_shares_and_keeps_one_row_to_train(found: dict[str, Parts]) -> None:
    for user, counts in by_user(found["per_user"]).items():
        rows = counts.total()
        assert rows == int(user[1:]) + 1
        assert counts["test"] == min(int(rows * 0.2 + 0.5), rows - 1)
        assert counts["validation"] == min(int(rows * 0.1 + 0.5), rows - 1 - counts["test"])
        assert counts["train"] >= 1


def test_leave_last_out_takes_the_last_rows_and_keeps_one(found: dict[str, Parts]) -> None:
    times = {(user, item): time for user, item, _, time in MANY}
    order = {"train": 0, "validation": 1, "test": 2}
    rows: dict[str, list[tuple[int, datetime]]] = defaultdict(list)
    for pair, part in found["leave_last_out"].items():
        rows[pair[0]].append((order[part], times[pair]))
    for user, counts in by_user(found["leave_last_out"]).items():
        total = counts.total()
        assert counts["test"] == min(2, total - 1)
        assert counts["validation"] == min(1, total - 1 - counts["test"])
        later = [time for _, time in sorted(rows[user])]
        assert later == sorted(later)


def test_global_time_has_no_train_row_later_than_a_test_row(found: dict[str, Parts]) -> None:
    times: dict[str, list[datetime]] = defaultdict(list)
    for user, item, _, time in MANY:
        times[found["global_time"][user, item]].append(time)
    assert max(times["train"]) < min(times["validation"])
    assert max(times["validation"]) < min(times["test"])
    assert 0.7 * len(MANY) <= len(times["train"]) < 0.8 * len(MANY)


def seconds(spark: SparkSession, offsets: list[float]) -> DataFrame:
    rows = [
        ("u", str(at), 1.0, START + timedelta(seconds=offset)) for at, offset in enumerate(offsets)
    ]
    return spark.createDataFrame(rows, ROWS)


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        (list(range(10)), "tttttttvxx"),
        ([86_400.0 * day for day in range(10)], "tttttttvxx"),
        ([*range(6), 6, 6, 6, 9], "tttttttttx"),
        ([*range(6), 6.0, 6.9, 8, 9], "ttttttttxx"),
    ],
    ids=["seconds", "days", "ties_stay_together", "fractions_of_one_second_stay_together"],
)
def test_global_time_is_exact_by_hand(
    spark: SparkSession, offsets: list[float], expected: str
) -> None:
    parts = parts_of(seconds(spark, offsets), "global_time")
    letters = {"train": "t", "validation": "v", "test": "x"}
    assert "".join(letters[parts["u", str(at)]] for at in range(len(offsets))) == expected


def test_user_holdout_holds_out_whole_users(found: dict[str, Parts]) -> None:
    users = by_user(found["user_holdout"])
    kinds = {user: frozenset(counts) - {"fold_in"} for user, counts in users.items()}
    assert all(len(kind) <= 1 for kind in kinds.values())
    assert {frozenset({"train"}), frozenset({"test"}), frozenset({"validation"})} <= set(
        kinds.values()
    )
    for user, counts in users.items():
        rows = counts.total()
        if counts["train"]:
            assert counts["train"] == rows
        else:
            assert counts["fold_in"] == max(1, int(rows * 0.8 + 0.5)), user


@pytest.mark.parametrize("method", ["leave_last_out", "global_time"])
def test_a_method_by_time_needs_every_time(spark: SparkSession, method: str) -> None:
    frame = spark.createDataFrame([*MANY[:5], ("u", "i", 1.0, None)], ROWS)
    with pytest.raises(ContractError, match=f"{method} needs the time"):
        split(frame, Split(method=method))


def test_a_method_by_hash_needs_no_time(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("u", str(n), 1.0, None) for n in range(10)], ROWS)
    assert Counter(parts_of(frame, "per_user").values()) == {
        "train": 7,
        "validation": 1,
        "test": 2,
    }
