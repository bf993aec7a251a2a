"""Arrays that add up over rows: first within each task, then over the tasks, by key.

Only small sums travel. They depend on the partitioning no more than the additions do: callers add
whole numbers, or multiples of a power of two of which a double holds the sums exactly.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import BinaryType, DataType, StructField, StructType

from recsys_spark.als.packed_interactions import Batches
from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.workers import group_in_arrow, map_in_arrow

Key = tuple[Any, ...]
Keys = tuple[Key, ...]
Sums = dict[str, npt.NDArray[Any]]
# Arrays travel as their bytes, which Spark passes on as they are, where numbers of a list cost it
# a call each.
Fields = Mapping[str, type[np.int64] | type[np.float64]]
Finish = Callable[[dict[str, Any], Sums], Mapping[str, Any]]


def sum_by_key(
    frame: DataFrame,
    keys: Mapping[str, DataType],
    fields: Fields,
    parts: Callable[[pa.RecordBatch], Iterable[tuple[Keys, Sums]]],
    finish: Finish,
    schema: StructType,
) -> DataFrame:
    """What `finish` makes, as columns of `schema`, of every key and its sums over all rows.

    keys: columns of a key. fields: names of arrays, and their types; all arrays of a name have the
    same size. parts: of one batch, several keys at a time, and arrays of shape (..., keys, n),
    which are added to in place; a key may come more than once.
    """
    columns = [StructField(name, kind) for name, kind in keys.items()]
    columns += [StructField(name, BinaryType()) for name in fields]
    by_task = map_in_arrow(frame, _add_up(parts, StructType(columns)), StructType(columns))
    return merged(by_task, list(keys), fields, finish, schema)


def merged(
    by_task: DataFrame, keys: list[str], fields: Fields, finish: Finish, schema: StructType
) -> DataFrame:
    """What `finish` makes of every key and the sums of its arrays, bytes, over all rows."""
    return group_in_arrow(by_task, keys, _merge(keys, fields, finish, schema), schema)


def added(found: dict[Keys, Sums], parts: Iterable[tuple[Keys, Sums]]) -> dict[Keys, Sums]:
    """Add further parts to those that were found, in place."""
    for keys, sums in parts:
        if keys in found:
            _add(found[keys], sums)
        else:
            found[keys] = sums
    return found


def _add_up(
    parts: Callable[[pa.RecordBatch], Iterable[tuple[Keys, Sums]]], schema: StructType
) -> Callable[[Batches], Batches]:
    target = arrow_schema(schema)

    def add_up(batches: Batches) -> Batches:
        with single_threaded():
            found = added({}, (part for batch in batches for part in parts(batch)))
        for keys, sums in found.items():
            for at, key in enumerate(keys):
                arrays = [[array[..., at, :].tobytes()] for array in sums.values()]
                values = [*([part] for part in key), *arrays]
                yield make_batch(target, dict(zip(target.names, values, strict=True)))

    return add_up


def _add(total: Sums, part: Sums) -> None:
    for name, array in part.items():
        total[name] += array


def _merge(
    keys: list[str], fields: Fields, finish: Finish, schema: StructType
) -> Callable[[pa.Table], pa.Table]:
    target = arrow_schema(schema)

    def merge(table: pa.Table) -> pa.Table:
        key = {name: table[name][0].as_py() for name in keys}
        sums = {
            name: np.sum([np.frombuffer(part.as_buffer(), kind) for part in table[name]], axis=0)
            for name, kind in fields.items()
        }
        return pa.Table.from_batches([make_batch(target, finish(key, sums))])

    return merge
