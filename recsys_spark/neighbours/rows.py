"""The rows of a neighbour model as a table."""

from typing import Any

import numpy.typing as npt
import pyarrow as pa
from pyspark.sql.types import ArrayType, FloatType, IntegerType, StructField, StructType

from recsys_spark.arrow import arrow_schema, list_array, make_batch
from recsys_spark.kernels.topn.sparse_product import Nearest, Whole

ROWS = StructType(
    [
        StructField("row", IntegerType()),
        StructField("neighbours", ArrayType(IntegerType())),
        StructField("weights", ArrayType(FloatType())),
    ]
)


def batch_of(ids: npt.NDArray[Any], columns: npt.NDArray[Any], found: Nearest) -> pa.RecordBatch:
    """Rows that have neighbours. ids: (rows,) of the rows. columns: (columns,) ids of columns."""
    lengths = found.indptr[1:] - found.indptr[:-1]
    some = lengths > 0
    indptr: Whole = found.indptr[[True, *some]]
    content = {
        "row": ids[some],
        "neighbours": list_array(indptr, pa.array(columns[found.columns], pa.int32())),
        "weights": list_array(indptr, pa.array(found.values, pa.float32())),
    }
    return make_batch(arrow_schema(ROWS), content)
