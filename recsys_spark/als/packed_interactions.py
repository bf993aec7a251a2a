"""The weighed pairs, read once and kept as a few binary columns.

Rows cross from Spark to Python one by one, which costs more than everything else that is done
with them before training. So they cross once: what is kept is a record of raw arrays for about a
million pairs, from which the sides are counted and the blocks are built.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, DoubleType, LongType, StringType, StructField, StructType

from recsys_spark.arrow import arrow_schema, make_batch, tables_of
from recsys_spark.errors import ContractError
from recsys_spark.kernels.als.spec import SIDES
from recsys_spark.workers import map_in_arrow

Ids = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]
Batches = Iterator[pa.RecordBatch]

_RECORD = 1_000_000
_BATCH_BYTES, _UNLIMITED = "spark.sql.execution.arrow.maxBytesPerBatch", 2**31 - 1
_ONE_AT_A_TIME = Lock()  # fits in threads share the session and its settings
_ARRAYS = {"user": np.int64, "item": np.int64, "a": np.float32, "b": np.float32}
_TOTALS = {"rows": LongType(), "bad": LongType(), "sum_a": DoubleType(), "sum_b": DoubleType()}
_PACKED = StructType(
    [StructField(name, kind) for name, kind in _TOTALS.items()]
    + [StructField(name, BinaryType()) for name in _ARRAYS]
)
_COUNTED = StructType(
    [StructField("side", StringType())]
    + [StructField(name, LongType()) for name in ("id", "count")]
)


@dataclass(frozen=True)
class Packed:
    """records: the binary columns, persisted. rows: pairs. sum_a, sum_b: of the weights."""

    records: DataFrame
    rows: int
    sum_a: float
    sum_b: float


@dataclass(frozen=True)
class Index:
    """A side's rows. ids: (rows,) ascending. counts: (rows,) pairs of each."""

    ids: Ids
    counts: Ids


@contextmanager
def packed(pairs: DataFrame) -> Iterator[Packed]:
    """Pack columns user, item (long), a and b (float), which is null for an unusable value.

    Raises ContractError if a row has a null, or if there is no row.
    """
    records = map_in_arrow(pairs.select(*_ARRAYS), _pack, _PACKED)
    records = records.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        with _unmeasured_batches(pairs.sparkSession):
            totals = records.agg(*(F.sum(name).alias(name) for name in _TOTALS)).first()
        assert totals is not None
        refuse_bad_rows(totals["rows"] or 0, totals["bad"] or 0)
        yield Packed(records, totals["rows"], totals["sum_a"], totals["sum_b"])
    finally:
        records.unpersist()


@contextmanager
def _unmeasured_batches(spark: SparkSession) -> Iterator[None]:
    """Batches limited by rows alone, while these few bytes a row cross to Python.

    To limit their bytes too, Spark adds up a batch's size after every row, which takes as long as
    all else that it does with the row.
    """
    with _ONE_AT_A_TIME:
        before = spark.conf.get(_BATCH_BYTES, None)
        spark.conf.set(_BATCH_BYTES, _UNLIMITED)
        try:
            yield
        finally:
            if before is None:
                spark.conf.unset(_BATCH_BYTES)
            else:
                spark.conf.set(_BATCH_BYTES, before)


def refuse_bad_rows(rows: int, bad: int) -> None:
    """Raise ContractError if a row is bad, or if there is none."""
    if bad:
        raise ContractError(
            f"{bad} of {rows} training rows have a null id or a null, NaN or infinite value; "
            "ingest rejects such rows, or filter them before fit."
        )
    if not rows:
        raise ContractError("There are no training rows: check the filters and the split.")


def _pack(batches: Batches) -> Batches:
    schema = arrow_schema(_PACKED)
    for table in tables_of(batches, _RECORD, len):
        bad = count_bad_rows(table)
        arrays = {} if bad else {name: table[name].to_numpy() for name in _ARRAYS}
        sums = {
            f"sum_{name}": float(arrays[name].sum(dtype=np.float64))
            for name in arrays
            if name in "ab"
        }
        record = dict.fromkeys(_PACKED.names) | {"rows": table.num_rows, "bad": bad} | sums
        record |= {name: array.tobytes() for name, array in arrays.items()}
        yield make_batch(schema, {name: [value] for name, value in record.items()})


def count_bad_rows(table: pa.Table) -> int:
    """Rows with a null, or with a weight beyond single precision."""
    null = np.logical_or.reduce([table[name].is_null().to_numpy() for name in _ARRAYS])
    finite = [np.isfinite(table[name].fill_null(0).to_numpy()) for name in ("a", "b")]
    return int((null | ~finite[0] | ~finite[1]).sum())


def unpacked(batches: Batches) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The arrays user, item, a and b of each record, as views."""
    for batch in batches:
        for at in range(batch.num_rows):
            yield {
                name: np.frombuffer(batch.column(name)[at].as_buffer(), dtype)
                for name, dtype in _ARRAYS.items()
            }


def index_sides(records: DataFrame, sides: Sequence[str] = SIDES) -> dict[str, Index]:
    """The distinct ids of each side, on the driver: 16 bytes a row, a stated exception."""

    def count(batches: Batches) -> Batches:
        schema = arrow_schema(_COUNTED)
        for arrays in unpacked(batches):
            for side in sides:
                ids, counts = np.unique(arrays[side], return_counts=True)
                names = np.full(len(ids), side)
                yield make_batch(schema, {"side": names, "id": ids, "count": counts})

    counted = map_in_arrow(records, count, _COUNTED).groupBy("side", "id").agg(F.sum("count"))
    table = counted.toDF(*_COUNTED.names).toArrow().sort_by("id")
    return {side: _index(table.filter(pc.field("side") == side)) for side in sides}


def _index(table: pa.Table) -> Index:
    return Index(table["id"].to_numpy(), table["count"].to_numpy())
