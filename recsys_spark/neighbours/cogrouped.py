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
from recsys_spark.kernels.topn.sparse_product import Middles, Rows, Scale, Whole, nearest, scale
from recsys_spark.neighbours.formulas import Degrees, Formula, Sizes
from recsys_spark.neighbours.product import UNIT, csr, parts
from recsys_spark.neighbours.rows import ROWS, batch_of
from recsys_spark.workers import cogroup_in_arrow, map_in_arrow

_ROWS_A_BLOCK = 2_000
_Fields = dict[str, npt.NDArray[Any]]
_Computed = Callable[[_Fields], _Fields]


def nearest_cogrouped(
    entries: DataFrame, formula: Formula, wanted: DataFrame | None = None
) -> DataFrame:
    """Columns row, neighbours, weights. entries: columns row, middle, value. wanted: column row."""
    sizes = _sizes(entries)
    weighed = entries if formula.plain else _weighed(entries, formula, sizes)
    weights = _weights(entries, formula, sizes)
    factors = _factors(entries, weighed, weights, formula)
    own = weighed if wanted is None else weighed.join(wanted, "row", "left_semi")
    count = sizes.rows if wanted is None else own.select("row").distinct().count()
    block = F.pmod(F.xxhash64("row"), F.lit(max(1, -(-count // _ROWS_A_BLOCK)))).alias("block")
    rows = own.groupBy("row").agg(_list("entries", "middle", "value"))
    dealt = rows.join(factors.select("row", "row_factor"), "row").select("*", block)
    columns = weighed.join(factors.select("row", "column_factor"), "row")
    middles = columns.groupBy("middle").agg(_list("entries", "row", "value", "column_factor"))
    needed = own.select(block, "middle").distinct()
    sent = needed.join(middles.join(weights, "middle"), "middle")
    return cogroup_in_arrow(dealt, sent, "block", _fit(formula), ROWS)


def _list(name: str, *fields: str) -> Column:
    return F.collect_list(F.struct(*fields)).alias(name)


def _sizes(entries: DataFrame) -> Sizes:
    units = F.sum(F.rint(F.col("value") / UNIT).cast("long"))
    total = entries.agg(F.count_distinct("row").alias("rows"), units.alias("units")).first()
    assert total is not None
    return Sizes(max(1, total["rows"]), float((total["units"] or 0) * UNIT))


def _weighed(entries: DataFrame, formula: Formula, sizes: Sizes) -> DataFrame:
    """Columns row, middle, value: x of each entry."""
    joined = entries.join(_degrees(entries, formula, "row", "middle"), "row")
    joined = joined.join(_degrees(entries, formula, "middle", "row"), "middle")

    def weigh(given: _Fields) -> _Fields:
        degrees = _of(given, "row"), _of(given, "middle")
        return {"value": formula.entries(given["value"], *degrees, sizes)}

    return _computed(joined, weigh, ["row", "middle"], ["value"])


def _weights(entries: DataFrame, formula: Formula, sizes: Sizes) -> DataFrame:
    """Columns middle, weight."""
    degrees = _degrees(entries, formula, "middle", "row")

    def weigh(given: _Fields) -> _Fields:
        return {"weight": formula.middles(_of(given, "middle"), sizes)}

    return _computed(degrees, weigh, ["middle"], ["weight"])


def _factors(
    entries: DataFrame, weighed: DataFrame, weights: DataFrame, formula: Formula
) -> DataFrame:
    """Columns row, row_factor, column_factor: of the formula, or the squared length."""
    names = ["row_factor", "column_factor"]
    if formula.kind != "product":
        squares = F.col("value") * F.col("value") * F.col("weight")
        measured = weighed.join(weights, "middle").withColumn("square", squares)
        lengths = measured.groupBy("row").agg(_ordered_sum("middle", "square").alias(names[0]))
        return lengths.withColumn(names[1], F.col(names[0]))

    def compute(given: _Fields) -> _Fields:
        return dict(zip(names, formula.factors(_of(given, "row")), strict=True))

    return _computed(_degrees(entries, formula, "row", "middle"), compute, ["row"], names)


def _degrees(entries: DataFrame, formula: Formula, side: str, other: str) -> DataFrame:
    """Columns of the side: its id, pairs and total."""
    pairs = F.count("*")
    total = _ordered_sum(other, "value") if formula.values else pairs.cast("double")
    return entries.groupBy(side).agg(pairs.alias(f"{side}_pairs"), total.alias(f"{side}_total"))


def _of(given: _Fields, side: str) -> Degrees:
    return Degrees(given[f"{side}_pairs"], given[f"{side}_total"])


def _ordered_sum(order: str, value: str) -> Column:
    """One after the other in the order of ids, so that partitions do not change its bits."""
    ascending = F.array_sort(F.collect_list(F.struct(order, value)))
    return F.aggregate(ascending, F.lit(0.0), lambda total, entry: total + entry[value])


def _computed(
    frame: DataFrame, compute: _Computed, ids: list[str], numbers: list[str]
) -> DataFrame:
    """The ids and some numbers that are computed from all columns."""
    fields = [StructField(name, IntegerType()) for name in ids]
    schema = StructType([*fields, *(StructField(name, DoubleType()) for name in numbers)])
    target = arrow_schema(schema)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            given = {name: batch[name].to_numpy() for name in batch.schema.names}
            yield make_batch(target, {name: given[name] for name in ids} | compute(given))

    return map_in_arrow(frame, run, schema)


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
    return scale(formula.kind, dealt["row_factor"].to_numpy(), factors, formula.shrinkage)


def _flat(column: pa.ChunkedArray) -> _Fields:
    """The fields of lists of structs, one after the other, and the list that each belongs to."""
    lists = column.combine_chunks()
    entries = lists.flatten()
    fields = {field.name: entries.field(at).to_numpy() for at, field in enumerate(entries.type)}
    return fields | {"list": np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())}
