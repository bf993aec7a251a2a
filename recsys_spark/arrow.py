"""Columns in and out of Arrow functions: by name, with the declared types, through one entry point.

Spark matches the columns that an Arrow function returns by position and does not check their
names, so every such function in the project builds its batches here.
"""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from recsys_spark.spark_internals import spark_to_arrow


def make_batch(schema: pa.Schema, columns: Mapping[str, Any]) -> pa.RecordBatch:
    """A batch with the schema's columns in the schema's order and types.

    Raises ValueError if the names differ; Arrow raises if a column cannot be cast.
    """
    if set(columns) != set(schema.names):
        raise ValueError(f"columns {sorted(columns)} do not match {sorted(schema.names)}")
    _keep_modules(len(sys.modules))
    arrays = [_as_array(columns[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


@cache
def _keep_modules(_: int) -> None:
    """Spare the modules loaded so far, however many, from garbage collection.

    After every task PySpark collects all garbage of its worker, which has to look at every object
    of NumPy, Numba and the like: a tenth of a second, more than many tasks take themselves.
    """
    gc.freeze()


def _as_array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return values.cast(kind)
    return pa.array(values, type=kind)


def arrow_schema(schema: StructType) -> pa.Schema:
    """The Arrow schema that Spark expects of a function declared with `schema`; times in UTC."""
    return spark_to_arrow(schema, "UTC")


def local_frame(
    spark: SparkSession, rows: Sequence[Mapping[str, Any]], schema: StructType
) -> DataFrame:
    """A frame of some rows of the driver, without a Python worker, as Spark needs for a list."""
    table = pa.Table.from_pylist([dict(row) for row in rows], arrow_schema(schema))
    return spark.createDataFrame(table, schema)


def tables_of(
    batches: Iterable[pa.RecordBatch], least: int, size: Callable[[pa.RecordBatch], int]
) -> Iterator[pa.Table]:
    """Batches with rows, put together until their sizes add up to so much."""
    held: list[pa.RecordBatch] = []
    so_far = 0
    for batch in filter(len, batches):
        held.append(batch)
        so_far += size(batch)
        if so_far >= least:
            yield pa.Table.from_batches(held)
            held, so_far = [], 0
    if held:
        yield pa.Table.from_batches(held)


def list_array(indptr: npt.NDArray[np.integer[Any]], values: pa.Array) -> pa.ListArray:
    """Lists of `values`; list i holds values[indptr[i]:indptr[i + 1]]."""
    return pa.ListArray.from_arrays(pa.array(indptr, type=pa.int32()), values)


def list_parts(
    column: pa.ListArray, dtype: npt.DTypeLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Offsets and flat values of a list column; a null list is an empty one."""
    values = column.flatten().to_numpy(zero_copy_only=False)
    return list_bounds(column), values.astype(dtype, copy=False)


def list_bounds(column: pa.ListArray) -> npt.NDArray[np.int64]:
    """Where each list begins and ends among the flat values, (lists + 1,)."""
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def list_matrix(column: pa.ListArray, width: int) -> npt.NDArray[np.float32]:
    """A column of equally long lists as a matrix; a null list is a row of zeros."""
    indptr, values = list_parts(column, np.float32)
    matrix = np.zeros((len(column), width), dtype=np.float32)
    matrix[np.diff(indptr) > 0] = values.reshape(-1, width)
    return matrix


def binary_array(rows: npt.NDArray[Any], bounds: npt.NDArray[np.int64]) -> pa.BinaryArray:
    """Binary values without a copy; value i is the bytes of rows[bounds[i]:bounds[i + 1]]."""
    size = rows.nbytes // max(1, len(rows))
    offsets = pa.py_buffer((bounds * size).astype(np.int32))
    content = [None, offsets, pa.py_buffer(np.ascontiguousarray(rows))]
    return pa.BinaryArray.from_buffers(pa.binary(), len(bounds) - 1, content)


def binary_matrix(column: pa.BinaryArray, dtype: npt.DTypeLike, width: int) -> npt.NDArray[Any]:
    """Equally long binary values as the rows of a matrix, without a copy."""
    _, offsets, content = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1]
    rows: npt.NDArray[Any] = np.frombuffer(content, np.uint8)[bounds[0] : bounds[-1]].view(dtype)
    return rows.reshape(len(column), width)
