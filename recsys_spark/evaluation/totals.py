"""What a task adds up over the users that it ranks, beside their lists.

Totals leave a task as rows of their own, once at its end, so that the pass over users is the only
one: metrics are not read back to be averaged, nor lists to be counted.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from recsys_spark.evaluation.sums import Finish, Keys, Sums, added, merged

TOTAL = "total"
KEYS = {"model": StringType(), "k": IntegerType(), "segment": StringType()}
_FIELDS = {"users": LongType(), "sums": LongType(), "resampled": DoubleType()}
_SCHEMA = StructType(
    [
        StructField("what", StringType()),
        *(StructField(name, kind) for name, kind in KEYS.items()),
        *(StructField(name, ArrayType(kind)) for name, kind in _FIELDS.items()),
    ]
)
TOTAL_FIELD = StructField(TOTAL, _SCHEMA)

# Of a batch with the columns of `rank_models`: keys (what, model, k, segment), and arrays by name
# (users, sums, resampled), of shape (..., keys, n), or fewer of them.
Totals = Callable[[pa.RecordBatch], Iterable[tuple[Keys, Sums]]]


class Adding:
    """The totals of a task, as they grow."""

    def __init__(self, parts: Iterable[Totals]) -> None:
        self.parts, self.found = tuple(parts), dict[Keys, Sums]()

    def add(self, batch: pa.RecordBatch) -> None:
        """Add those of some users."""
        for part in self.parts:
            added(self.found, part(batch))

    def rows(self, kind: pa.StructType) -> pa.StructArray:
        """A row a key, of the Arrow type of TOTAL_FIELD."""
        return pa.array(
            [row for keys, sums in self.found.items() for row in _rows(keys, sums)], kind
        )


def _rows(keys: Keys, sums: Sums) -> Iterator[dict[str, Any]]:
    for at, key in enumerate(keys):
        arrays = {name: array[..., at, :].ravel() for name, array in sums.items()}
        empty: dict[str, Any] = {name: [] for name in _FIELDS}
        yield dict(zip(("what", *KEYS), key, strict=True)) | empty | arrays


def users_of(ranked: DataFrame) -> DataFrame:
    """The rows of users, without the totals."""
    return ranked.where(F.col(TOTAL).isNull()).drop(TOTAL)


def totals_of(ranked: DataFrame, what: str) -> DataFrame:
    """Columns model, k, segment, users, sums and resampled: a row a task and key."""
    total = ranked.where(F.col(f"{TOTAL}.what") == what).select(f"{TOTAL}.*")
    return total.drop("what")


def merge_totals(
    ranked: DataFrame, what: str, finish: Finish, schema: StructType, keys: Iterable[str] = KEYS
) -> DataFrame:
    """What `finish` makes of every key and its sums over all tasks, as columns of `schema`."""
    return merged(totals_of(ranked, what), list(keys), list(_FIELDS), finish, schema)
