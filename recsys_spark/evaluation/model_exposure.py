"""How the lists of several models spread over the items, and what they have in common."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.types import (
    ArrayType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from recsys_spark.arrow import list_parts
from recsys_spark.evaluation.exposure import Exposure, Spread, exposure_of
from recsys_spark.evaluation.model_lists import LISTS
from recsys_spark.evaluation.sums import Keys, Sums
from recsys_spark.evaluation.totals import Ranked, Result, Totals
from recsys_spark.lookup import Lookup

Whole = npt.NDArray[np.int64]
_WHOLES = ArrayType(LongType())
_SPREAD = StructType(
    [
        StructField("model", StringType()),
        StructField("k", IntegerType()),
        StructField("users", _WHOLES),
        StructField("times", _WHOLES),
        StructField("items", _WHOLES),
        StructField("groups", _WHOLES),
    ]
)
_PATTERN = StructType([StructField("members", IntegerType()), StructField("pairs", LongType())])
LISTS_TOTAL, PATTERNS_TOTAL = "lists", "patterns"


@dataclass(frozen=True)
class Listed:
    """Whose lists are counted, over which items.

    index: (items,) internal ids of the catalog. models: names, in the order of the lists. k:
    cut-offs, ascending. groups: by name, the positions of its items, each once.
    """

    index: Whole
    models: tuple[str, ...]
    k: tuple[int, ...]
    groups: Mapping[str, Whole] = field(default_factory=dict)

    @cached_property
    def lookup(self) -> Lookup:
        """Where internal ids stand."""
        return Lookup(self.index)


def exposure_of_models(
    spark: SparkSession,
    spread: pa.Table,
    listed: Listed,
    run_id: str,
    split: str,
    curve_at: int,
) -> Exposure:
    """`evaluation.measure_exposure` of the lists of the pass over users.

    Each task counts how often every item is listed; the counts of a model are added up by one
    task, as long as the catalog for each cut-off. To the driver comes how many items are listed
    how often, and the groups' sums.

    Parameters
    ----------
    spread
        From `user_pass.finish`, of LISTS_TOTAL.
    listed
        Those that `total_lists` was given.
    run_id, split
        Of the rows of the table.
    curve_at
        The cut-off of the curves, one of k.
    """
    rows = sorted(spread.to_pylist(), key=lambda row: (row["model"], row["k"]))
    size = max(1, len(listed.index))
    found = Spread(
        {row["model"]: (row["users"][0], row["users"][1]) for row in rows},
        {
            (row["model"], row["k"]): (np.array(row["times"]), np.array(row["items"]))
            for row in rows
        },
        {name: len(own) / size for name, own in sorted(listed.groups.items()) if len(own)},
        {
            (row["model"], row["k"]): dict(zip(listed.groups, row["groups"], strict=True))
            for row in rows
        },
    )
    return exposure_of(spark, found, run_id, split, curve_at)


def finish_lists(listed: Listed) -> Result:
    """What becomes of the sums of `total_lists`: how many items are listed how often."""
    return partial(_spread, listed), _SPREAD


def total_lists(listed: Listed) -> Totals:
    """How often each item is on the lists of a model, and how many users have one.

    Of a model: users, those with a row and those with items; sums, (cut-offs, items).
    """
    return partial(_counts, listed)


def _counts(listed: Listed, ranked: Ranked) -> Iterator[tuple[Keys, Sums]]:
    batch, models, items = ranked.batch, len(listed.models), len(listed.index)
    bounds, ids = list_parts(batch.column(LISTS).flatten(), np.int64)
    lengths = np.diff(bounds)
    ranks = np.arange(len(ids)) - np.repeat(bounds[:-1], lengths)
    of_model = np.repeat(np.arange(len(lengths)) % models, lengths)
    positions = listed.lookup.positions(ids)
    cells, known = of_model * items + positions, positions >= 0
    totals = np.stack(
        [np.bincount(cells[known & (ranks < k)], minlength=models * items) for k in listed.k]
    )
    served = (lengths.reshape(-1, models) > 0).sum(axis=0)
    users = np.stack([np.full(models, batch.num_rows), served], axis=1)
    keys = tuple((LISTS_TOTAL, name, None, None) for name in listed.models)
    yield keys, {"users": users, "sums": totals.reshape(len(listed.k), models, items)}


def _spread(listed: Listed, key: dict[str, Any], sums: Sums) -> Mapping[str, Any]:
    """How many items are listed how often, and what groups have of it, a row a cut-off."""
    counts = sums["sums"].reshape(len(listed.k), -1)
    histograms = [np.unique(np.append(own, 0), return_counts=True) for own in counts]
    return {
        "model": [key["model"]] * len(counts),
        "k": list(listed.k),
        "users": [sums["users"].tolist()] * len(counts),
        "times": [times.tolist() for times, _ in histograms],
        "items": [(items - (times == 0)).tolist() for times, items in histograms],
        "groups": [
            [int(own[positions].sum()) for positions in listed.groups.values()] for own in counts
        ],
    }


def count_patterns(
    patterns: pa.Table, models: Sequence[str], truth: str
) -> dict[tuple[str, ...], int]:
    """How many items of users each combination of lists and truth has in common.

    Parameters
    ----------
    patterns
        From `user_pass.finish`, of PATTERNS_TOTAL.
    models
        Those of the lists, in their order.
    truth
        What the truth is called beside the models.

    Returns
    -------
    dict
        Of the combinations that there are: their names, ascending.
    """
    names = [*models, truth]
    return {
        tuple(sorted(name for at, name in enumerate(names) if row["members"] >> at & 1)): row[
            "pairs"
        ]
        for row in patterns.to_pylist()
    }


def _as_pattern(key: dict[str, Any], sums: Sums) -> Mapping[str, Any]:
    return {"members": [key["k"]], "pairs": sums["sums"]}


def total_patterns(models: int, k: int) -> Totals:
    """How many items each combination of the first k of lists, and of the truth, has in common.

    A combination is a number, a bit a list, the last the truth's; it stands in place of a cut-off.
    """
    return partial(_patterns, models, k)


def finish_patterns() -> Result:
    """What becomes of the sums of `total_patterns`: columns members (bits) and pairs."""
    return _as_pattern, _PATTERN


def _patterns(models: int, k: int, ranked: Ranked) -> Iterator[tuple[Keys, Sums]]:
    for members, pairs in zip(*_members(ranked.batch, models, k), strict=True):
        key = (PATTERNS_TOTAL, None, members, None)
        yield (key,), {"sums": np.array([[pairs]], dtype=np.int64)}


def _members(batch: pa.RecordBatch, models: int, k: int) -> tuple[list[int], list[int]]:
    """Combinations, a bit a list, the last the truth's; and how many pairs have each."""
    bounds, ids = list_parts(batch.column(LISTS).flatten(), np.int64)
    lengths = np.diff(bounds)
    inside = np.arange(len(ids)) - np.repeat(bounds[:-1], lengths) < k
    list_of = np.repeat(np.arange(len(lengths)), lengths)[inside]
    own_bounds, own = list_parts(batch.column("truth"), np.int64)
    rows = np.repeat(np.arange(batch.num_rows), np.diff(own_bounds))
    cells = np.concatenate([list_of // models, rows]) << 32 | np.concatenate([ids[inside], own])
    bits = np.concatenate([list_of % models, np.full(len(own), models)])
    pairs, at = np.unique(cells, return_inverse=True)
    combined = np.zeros(len(pairs), dtype=np.int64)
    np.bitwise_or.at(combined, at, np.int64(1) << bits)
    members, counts = np.unique(combined, return_counts=True)
    return members.tolist(), counts.tolist()
