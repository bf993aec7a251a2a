"""EASE: one inverse of the dense Gram matrix of all items, on the driver.

H. Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, equation 8.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.linalg import lapack

from recsys_spark.als.mmap_broadcast import SharedArray, share
from recsys_spark.arrow import list_parts, local_frame
from recsys_spark.errors import ConfigError
from recsys_spark.kernels.topn.sparse_product import Double, Single, Whole, largest
from recsys_spark.neighbours.broadcast import bytes_needed, collect_product
from recsys_spark.neighbours.cogrouped import nearest_cogrouped
from recsys_spark.neighbours.fit import INTERACTIONS_BUDGET, entries_of
from recsys_spark.neighbours.formulas import Counted
from recsys_spark.neighbours.product import fit_rows, parts
from recsys_spark.neighbours.rows import ROWS, batch_of
from recsys_spark.neighbours.spec import Ease
from recsys_spark.workers import map_in_arrow

GRAM_BUDGET = 4 * 2**30
_CELL = 8 + 4  # the Gram matrix and its inverse in one place, and the weights
_ANSWER = 128 * 2**20  # of Gram rows that come to the driver at once
_TILE = 512


def fit_ease(
    history: DataFrame,
    spec: Ease,
    budget_bytes: int = GRAM_BUDGET,
    interactions_bytes: int = INTERACTIONS_BUDGET,
) -> DataFrame:
    """The rows of an EASE model.

    Parameters
    ----------
    history
        Columns user int, item int, no pair twice.
    spec
        The model.
    budget_bytes
        What the driver may hold: 12 bytes times the square of the number of items.
    interactions_bytes
        Up to this size, of 8 bytes a pair, the interactions are collected to count in how many
        histories two items are; larger ones are counted by a distributed product, part by part.

    Returns
    -------
    Columns item int, neighbours array<int> in ascending order, weights array<float>. Weights are
    rounded to single precision and then compared. The inverse is computed by this call, with the
    BLAS threads of the driver, on whose number its last bits may depend.

    Raises
    ------
    ConfigError
        More items than the budget allows, or a Gram matrix that is singular without
        regularization.
    """
    ids = _item_ids(history)
    _require_room(len(ids), budget_bytes)
    gram = gram_matrix(history, ids, interactions_bytes)
    return _table(history.sparkSession, ids, ease_weights(gram, spec.regularization), spec)


def gram_matrix(
    history: DataFrame, ids: Whole, interactions_bytes: int = INTERACTIONS_BUDGET
) -> Double:
    """(items, items) in how many histories two items are together. ids: (items,) ascending."""
    counted = Counted(len(ids))
    entries = entries_of(history, "item", counted)
    gram = np.zeros((len(ids), len(ids)))
    if bytes_needed(entries.count(), counted) <= interactions_bytes:
        _count_here(entries, counted, gram)
    else:
        _count_in_parts(entries, counted, ids, gram)
    return gram


def ease_weights(gram: Double, regularization: float) -> Single:
    """(items, items) weights of history items (rows) for candidates (columns), diagonal 0.

    gram: (items, items), which is overwritten. Raises ConfigError if it cannot be factorised.
    """
    gram[np.diag_indices_from(gram)] += regularization
    _invert(gram)
    weights = np.empty(gram.shape, dtype=np.float32)
    np.divide(gram, -np.diag(gram), out=weights, casting="same_kind")
    np.fill_diagonal(weights, 0.0)
    return weights


def _item_ids(history: DataFrame) -> Whole:
    table = history.select("item").distinct().toArrow()
    return np.sort(table["item"].to_numpy())


def _require_room(items: int, budget: int) -> None:
    needed = _CELL * items**2
    if needed > budget:
        most = int((budget / _CELL) ** 0.5)
        raise ConfigError(
            f"EASE of {items} items needs {needed / 2**20:.0f} MB on the driver, and the budget "
            f"is {budget / 2**20:.0f} MB: keep at most {most} items, raise the budget, or choose "
            "RP3beta, which needs no dense matrix."
        )


def _count_here(entries: DataFrame, counted: Counted, gram: Double) -> None:
    product = collect_product(entries, counted)
    for some, found in fit_rows(product, counted, np.arange(len(gram))):
        at = np.repeat(some, np.diff(found.indptr))
        gram[at, found.columns] = found.values
    gram[np.diag_indices_from(gram)] = np.diff(product.row_indptr)


def _count_in_parts(entries: DataFrame, counted: Counted, ids: Whole, gram: Double) -> None:
    """Counts up to 2^24 are exact, which is what single precision holds."""
    step = max(1, _ANSWER // (8 * len(ids)))
    for start in range(0, len(ids), step):
        first, last = int(ids[start]), int(ids[min(start + step, len(ids)) - 1])
        wanted = entries.where(F.col("row").between(first, last)).select("row").distinct()
        table = nearest_cogrouped(entries, counted, wanted).toArrow().combine_chunks()
        _add(table, ids, gram)
    pairs = entries.groupBy("row").count().toArrow()
    at = np.searchsorted(ids, pairs["row"].to_numpy())
    gram[at, at] = pairs["count"].to_numpy()


def _add(table: pa.Table, ids: Whole, gram: Double) -> None:
    for batch in table.to_batches():
        bounds, others = list_parts(batch["neighbours"], np.int64)
        _, counts = list_parts(batch["weights"], np.float64)
        at = np.repeat(np.searchsorted(ids, batch["row"].to_numpy()), np.diff(bounds))
        gram[at, np.searchsorted(ids, others)] = counts


def _invert(gram: Double) -> None:
    """In place. A symmetric matrix by rows is the same one by columns, as LAPACK takes it."""
    if not len(gram):
        return
    factor, failed = lapack.dpotrf(gram.T, lower=1, clean=0, overwrite_a=1)
    if not failed:
        inverse, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise ConfigError(
            "EASE: the Gram matrix is singular, since some items are in the same histories or in "
            "sums of them; set regularization above 0, such as 200."
        )
    assert np.shares_memory(inverse, gram)
    _mirror(gram)


def _mirror(matrix: Double) -> None:
    """Copy the upper triangle to the lower one, tile by tile, to need no second matrix."""
    for start in range(0, len(matrix), _TILE):
        stop = min(start + _TILE, len(matrix))
        tile = matrix[start:stop, start:stop]
        tile[:] = np.triu(tile) + np.triu(tile, 1).T
        matrix[stop:, start:stop] = matrix[start:stop, stop:].T


def _table(spark: SparkSession, ids: Whole, weights: Single, spec: Ease) -> DataFrame:
    tasks = max(1, min(4 * spark.sparkContext.defaultParallelism, len(ids)))
    if not len(ids):
        return local_frame(spark, [], ROWS).withColumnRenamed("row", "item")
    shared, k = share(spark.sparkContext, weights), spec.neighbours or len(ids)
    bounds = np.linspace(0, len(ids), tasks + 1).astype(np.int64)
    rows = map_in_arrow(spark.range(0, tasks, 1, tasks), _rows(shared, ids, bounds, k), ROWS)
    return rows.withColumnRenamed("row", "item")


def _rows(
    shared: SharedArray, ids: Whole, bounds: Whole, k: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        weights = np.asarray(shared.open())
        for batch in batches:
            for task in batch["id"].to_pylist():
                for some in parts(np.arange(bounds[task], bounds[task + 1]), k, len(ids)):
                    found = largest(weights[some[0] : some[-1] + 1], some, k)
                    yield batch_of(ids[some], ids, found)

    return rows
