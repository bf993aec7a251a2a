"""Invented data sets: the same on any partitioning, of the promised shape, and true to the plan."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.config import Generate
from recsys_spark.synthetic import (
    ITEM_TRUTH,
    ITEMS,
    MEAN_RATING,
    RATINGS,
    USER_TRUTH,
    USERS,
    generate,
    item_columns,
)

SMALL = {"users": 150, "items": 80, "interactions": 2000, "rank": 4, "partitions": 2}
BATCH_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
TABLES = ("ratings", "items", "users", "user_truth", "item_truth")


def _rows(frame: DataFrame) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in frame.collect()]


def _tables(spark: SparkSession, **changes: Any) -> dict[str, list[tuple[Any, ...]]]:
    generated = generate(spark, Generate(**{**SMALL, **changes}))
    return {name: _rows(getattr(generated, name)) for name in TABLES}


@pytest.fixture(scope="module")
def generated(spark: SparkSession) -> SimpleNamespace:
    """The tables of one data set as pandas frames."""
    config = Generate(users=1000, items=400, interactions=30_000, partitions=2)
    usual = spark.conf.get(BATCH_ROWS)
    try:
        spark.conf.set(BATCH_ROWS, "1000")
        lazy = generate(spark, config)
        return SimpleNamespace(**{name: getattr(lazy, name).toPandas() for name in TABLES})
    finally:
        spark.conf.set(BATCH_ROWS, str(usual))


@pytest.mark.parametrize("kind", ["explicit", "implicit"])
def test_partitions_do_not_change_a_bit(spark: SparkSession, kind: str) -> None:
    one, three, seven = (
        _rows(generate(spark, Generate(**SMALL | changes)).ratings)
        for changes in (
            {"kind": kind, "bad_fraction": 0.1, "partitions": partitions}
            for partitions in (1, 3, 7)
        )
    )
    assert one == three == seven


def test_batches_do_not_change_a_bit(spark: SparkSession) -> None:
    usual = spark.conf.get(BATCH_ROWS)
    small = _tables(spark, bad_fraction=0.1)
    try:
        spark.conf.set(BATCH_ROWS, "1000")
        large = _tables(spark, bad_fraction=0.1)
    finally:
        spark.conf.set(BATCH_ROWS, str(usual))
    assert small == large


def test_schemas(spark: SparkSession) -> None:
    generated = generate(spark, Generate(**SMALL))
    assert generated.ratings.schema == RATINGS
    assert generated.items.schema == ITEMS
    assert generated.users.schema == USERS
    assert generated.user_truth.schema == USER_TRUTH
    assert generated.item_truth.schema == ITEM_TRUTH


def test_more_partitions_than_users(spark: SparkSession) -> None:
    config = Generate(users=1, items=1, interactions=5, partitions=3)
    (row,) = generate(spark, config).ratings.collect()
    assert (row.user_id, row.item_id) == ("u000000", "i00000")


def test_sizes_and_unique_ids(generated: SimpleNamespace) -> None:
    ratings = generated.ratings
    assert len(ratings) == pytest.approx(30_000, rel=0.02)
    assert not ratings.duplicated(["user_id", "item_id"]).any()
    assert ratings.user_id.nunique() == 1000
    for name, key, size in [
        ("items", "item_id", 400),
        ("users", "user_id", 1000),
        ("user_truth", "user_id", 1000),
        ("item_truth", "item_id", 400),
    ]:
        assert getattr(generated, name)[key].nunique() == len(getattr(generated, name)) == size
    assert set(ratings.item_id) <= set(generated.items.item_id)
    assert set(ratings.user_id) == set(generated.users.user_id)


def test_ratings_are_half_stars_in_two_years(generated: SimpleNamespace) -> None:
    assert set(generated.ratings.rating) <= {str(half / 2) for half in range(1, 11)}
    seconds = generated.ratings.timestamp.astype(int)
    assert seconds.min() >= 1_704_067_200
    assert seconds.max() < 1_767_225_600


def test_items_and_users_are_skewed_and_ids_do_not_tell(generated: SimpleNamespace) -> None:
    items = generated.ratings.item_id.value_counts()
    assert items.iloc[:4].sum() > 5 * 0.01 * len(generated.ratings)
    users = generated.ratings.user_id.value_counts()
    assert users.iloc[0] > 3 * users.median()
    for counts in (items, users):
        numbers = counts.index.str[1:].astype(int)
        assert abs(np.corrcoef(numbers, np.log(counts))[0, 1]) < 0.2


def test_ratings_agree_with_the_planted_truth(generated: SimpleNamespace) -> None:
    rows = generated.ratings.merge(generated.user_truth, on="user_id").merge(
        generated.item_truth, on="item_id", suffixes=("_user", "_item")
    )
    taste = np.einsum("nk,nk->n", np.stack(rows.factors_user), np.stack(rows.factors_item))
    planned = MEAN_RATING + rows.bias_user + rows.bias_item + taste
    rating = rows.rating.astype(float)
    assert np.corrcoef(planned, rating)[0, 1] > 0.8
    inside = (planned > 1.5) & (planned < 4)
    assert (rating - planned)[inside].mean() == pytest.approx(0, abs=0.02)
    assert (rating - planned)[inside].std() == pytest.approx(np.hypot(0.3, 0.5 / 12**0.5), abs=0.03)


def test_synthetic_users_choose_their_favourite_genre(generated: SimpleNamespace) -> None:
    rows = generated.ratings.merge(generated.items, on="item_id").merge(
        generated.users, on="user_id"
    )
    pairs = list(zip(rows.genres, rows.favourite_genre, strict=True))
    share = np.mean([favourite in genres.split("|") for genres, favourite in pairs])
    weights = rows.favourite_genre.value_counts(normalize=True)
    having = rows.genres.str.get_dummies("|").mean()
    chance = (having * weights).sum()
    assert share > 1.7 * chance
    own = [favourite in genres.split("|") for genres, favourite in pairs]
    rating = rows.rating.astype(float)
    assert rating[own].mean() > rating[np.logical_not(own)].mean() + 0.3


def test_titles_are_distinct_and_readable(generated: SimpleNamespace) -> None:
    assert generated.items.title.is_unique
    assert generated.items.title.str.match(r"^The \w+ \w+( (of|in|from) \w+)? \(\d{4}\)$").all()
    assert generated.items.genres.str.match(r"^[A-Z][\w ]+(\|[A-Z][\w ]+)?$").all()


def test_titles_stay_distinct_when_the_words_run_out() -> None:
    config = Generate(items=500_000)
    ids = np.concatenate([np.arange(2000), 32 * 8 * 25 * 64 + np.arange(2000)])
    titles = item_columns(config, ids)["title"]
    assert len(set(titles)) == 4000
    assert " 2 (" in titles[-1]


def test_broken_rows_are_mixed_in_and_the_rest_is_unchanged(spark: SparkSession) -> None:
    clean = _rows(generate(spark, Generate(**SMALL)).ratings)
    mixed = _rows(generate(spark, Generate(**SMALL, bad_fraction=0.2)).ratings)
    extra = Counter(mixed) - Counter(clean)
    assert sum(extra.values()) / len(mixed) == pytest.approx(0.2, abs=0.02)
    assert len(mixed) == len(clean) + sum(extra.values())
    kinds = Counter(
        ("rating", rating)
        if rating in ("five", "NaN", "11.0")
        else ("user", user)
        if user == ""
        else ("time", time)
        for user, _, rating, time in extra
    )
    assert set(kinds) == {
        ("rating", "five"),
        ("rating", "NaN"),
        ("rating", "11.0"),
        ("user", ""),
        ("time", "4102444800"),
    }
    assert min(kinds.values()) > 0.5 * max(kinds.values())


def test_counts_are_whole_and_heavy_tailed(spark: SparkSession) -> None:
    rows = _rows(generate(spark, Generate(**SMALL, kind="implicit")).ratings)
    counts = np.array([int(rating) for _, _, rating, _ in rows])
    assert counts.min() == 1
    assert np.median(counts) <= 2
    assert counts.max() >= 20
