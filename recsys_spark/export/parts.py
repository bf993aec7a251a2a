"""Rows sent from the executors in parts that are the same in every attempt.

A store marks a part as done together with its rows. Which rows a part has is decided by their ids
and the number of parts alone, so that a retried task, or the same command on another cluster,
knows what is there already.
"""

from collections.abc import Callable, Iterator
from itertools import groupby, pairwise

import numpy as np
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, StructField, StructType

from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.errors import TransientError
from recsys_spark.workers import map_in_arrow, raised_in_task

Batches = Iterator[pa.RecordBatch]
WritePart = Callable[[int, Batches], None]

_DONE = StructType([StructField("part", IntegerType())])


def write_in_parts(
    frame: DataFrame, key: str, parts: int, connections: int, write: WritePart, place: str
) -> None:
    """Call `write` on the executors, once a part, with the part's rows in batches.

    key: the column of ids that decides the part. connections: parts that are written at once, at
    most. place: names the store in messages. Raises TransientError if a part could not be written.
    """
    part = F.pmod(F.hash(key), F.lit(parts)).alias("part")
    divided = frame.select("*", part).repartitionById(parts, F.col("part")).coalesce(connections)
    try:
        written = map_in_arrow(divided, _write_each(write), _DONE)
        written.write.format("noop").mode("overwrite").save()
    except PySparkException as error:
        raised = raised_in_task(str(error))
        if raised is None:
            raise
        cause = raised[1].rstrip(".")
        raise TransientError(
            f"Writing to {place} stopped: {cause}. Readers keep what they had; the same command "
            "goes on with the parts that are missing."
        ) from error


def _write_each(write: WritePart) -> Callable[[Batches], Batches]:
    schema = arrow_schema(_DONE)

    def run(batches: Batches) -> Batches:
        pieces = (piece for batch in batches for piece in _by_part(batch))
        for part, rows in groupby(pieces, key=lambda piece: piece["part"][0].as_py()):
            write(part, (piece.drop_columns("part") for piece in rows))
            yield make_batch(schema, {"part": [part]})

    return run


def _by_part(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    """The batch, cut where another part begins."""
    changes = np.flatnonzero(np.diff(batch["part"].to_numpy())) + 1
    bounds = [0, *changes.tolist(), batch.num_rows]
    return [batch.slice(begin, end - begin) for begin, end in pairwise(bounds) if end > begin]
