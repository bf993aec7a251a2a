"""What a table of lists has to be, looked up in the files themselves."""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Row
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from recsys_spark.arrow import arrow_schema, list_bounds, make_batch
from recsys_spark.errors import AuditError
from recsys_spark.file_batches import Batches, map_read

_ENTRIES = 2**20  # of the lists that a task looks at at once
_LARGEST = 1e300  # more than every finite score, all of which have 32 bits
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


class _Rules(NamedTuple):
    """What the lists have to be: see `audit`."""

    key: str
    lists: str
    n: int
    ordered: Collection[str] | None
    entry: str

    @property
    def faults(self) -> list[str]:
        """What lists may be that they must not, in the order of `_faults`."""
        return [
            "are missing",
            "are not ranked 1, 2, 3",
            f"have more than {self.n} items",
            "have an item twice or none",
            "have scores that are not finite",
            "have scores out of order",
        ]


def audit(
    table: DataFrame,
    key: str,
    lists: str,
    n: int,
    ordered: Collection[str] | None = None,
    entry: str = "item_id",
) -> dict[str, Any]:
    """Numbers of lists, of those shorter than n, and of empty ones; by source, if there is one.

    table: as it is read from files, with all of their rows. key: column of whose lists they are.
    lists: column of the lists. ordered: sources of which the scores have to descend; None: all.
    entry: what stands on the lists.

    Raises AuditError, with how many are at fault, unless every key stands once, ranks are 1, 2, 3
    and so on up to n at most, no list has an item twice or none, scores are finite, and those of
    `ordered` descend.
    """
    rules = _Rules(key, lists, n, ordered, entry)
    columns = [key, lists, *(["source"] if "source" in table.columns else [])]
    schema = _counted(table.schema[key].dataType)
    counted = map_read(table, columns, max(1, _ENTRIES // n), _counting(rules, schema), schema)
    batches = counted.collect()
    found = _by_source(batches)
    total, short, empty, *at_fault = sum(found.values(), np.zeros(3 + len(rules.faults), int))
    faults = dict(zip(rules.faults, at_fault, strict=True))
    if not _ascend(batches):  # which rules out that a key stands twice
        faults["are for a user who has another"] = total - table.select(key).distinct().count()
    if any(faults.values()):
        named = "; ".join(f"{count:,} {name}" for name, count in faults.items() if count)
        raise AuditError(f"Of {total:,} lists that were written, {named}. They are not kept.")
    return {
        "lists": int(total),
        "short": int(short),
        "empty": int(empty),
        "sources": {source: int(found[source][0]) for source in sorted(found, key=str)},
    }


def _counted(key: DataType) -> StructType:
    """What is found in a batch: its keys' range, and how many lists each source has of a kind."""
    numbers = StructType(
        [StructField("source", StringType()), StructField("numbers", ArrayType(LongType()))]
    )
    return StructType(
        [
            StructField("first", key),
            StructField("last", key),
            StructField("ascending", BooleanType()),
            StructField("found", ArrayType(numbers)),
        ]
    )


def _by_source(batches: Sequence[Row]) -> dict[str | None, Numbers]:
    """The numbers of all batches."""
    found: dict[str | None, Numbers] = {}
    for source, numbers in (own for batch in batches for own in batch["found"]):
        found[source] = found.get(source, 0) + np.array(numbers)
    return found


def _ascend(batches: Sequence[Row]) -> bool:
    """Whether the keys ascend within batches, whose ranges are apart."""
    if not all(batch["ascending"] for batch in batches):
        return False
    ranges = sorted((batch["first"], batch["last"]) for batch in batches)
    return all(one[1] < other[0] for one, other in pairwise(ranges))


def _counting(rules: _Rules, schema: StructType) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    target = arrow_schema(schema)

    def count(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                keys = batch.column(rules.key)
                found = {
                    "first": [keys[0].as_py()],
                    "last": [keys[-1].as_py()],
                    "ascending": [_is_ascending(keys)],
                    "found": [_numbers(batch, rules)],
                }
                yield make_batch(target, found)

    return count


def _is_ascending(keys: pa.Array) -> bool:
    rising = pc.all(pc.greater(keys[1:], keys[:-1]), min_count=0)
    return not keys.null_count and bool(rising.as_py())


def _numbers(batch: pa.RecordBatch, rules: _Rules) -> list[dict[str, Any]]:
    """By source: lists, short ones, empty ones, and those with each fault."""
    lists = batch.column(rules.lists)
    names, sources = _sources(batch)
    ordered = np.array([rules.ordered is None or name in rules.ordered for name in names])
    sizes = lists.value_lengths().fill_null(rules.n).to_numpy(zero_copy_only=False)
    kinds = [np.ones(len(lists), dtype=bool), sizes < rules.n, sizes == 0]
    marks = np.stack([*kinds, *_faults(lists, rules, ordered[sources])])
    return [
        {"source": name, "numbers": marks[:, sources == at].sum(axis=1)}
        for at, name in enumerate(names)
    ]


def _sources(batch: pa.RecordBatch) -> tuple[list[str | None], Numbers]:
    """The names of sources, and which of them each list is from."""
    if "source" not in batch.schema.names:
        return ["all"], np.zeros(batch.num_rows, dtype=np.int64)
    encoded = batch.column("source").dictionary_encode(null_encoding="encode")
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _faults(lists: pa.ListArray, rules: _Rules, ordered: Mask) -> list[Mask]:
    """Which lists have each fault."""
    bounds, entries = list_bounds(lists), lists.flatten()
    sizes = np.diff(bounds)
    row = np.repeat(np.arange(len(sizes)), sizes)
    ids, scores, ranks = (pc.struct_field(entries, name) for name in (rules.entry, "score", "rank"))
    numbers = _comparable(scores)
    right = np.arange(1, len(row) + 1) - bounds[row]
    rises = (numbers[1:] > numbers[:-1]) & (row[1:] == row[:-1])

    def on(rows: npt.NDArray[np.integer[Any]]) -> Mask:
        marked = np.zeros(len(sizes), dtype=bool)
        marked[rows] = True
        return marked

    return [
        lists.is_null().to_numpy(zero_copy_only=False),
        on(row[ranks.fill_null(0).to_numpy() != right]),
        sizes > rules.n,
        on(_items_twice_or_none(ids, row)),
        on(row[np.abs(numbers) >= _LARGEST]),
        on(row[1:][rises]) & ordered,
    ]


def _comparable(scores: pa.Array) -> npt.NDArray[np.float64]:
    """Scores as Spark orders them: NaN is the largest of all numbers, nulls come last."""
    numbers = scores.fill_null(0).to_numpy().astype(np.float64)
    numbers = np.nan_to_num(numbers, nan=np.inf, posinf=_LARGEST, neginf=-_LARGEST)
    return np.where(scores.is_null().to_numpy(zero_copy_only=False), -np.inf, numbers)


def _items_twice_or_none(ids: pa.Array, row: Numbers) -> Numbers:
    """The lists, some more than once, on which an id stands twice, or a null. row: of each id."""
    encoded = ids.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy()
    width = len(encoded.dictionary) + 1
    pairs = np.sort((row * width + codes)[codes >= 0])
    twice = pairs[1:][pairs[1:] == pairs[:-1]] // width
    return np.concatenate([twice, row[codes < 0]])
