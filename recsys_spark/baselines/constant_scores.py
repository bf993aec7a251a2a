"""Scores that need no training, as factors: popularity, and random scores."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.packed_interactions import Batches
from recsys_spark.arrow import arrow_schema, list_array, make_batch
from recsys_spark.kernels.random import normal
from recsys_spark.schema import FACTORS
from recsys_spark.workers import map_in_arrow

_RANK = 32
_STREAMS = {"user": 101, "item": 102}  # of random numbers

Scores = tuple[DataFrame, DataFrame]


def popularity_scores(users: DataFrame, counts: DataFrame) -> Scores:
    """Factors of users and items, columns id and factors: an item scores the same for all users.

    users: column user. counts: columns item and rows, its score. Each user and item once.
    """
    return (
        users.select(F.col("user").alias("id"), _vector(F.lit(1))),
        counts.select(F.col("item").alias("id"), _vector(F.col("rows"))),
    )


def _vector(value: Column) -> Column:
    return F.array(value.cast("float")).alias("factors")


def recent(history: DataFrame, days: float) -> DataFrame | None:
    """The rows of the last days up to the newest one; None where rows have no time."""
    row = history.agg(F.max(F.unix_timestamp("timestamp")).alias("newest")).first()
    if row is None or row["newest"] is None:
        return None
    return history.where(F.unix_timestamp("timestamp") >= row["newest"] - days * 86_400)


def random_scores(users: DataFrame, items: DataFrame, seed: int) -> Scores:
    """The same with random directions for factors, a function of seed and index: every user's
    ranking is a random one. users: column user. items: column item. Each once."""
    sides = {"user": users, "item": items}
    directions = [
        map_in_arrow(frame.select(F.col(side).alias("id")), _draw(seed, side), FACTORS)
        for side, frame in sides.items()
    ]
    return directions[0], directions[1]


def directions(seed: int, side: str, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Random factors of length 1, (ids, rank), a function of seed, side (user or item) and id."""
    vectors = normal(seed, _STREAMS[side], ids, _RANK)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def _draw(seed: int, side: str) -> Callable[[Batches], Batches]:
    target = arrow_schema(FACTORS)

    def draw(batches: Batches) -> Batches:
        for batch in batches:
            ids = batch.column("id")
            vectors = directions(seed, side, ids.to_numpy().astype(np.int64))
            bounds = np.arange(len(ids) + 1) * _RANK
            yield make_batch(
                target, {"id": ids, "factors": list_array(bounds, pa.array(vectors.ravel()))}
            )

    return draw
