"""Means over users of several models' metrics, with intervals and differences, from one pass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql.types import StringType, StructField, StructType

from recsys_spark.arrow import list_bounds
from recsys_spark.evaluation.comparison import COMPARISON, comparison_rows, paired_sums
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
from recsys_spark.evaluation.totals import Result, Totals
from recsys_spark.kernels.resampling import poisson_weights, random_signs
from recsys_spark.schema import METRICS as TABLE

METRICS_TOTAL, PAIRS_TOTAL = "metrics", "pairs"
PAIRS = StructType([StructField("model", StringType()), *COMPARISON.fields])
# Where totals keep the sums of `paired_sums`, and how they share the place, where not equally.
_PAIRED = {
    "users": ("users", "higher", "lower"),
    "sums": ("one", "other", "squares"),
    "resampled": ("resampled", "flipped"),
}
_SHARES = {"resampled": [2, 1]}


@dataclass(frozen=True)
class Means:
    """How means over users are made: resamples, seed of the Poisson bootstrap over users.

    paired: the comparison that is made beside them, user by user; it needs resamples.
    """

    resamples: int
    seed: int
    paired: "Paired | None" = None


@dataclass(frozen=True)
class Paired:
    """The model that all others are compared with, by a metric at a cut-off."""

    model: str
    metric: str
    k: int


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
        if means.paired is not None:
            yield from _compared(by_rows, means.paired, weights, means.seed, some)
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
        (METRICS_TOTAL, model, k, segment)
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


def _compared(
    by_rows: Mapping[tuple[str, bytes], list[tuple[str, Rows]]],
    paired: Paired,
    weights: Values,
    seed: int,
    batch: pa.RecordBatch,
) -> Iterator[tuple[Keys, Sums]]:
    """The sums of all other models beside the one of `paired`, a key each.

    Their arrays are put behind one another, under the names that totals have.
    """
    values = {
        model: rows.metrics[paired.metric][:, list(rows.k).index(paired.k)]
        for (segment, _), found in by_rows.items()
        for model, rows in found
        if segment == ALL and rows.k is not None
    }
    own = values.pop(paired.model)
    if values:
        others = np.stack(list(values.values()), axis=1)
        signs = random_signs(seed, batch.column("hash").to_numpy(), weights.shape[1])
        sums = paired_sums(others, np.repeat(own[:, None], len(values), axis=1), weights, signs)
        yield (
            tuple((PAIRS_TOTAL, model, paired.k, ALL) for model in values),
            {
                name: np.concatenate([sums[part].reshape(-1, len(values)) for part in parts])[
                    ..., None
                ]
                for name, parts in _PAIRED.items()
            },
        )


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


def finish_means(run_id: str, split: str) -> Result:
    """What becomes of the sums of `total_metrics`: rows of the metrics table."""
    return partial(_with_split, as_rows(run_id, ALL_METRICS), split), TABLE


def finish_pairs(paired: Paired, split: str) -> Result:
    """What becomes of its sums of pairs: the comparison of the other models with that of `paired`.

    Columns model, and those of `evaluation.compare`, without correction for their number.
    """
    return partial(_pair, paired, split), PAIRS


def _pair(paired: Paired, split: str, key: dict[str, Any], sums: Sums) -> Mapping[str, Any]:
    parts: Sums = {}
    for name, names in _PAIRED.items():
        shares = _SHARES.get(name, [1] * len(names))
        bounds = np.cumsum(shares)[:-1] * len(sums[name]) // sum(shares)
        parts |= dict(zip(names, np.split(sums[name], bounds), strict=True))
    rows = comparison_rows([paired.metric])(key | {"split": split}, parts)
    return {name: own for name, own in rows.items() if name in PAIRS.names}


def _with_split(finish: Finish, split: str, key: dict[str, Any], sums: Sums) -> Mapping[str, Any]:
    return finish(key | {"split": split}, sums)
