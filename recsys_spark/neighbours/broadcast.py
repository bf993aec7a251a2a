"""The fast placement: interactions collected, mapped once on every host, rows dealt to tasks."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import SparkContext
from pyspark.sql import DataFrame

from recsys_spark.als.mmap_broadcast import SharedArray, share
from recsys_spark.kernels.topn.sparse_product import Whole
from recsys_spark.neighbours.formulas import Formula
from recsys_spark.neighbours.product import Product, equal_ranges, fit_rows, prepare, work
from recsys_spark.neighbours.rows import ROWS, batch_of
from recsys_spark.workers import map_in_arrow

_TASKS_A_CORE = 4
_PLAIN, _VALUED = 8, 24  # bytes of a pair: two positions, and two values
_Task = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
_Kept = Any  # an array or a SharedArray


def bytes_needed(pairs: int, formula: Formula) -> int:
    """Of the collected interactions, without the few bytes for each row and middle."""
    return pairs * (_PLAIN if formula.plain else _VALUED)


def nearest_broadcast(
    entries: DataFrame, formula: Formula, wanted: DataFrame | None = None
) -> DataFrame:
    """Columns row, neighbours, weights. entries: columns row, middle, value. wanted: column row.

    The interactions are collected by this call; the rows are computed when they are read.
    """
    product = collect_product(entries, formula)
    rows = _positions(entries, wanted, product)
    context = entries.sparkSession.sparkContext
    count = max(1, min(_TASKS_A_CORE * context.defaultParallelism, len(rows)))
    bounds = equal_ranges(work(product, rows), count)
    kept = [_keep(context, array) for array in (*product, rows)]
    tasks, fit = entries.sparkSession.range(0, count, 1, count), _fit_ranges(kept, bounds, formula)
    return map_in_arrow(tasks, fit, ROWS)


def collect_product(entries: DataFrame, formula: Formula) -> Product:
    """The interactions, on the driver."""
    names = ["row", "middle", "value"] if formula.values else ["row", "middle"]
    table = entries.select(*names).toArrow()
    values = table["value"].to_numpy() if formula.values else None
    return prepare(table["row"].to_numpy(), table["middle"].to_numpy(), values, formula)


def _positions(entries: DataFrame, wanted: DataFrame | None, product: Product) -> Whole:
    if wanted is None:
        return np.arange(len(product.ids), dtype=np.int64)
    # No more of those that have no entries than there are rows come to the driver.
    rows = entries.select("row").distinct().join(wanted, "row", "left_semi").toArrow()
    return np.searchsorted(product.ids, np.sort(rows["row"].to_numpy())).astype(np.int64)


def _keep(context: SparkContext, array: Any) -> _Kept:
    """A file without content cannot be mapped."""
    return share(context, np.ascontiguousarray(array)) if array.size else array


def _open(kept: _Kept) -> Any:
    return np.asarray(kept.open()) if isinstance(kept, SharedArray) else kept


def _fit_ranges(kept: list[_Kept], bounds: Whole, formula: Formula) -> _Task:
    def fit(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        *fields, rows = (_open(one) for one in kept)
        product = Product(*fields)
        for batch in batches:
            for task in batch["id"].to_pylist():
                wanted = rows[bounds[task] : bounds[task + 1]]
                for some, found in fit_rows(product, formula, wanted):
                    yield batch_of(product.ids[some], product.ids, found)

    return fit
