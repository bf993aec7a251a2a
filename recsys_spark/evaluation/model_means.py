"""Means over users of several models' metrics, with intervals and differences, from one pass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql.types import StringType, StructField, StructType

from recsys_spark.arrow import list_bounds
from recsys_spark.evaluation.comparison import COMPARISON, comparison_rows, paired_sums
from recsys_spark.evaluation.model_metrics import (
    ALL_METRICS,
    Mask,
    Metrics,
    Rows,
    Values,
    Whole,
)
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.evaluation.resamples import NUMBERS_AT_ONCE, resampled_sums, whole_sums
from recsys_spark.evaluation.summary import as_rows
from recsys_spark.evaluation.sums import Finish, Keys, Sums
from recsys_spark.evaluation.totals import Ranked, Result, Totals
from recsys_spark.kernels.metrics.resampling import poisson_weights, random_signs
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

    @property
    def users_at_once(self) -> int:
        """So many users' weights are held at a time."""
        return max(1, NUMBERS_AT_ONCE // max(1, self.resamples))


@dataclass(frozen=True)
class Paired:
    """The model that all others are compared with, by a metric at a cut-off."""

    model: str
    metric: str
    k: int


def total_metrics(means: Means) -> Totals:
    """Sums over users of all metrics, and of their resamples, by model, cut-off and segment."""
    return partial(_totals, means)


def _totals(means: Means, ranked: Ranked) -> Iterator[tuple[Keys, Sums]]:
    users = ranked.batch.column("hash").to_numpy()
    weights = poisson_weights(means.seed, users, means.resamples)
    if means.paired is not None:
        yield from _compared(ranked.metrics, means.paired, weights, means.seed, users)
    by_rows: dict[tuple[str, bytes], list[tuple[str, Rows]]] = {}
    for model, found in ranked.metrics.items():
        for rows in found:
            by_rows.setdefault((rows.segment, rows.users.tobytes()), []).append((model, rows))
    segments = _segments(ranked.batch.column("segments"))
    for (segment, _), same in by_rows.items():
        if segment == ALL:
            yield from _summed_by_segment(same, segments, weights)
        else:
            every = np.ones(len(users), dtype=bool)
            yield _summed(same, _wide(same), segment, every, weights)


def _summed_by_segment(
    found: list[tuple[str, Rows]], segments: "_Segments", weights: Values
) -> Iterator[tuple[Keys, Sums]]:
    """The sums of every segment and of all users.

    Those of all users are added up from the users' first segments: the sums are exact, and these
    segments are needed anyway.
    """
    users, values = found[0][1].users, _wide(found)
    for name, own in segments.first.items():
        if own[users].any():
            keys, sums = _summed(found, values, name, own, weights)
            yield tuple((*key[:-1], ALL) for key in keys), sums
            if name is not None:
                yield keys, {part: array.copy() for part, array in sums.items()}
    for name, own in segments.further.items():
        if own[users].any():
            yield _summed(found, values, name, own, weights)


def _wide(found: list[tuple[str, Rows]]) -> Values:
    """All metrics of rows that have the same users, (users, models and cut-offs, metrics)."""
    return np.concatenate([rows.of(ALL_METRICS) for _, rows in found], axis=1)


def _summed(
    found: list[tuple[str, Rows]], values: Values, segment: str | None, own: Mask, weights: Values
) -> tuple[Keys, Sums]:
    """The sums of some users over rows that have the same users. values: from `_wide`."""
    keys = tuple(
        (METRICS_TOTAL, model, k, segment)
        for model, rows in found
        for k in ([None] if rows.k is None else rows.k.tolist())
    )
    mask = found[0][1].users
    values = values[own[mask]]
    chosen = weights if (own & mask).all() else weights[own & mask]
    return keys, {
        "users": (~np.isnan(values)).sum(axis=0),
        "sums": whole_sums(values),
        "resampled": resampled_sums(chosen, values),
    }


def _compared(
    metrics: Metrics, paired: Paired, weights: Values, seed: int, users: Whole
) -> Iterator[tuple[Keys, Sums]]:
    """The sums of all other models beside the one of `paired`, a key each.

    Their arrays are put behind one another, under the names that totals have.
    """
    values = {
        model: rows.metrics[paired.metric][:, list(rows.k).index(paired.k)]
        for model, found in metrics.items()
        for rows in found
        if rows.segment == ALL and rows.k is not None
    }
    own = values.pop(paired.model)
    if values:
        others = np.stack(list(values.values()), axis=1)
        signs = random_signs(seed, users, weights.shape[1])
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


class _Segments(NamedTuple):
    """Which users are in each segment, (users,).

    first: users whose first one it is, under None those without any. further: its others.
    """

    first: dict[str | None, Mask]
    further: dict[str, Mask]


def _segments(lists: pa.ListArray) -> _Segments:
    """The segments of some users."""
    lengths, encoded = np.diff(list_bounds(lists)), lists.flatten().dictionary_encode()
    user_of, codes = np.repeat(np.arange(len(lists)), lengths), encoded.indices.to_numpy()
    is_first = np.diff(user_of, prepend=-1) > 0
    first: dict[str | None, Mask] = {None: lengths == 0} if (lengths == 0).any() else {}
    further: dict[str, Mask] = {}
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        for found, chosen in ((first, is_first), (further, ~is_first)):
            users = user_of[(codes == code) & chosen]
            if len(users):
                found[name] = np.zeros(len(lists), dtype=bool)
                found[name][users] = True
    return _Segments(first, further)


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
