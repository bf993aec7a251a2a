"""Arrow batches of what is on disk, for Python functions in tasks.

Where the files are of this file system, tasks read them themselves: Spark would decode each list
into rows of the JVM and encode them again, which takes several times as long.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from recsys_spark.arrow import arrow_schema
from recsys_spark.workers import map_in_arrow

Batches = Iterable[pa.RecordBatch]


def map_read(
    table: DataFrame,
    columns: Sequence[str],
    rows: int,
    function: Callable[[Batches], Batches],
    schema: StructType,
) -> DataFrame:
    """`map_in_arrow` of some columns of a table, as `spark.read` gives it.

    rows: of a batch that is read from a file, at most.
    """
    files = _local_files(table)
    if not files:
        return map_in_arrow(table.select(*columns), function, schema)
    declared = arrow_schema(table.select(*columns).schema)

    def read(batches: Batches) -> Batches:
        paths = (files[number] for batch in batches for number in batch["id"].to_pylist())
        return function(batch for path in paths for batch in _batches(path, declared, rows))

    numbers = table.sparkSession.range(0, len(files), 1, numPartitions=len(files))
    return map_in_arrow(numbers, read, schema)


def _local_files(table: DataFrame) -> list[str]:
    """The files that a table is read from; empty if one is elsewhere, or the rows are no file's."""
    found = [urlparse(address) for address in table.inputFiles()]
    if any(address.scheme != "file" for address in found):
        return []
    return [unquote(address.path) for address in found]


def _batches(path: str, declared: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
    """Raises OSError, with the file's name, for one that is damaged or has other columns."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if differing := [own for own in declared if own not in list(file.schema_arrow)]:
                raise pa.ArrowInvalid(f"it does not have the columns {differing}")
            yield from file.iter_batches(rows, columns=declared.names, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise OSError(f"recsys_spark cannot read on in {path}: {error}") from None
