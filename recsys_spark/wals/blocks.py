"""One side's interactions as compressed blocks, a block a partition.

A block holds whole rows: a row's block follows from its id alone, and rows and entries are
sorted inside, so that the blocks do not depend on how the input was ordered or partitioned.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql.types import BinaryType, StructField, StructType

from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.kernels.csr import Csr, csr_from_triples

Ids = npt.NDArray[np.int64]
Batches = Iterator[pa.RecordBatch]

_FIELDS = ("ids", "indptr", "cols", "values")
BLOCKS = StructType([StructField(name, BinaryType(), False) for name in _FIELDS])


def build_blocks(
    ratings: DataFrame, row: str, col: str, col_ids: "Broadcast[Ids]", blocks: int
) -> DataFrame:
    """Blocks of the side whose ids stand in column `row`; entries point into `col_ids`.

    ratings: columns user, item (long) and a, b (float), as `weigh` makes them. col_ids: ascending
    ids of the other side; an entry's column is its position there.
    """
    triples = ratings.select(row, col, "a", "b").repartition(blocks, row)
    return triples.mapInArrow(_compress(row, col, col_ids), BLOCKS)


def _compress(row: str, col: str, col_ids: "Broadcast[Ids]") -> Callable[[Batches], Batches]:
    schema = arrow_schema(BLOCKS)

    def compress(batches: Batches) -> Batches:
        parts = [batch for batch in batches if batch.num_rows]
        if not parts:
            return
        table = pa.Table.from_batches(parts)
        positions = np.searchsorted(col_ids.value, table[col].to_numpy()).astype(np.int32)
        weights = table["a"].to_numpy() + 1j * table["b"].to_numpy().astype(np.float64)
        block = csr_from_triples(table[row].to_numpy(), positions, weights)
        yield make_batch(schema, {name: [getattr(block, name).tobytes()] for name in _FIELDS})

    return compress


def read_blocks(batches: Batches) -> Iterator[Csr]:
    """The blocks of a partition, as views of Arrow's memory."""
    for batch in batches:
        for at in range(batch.num_rows):
            ids, indptr, cols, values = (
                batch.column(batch.schema.get_field_index(name))[at].as_buffer() for name in _FIELDS
            )
            yield Csr(
                np.frombuffer(ids, np.int64),
                np.frombuffer(indptr, np.int64),
                np.frombuffer(cols, np.int32),
                np.frombuffer(values, np.complex128),
            )
