"""Small ratings as columns, frames and dense tables, and factors as arrays."""

import numpy as np
import pyarrow as pa


def ratings(seed=0, users=12, items=9, low=1, density=0.4):
    """Columns user, item, value: whole values up to 5; every user and item has an entry."""
    rng = np.random.default_rng(seed)
    observed = rng.random((users, items)) < density
    observed[:, 0] = observed[0, :] = True
    user, item = np.nonzero(observed)
    return user, item, rng.integers(low, 6, len(user)).astype(float)


def frame_of(spark, columns, names=("user", "item", "value"), id_type=None):
    """The columns as a frame of long ids (or of `id_type`) and double values."""
    user, item, value = columns
    table = pa.table(dict(zip(names, (pa.array(user), pa.array(item), value), strict=True)))
    frame = spark.createDataFrame(table)
    for name in names[:2] if id_type else ():
        frame = frame.withColumn(name, frame[name].cast(id_type))
    return frame


def dense_table(columns):
    """Users by items, NaN where unobserved; ids are positions."""
    user, item, value = columns
    table = np.full((user.max() + 1, item.max() + 1), np.nan)
    table[user, item] = value
    return table


def by_row(table):
    """A dict of column to value for each row of a dense table."""
    return [{j: x for j, x in enumerate(row) if not np.isnan(x)} for row in table]


def normal_factors(seed, count, rank):
    """Single-precision factors to hold fixed."""
    return np.random.default_rng(seed).normal(size=(count, rank)).astype(np.float32)


def factors_of(frame):
    """Ids ascending, and the matrix of their features."""
    rows = sorted(frame.collect(), key=lambda row: row["id"])
    features = np.array([row["features"] for row in rows], dtype=np.float32)
    return np.array([row["id"] for row in rows], dtype=np.int64), features
