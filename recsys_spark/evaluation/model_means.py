"""Means over users of all metrics of several models, with their intervals, from one pass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.arrow import list_bounds
from recsys_spark.evaluation.model_metrics import (
    ALL_METRICS,
    Mask,
    Measures,
    Rows,
    Values,
    read_users,
    rows_of_model,
)
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.evaluation.resamples import NUMBERS_AT_ONCE, resampled_sums, whole
from recsys_spark.evaluation.summary import as_rows
from recsys_spark.evaluation.sums import Finish, Keys, Sums
from recsys_spark.evaluation.totals import Totals, merge_totals
from recsys_spark.kernels.resampling import poisson_weights
from recsys_spark.schema import METRICS as TABLE

_METRICS = "metrics"


@dataclass(frozen=True)
class Means:
    """How means over users are made: resamples, seed of the Poisson bootstrap over users."""

    resamples: int
    seed: int


def total_metrics(measures: Measures, means: Means) -> Totals:
    """Sums over users of all metrics, and of their resamples, by model, cut-off and segment.

    Batches have the columns of `rank_models`, and segments (array<string>), which the user is in
    beside that of all.
    """
    return partial(_totals, measures, means)


def _totals(measures: Measures, means: Means, batch: pa.RecordBatch) -> Iterator[tuple[Keys, Sums]]:
    at_once = max(1, NUMBERS_AT_ONCE // max(1, means.resamples))
    for first in range(0, batch.num_rows, at_once):
        some = batch.slice(first, at_once)
        users = read_users(some, measures)
        weights = poisson_weights(means.seed, some.column("hash").to_numpy(), means.resamples)
        by_rows: dict[tuple[str, bytes], list[tuple[str, Rows]]] = {}
        for at, model in enumerate(measures.models):
            for rows in rows_of_model(users, at, measures):
                by_rows.setdefault((rows.segment, rows.users.tobytes()), []).append((model, rows))
        further = list(_segments(some))
        for (segment, _), found in by_rows.items():
            every = np.ones(some.num_rows, dtype=bool)
            for name, own in [(segment, every), *(further if segment == ALL else [])]:
                if own[found[0][1].users].any():
                    yield _summed(found, name, own, weights)


def _summed(
    found: list[tuple[str, Rows]], segment: str, own: Mask, weights: Values
) -> tuple[Keys, Sums]:
    """The sums of some users over rows that have the same users."""
    keys = tuple(
        (_METRICS, model, k, segment)
        for model, rows in found
        for k in ([None] if rows.k is None else rows.k.tolist())
    )
    mask = found[0][1].users
    values = np.concatenate([rows.wide[own[mask]] for _, rows in found], axis=1)
    chosen = weights if (own & mask).all() else weights[own & mask]
    return keys, {
        "users": (~np.isnan(values)).sum(axis=0),
        "sums": whole(values).sum(axis=0),
        "resampled": resampled_sums(chosen, values),
    }


def _segments(batch: pa.RecordBatch) -> Iterator[tuple[str, Mask]]:
    """The segments that some of the users are in, and who."""
    lists = batch.column("segments")
    user_of = np.repeat(np.arange(len(lists)), np.diff(list_bounds(lists)))
    encoded = lists.flatten().dictionary_encode()
    codes = encoded.indices.to_numpy()
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        own = np.zeros(len(lists), dtype=bool)
        own[user_of[codes == code]] = True
        yield name, own


def summarise_models(ranked: DataFrame, run_id: str, split: str) -> DataFrame:
    """The metrics table of what `total_metrics` has added up: means and their 95 % intervals."""
    finish = as_rows(run_id, ALL_METRICS)
    return merge_totals(ranked, _METRICS, partial(_with_split, finish, split), TABLE)


def _with_split(finish: Finish, split: str, key: dict[str, Any], sums: Sums) -> Mapping[str, Any]:
    return finish(key | {"split": split}, sums)
