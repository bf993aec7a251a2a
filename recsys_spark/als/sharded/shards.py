"""Records of the sharded placement: the vectors of one range of rows, and where they are wanted.

Tasks read and write them as rows of binary columns; the driver holds those of split rows.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql.types import BinaryType, IntegerType, LongType, StructField, StructType

from recsys_spark.als.bias_factors import fixed_part
from recsys_spark.als.factors import FEATURES
from recsys_spark.als.half_sweep import SOLVED, column_weights, read_records
from recsys_spark.als.packed_interactions import Batches
from recsys_spark.als.sharded.out_blocks import ROUTES
from recsys_spark.arrow import arrow_schema, list_array, make_batch
from recsys_spark.kernels.als.solve import gram
from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.kernels.threads import single_threaded

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Record = dict[str, Any]

_ROWS = 10_000  # rows of a frame that leave a task at once


def _binary(*names: str) -> list[StructField]:
    return [StructField(name, BinaryType()) for name in names]


_KEY = StructField("key", IntegerType())
STATIC = StructType([_KEY, StructField("start", LongType()), *_binary(*ROUTES)])
RECORD = StructType([*STATIC.fields, *_binary("vectors")])
SUMS = [field for field in SOLVED if field.name not in ("start", "factors")]
ANSWER = StructType([*RECORD.fields, *_binary("gram"), *SUMS])
PIECE = StructType(
    [_KEY, StructField("origin", LongType()), *_binary("features", "offsets", "weights")]
)
KNOWN = StructType([_KEY, *_binary("known_ids", "known_vectors")])


def routes_of(record: Record) -> dict[str, npt.NDArray[Any]]:
    """The arrays of `als.sharded.out_blocks` that a record brings along."""
    return {name: np.frombuffer(record[name], dtype) for name, dtype in ROUTES.items()}


def vectors_of(record: Record, rows: int) -> Single:
    """The record's vectors, (rows, width)."""
    return np.frombuffer(record["vectors"], np.float32).reshape(rows, -1)


def seen(side: str, record: Record, spec: WalsSpec) -> tuple[Single, Single, Single]:
    """Features, offsets and weights of a record's rows; the latter two empty if there are none."""
    unobserved = np.frombuffer(record["unobserved"])
    features, offsets = fixed_part(side, vectors_of(record, len(unobserved)), spec)
    return features, offsets, column_weights(side, unobserved, spec)


def record_gram(side: str, record: Record, spec: WalsSpec) -> Double:
    """The Gram matrix of what the other side sees of a record's rows."""
    features, _, weights = seen(side, record, spec)
    with single_threaded():
        return gram(features, weights)


def as_answer(
    side: str, block: Record, vectors: Single | None, sums: Record, spec: WalsSpec,
    schema: pa.Schema,
) -> pa.RecordBatch:  # fmt: skip
    """The record of a block's rows; of a part of a row, which has no vectors, the sums alone."""
    record = dict.fromkeys(schema.names) | {"key": block["key"], "start": block["start"]}
    record |= {name: bytes(block[name]) for name in ROUTES}
    record |= {name: value for name, value in sums.items() if name in record}
    if vectors is not None:
        record["vectors"] = vectors.tobytes()
        record["gram"] = record_gram(side, record, spec).tobytes()
    return make_batch(schema, {name: [value] for name, value in record.items()})


def as_features(batches: Batches) -> Batches:
    """Ids and features of records, in batches of a size that Spark takes well."""
    schema = arrow_schema(FEATURES)
    for record in (record for batch in batches for record in read_records(batch)):
        ids = np.frombuffer(record["ids"], np.int64)
        vectors = vectors_of(record, len(ids))
        for first in range(0, len(ids), _ROWS):
            part = vectors[first : first + _ROWS]
            indptr = np.arange(len(part) + 1) * part.shape[1]
            features = list_array(indptr, pa.array(part.ravel()))
            yield make_batch(schema, {"id": ids[first : first + _ROWS], "features": features})
