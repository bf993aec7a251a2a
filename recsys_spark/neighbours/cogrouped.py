"""The placement without limits: a distributed product, of which no host holds all.

Rows are dealt out to blocks, and each block is sent the middles that its rows have. The bits are
those of the fast placement: sums run in the order of ids, and formulas are computed by the same
code.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, IntegerType, StructField, StructType

from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.kernels.similarity import Middles, Rows, Scale, Whole, nearest, scale
from recsys_spark.neighbours.formulas import Degrees, Formula, Sizes
from recsys_spark.neighbours.product import UNIT, csr, parts
from recsys_spark.neighbours.rows import ROWS, batch_of
from recsys_spark.workers import cogroup_in_arrow, map_in_arrow

_ROWS_A_BLOCK = 2_000
_NUMBERS = ("value", "weight", "square", "row_factor", "column_factor")
_WEIGHED = StructType(
    [StructField(name, IntegerType()) for name in ("row", "middle")]
    + [StructField(name, DoubleType()) for name in _NUMBERS]
)
_Fields = dict[str, npt.NDArray[Any]]


def nearest_cogrouped(
    entries: DataFrame, formula: Formula, wanted: DataFrame | None = None
) -> DataFrame:
    """Columns row, neighbours, weights. entries: columns row, middle, value. wanted: column row."""
    weighed = _weighed(entries, formula)
    own = weighed if wanted is None else weighed.join(wanted, "row", "left_semi")
    entry = F.collect_list(F.struct("middle", "value")).alias("entries")
    rows = own.groupBy("row").agg(entry, F.first("row_factor").alias("factor"))
    blocks = max(1, -(-rows.count() // _ROWS_A_BLOCK))
    dealt = rows.withColumn("block", _block(blocks))
    needed = own.select(_block(blocks).alias("block"), "middle").distinct()
    entry = F.collect_list(F.struct("row", "value", "column_factor")).alias("entries")
    middles = weighed.groupBy("middle").agg(entry, F.first("weight").alias("weight"))
    return cogroup_in_arrow(dealt, needed.join(middles, "middle"), "block", _fit(formula), ROWS)


def _block(blocks: int) -> Column:
    return F.pmod(F.xxhash64("row"), F.lit(blocks))


def _weighed(entries: DataFrame, formula: Formula) -> DataFrame:
    """Entries with what the formula makes of their values and degrees."""
    units = F.sum(F.rint(F.col("value") / UNIT).cast("long"))
    total = entries.agg(F.count_distinct("row").alias("rows"), units.alias("units")).first()
    assert total is not None
    sizes = Sizes(max(1, total["rows"]), float((total["units"] or 0) * UNIT))
    joined = entries.join(_degrees(entries, "row", "middle"), "row")
    joined = joined.join(_degrees(entries, "middle", "row"), "middle")
    weighed = map_in_arrow(joined, _weigh(formula, sizes), _WEIGHED)
    if formula.kind == "product":
        return weighed
    lengths = weighed.groupBy("row").agg(_ordered_sum("middle", "square").alias("row_factor"))
    lengths = lengths.withColumn("column_factor", F.col("row_factor"))
    return weighed.drop("row_factor", "column_factor").join(lengths, "row")


def _degrees(entries: DataFrame, side: str, other: str) -> DataFrame:
    """Columns of the side: its id, pairs and total."""
    pairs = F.count("*").alias(f"{side}_pairs")
    return entries.groupBy(side).agg(pairs, _ordered_sum(other, "value").alias(f"{side}_total"))


def _ordered_sum(order: str, value: str) -> Column:
    """One after the other in the order of ids, so that partitions do not change its bits."""
    ascending = F.array_sort(F.collect_list(F.struct(order, value)))
    return F.aggregate(ascending, F.lit(0.0), lambda total, entry: total + entry[value])


def _weigh(
    formula: Formula, sizes: Sizes
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    schema = arrow_schema(_WEIGHED)

    def weigh(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            given = {name: batch[name].to_numpy() for name in batch.schema.names}
            yield make_batch(schema, _weighed_entries(given, formula, sizes))

    return weigh


def _weighed_entries(given: _Fields, formula: Formula, sizes: Sizes) -> _Fields:
    rows = Degrees(given["row_pairs"], given["row_total"])
    middles = Degrees(given["middle_pairs"], given["middle_total"])
    x, weight = (
        formula.entries(given["value"], rows, middles, sizes),
        formula.middles(middles, sizes),
    )
    numbers = (x, weight, x * x * weight, *formula.factors(rows))
    ids = {"row": given["row"], "middle": given["middle"]}
    return ids | dict(zip(_NUMBERS, numbers, strict=True))


def _fit(formula: Formula) -> Callable[[pa.Table, pa.Table], pa.Table]:
    def fit(dealt: pa.Table, sent: pa.Table) -> pa.Table:
        own, other = _flat(dealt["entries"]), _flat(sent["entries"])
        ids, columns = dealt["row"].to_numpy(), np.unique(other["row"])
        rows, middles = _matrices(own, other, sent, ids, columns, formula)
        scaled = _scale(dealt, other, columns, formula)
        batches = []
        for some in parts(rows.wanted, formula.neighbours, len(columns)):
            part = rows._replace(wanted=some, own=rows.own[some])
            found = nearest(part, middles, scaled, formula.neighbours)
            batches.append(batch_of(ids[some], columns, found))
        return pa.Table.from_batches(batches, schema=arrow_schema(ROWS))

    return fit


def _matrices(
    own: _Fields, other: _Fields, sent: pa.Table, ids: Whole, columns: Whole, formula: Formula
) -> tuple[Rows, Middles]:
    """Both factors of a block, over the middles and columns that it meets."""
    sent_middles = sent["middle"].to_numpy()
    order = np.argsort(sent_middles)
    kept = sent_middles[order]
    left = csr(
        own["list"], np.searchsorted(kept, own["middle"]), own["value"], (len(ids), len(kept))
    )
    at = np.searchsorted(kept, sent_middles)[other["list"]]
    shape = len(kept), len(columns)
    right = csr(at, np.searchsorted(columns, other["row"]), other["value"], shape)
    every, itself = np.arange(len(ids)), np.searchsorted(columns, ids)
    weights = sent["weight"].to_numpy()[order]
    values = (np.empty(0), np.empty(0)) if formula.plain else (left.data, right.data)
    rows = Rows(
        left.indptr.astype(np.int64), left.indices.astype(np.int32), values[0], every, itself
    )
    indptr, indices = right.indptr.astype(np.int64), right.indices.astype(np.int32)
    return rows, Middles(indptr, indices, values[1], weights)


def _scale(dealt: pa.Table, other: _Fields, columns: Whole, formula: Formula) -> Scale:
    factors = np.zeros(len(columns))
    factors[np.searchsorted(columns, other["row"])] = other["column_factor"]
    return scale(formula.kind, dealt["factor"].to_numpy(), factors, formula.shrinkage)


def _flat(column: pa.ChunkedArray) -> _Fields:
    """The fields of lists of structs, one after the other, and the list that each belongs to."""
    lists = column.combine_chunks()
    entries = lists.flatten()
    fields = {field.name: entries.field(at).to_numpy() for at, field in enumerate(entries.type)}
    return fields | {"list": np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())}
