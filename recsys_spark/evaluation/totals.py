"""What a task adds up over the users that it ranks, beside their lists.

Totals leave a task as rows of their own, once at its end, so that the pass over users is the only
one: metrics are not read back to be averaged, nor lists to be counted.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, IntegerType, StringType, StructField, StructType

from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.evaluation.model_metrics import Metrics
from recsys_spark.evaluation.sums import Fields, Finish, Keys, Sums, added, merged

TOTAL = "total"
KEYS = {"model": StringType(), "k": IntegerType(), "segment": StringType()}
_FIELDS: Fields = {"users": np.int64, "sums": np.int64, "resampled": np.float64}
_SCHEMA = StructType(
    [
        StructField("what", StringType()),
        *(StructField(name, kind) for name, kind in KEYS.items()),
        *(StructField(name, BinaryType()) for name in _FIELDS),
    ]
)
TOTAL_FIELD = StructField(TOTAL, _SCHEMA)

_RESULT = StructType([StructField("what", StringType()), StructField("content", BinaryType())])

# What becomes of a key (model, k, segment) and its sums, and the columns of it.
Result = tuple[Finish, StructType]


class Ranked(NamedTuple):
    """Some users as they were ranked.

    batch: columns history, known, truth and values, from `user_rows.unpacked`; those of
    `model_lists.rank_batch`; hash, a number of the user; and segments, which the user is in.
    metrics: of these lists.
    """

    batch: pa.RecordBatch
    metrics: Metrics


# Of some users: keys (what, model, k, segment), and arrays by name (users, sums, resampled), of
# shape (..., keys, n), or fewer of them.
Totals = Callable[[Ranked], Iterable[tuple[Keys, Sums]]]


class Adding:
    """The totals of a task, as they grow."""

    def __init__(self, parts: Iterable[Totals]) -> None:
        self.parts, self.found = tuple(parts), dict[Keys, Sums]()

    def add(self, ranked: Ranked) -> None:
        """Add those of some users."""
        for part in self.parts:
            added(self.found, part(ranked))

    def rows(self, kind: pa.StructType) -> pa.StructArray:
        """A row a key, of the Arrow type of TOTAL_FIELD."""
        return pa.array(
            [row for keys, sums in self.found.items() for row in _rows(keys, sums)], kind
        )


def _rows(keys: Keys, sums: Sums) -> Iterator[dict[str, Any]]:
    for at, key in enumerate(keys):
        arrays = {name: array[..., at, :].tobytes() for name, array in sums.items()}
        empty: dict[str, Any] = dict.fromkeys(_FIELDS, b"")
        yield dict(zip(("what", *KEYS), key, strict=True)) | empty | arrays


def finish_totals(ranked: DataFrame, results: Mapping[str, Result]) -> dict[str, pa.Table]:
    """The rows of each result, from the sums over all tasks; one job.

    Sums are added and finished in tasks, a key each; to the driver come rows for models, cut-offs
    and segments, in no particular order.
    """
    totals = ranked.where(F.col(f"{TOTAL}.what").isin(*results)).select(f"{TOTAL}.*")
    finish = partial(_serialised, dict(results))
    found = merged(totals, ["what", *KEYS], _FIELDS, finish, _RESULT).toArrow()
    rows = list(zip(found["what"].to_pylist(), found["content"], strict=True))
    tables = {}
    for what, (_, columns) in results.items():
        schema = arrow_schema(columns)
        own = (content.as_buffer() for name, content in rows if name == what)
        batches = [pa.ipc.read_record_batch(content, schema) for content in own]
        tables[what] = pa.Table.from_batches(batches, schema)
    return tables


def _serialised(
    results: dict[str, Result], key: dict[str, Any], sums: Sums
) -> Mapping[str, list[Any]]:
    what = key.pop("what")
    finish, columns = results[what]
    batch = make_batch(arrow_schema(columns), finish(key, sums))
    return {"what": [what], "content": [batch.serialize().to_pybytes()]}
