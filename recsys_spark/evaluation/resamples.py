"""Sums over users that add up exactly, and over resamples of the users, of many columns at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys_spark.arrow import list_bounds
from recsys_spark.evaluation.sums import Key, Keys, Sums
from recsys_spark.kernels.metrics.resampling import limits, rounded_sums

# Means are added up as whole numbers of 2^-30. Resamples are doubles, multiples of 2^-24, which
# they hold exactly up to sums of half a billion.
EXACT, RESAMPLED = 2.0**30, 2.0**24
NUMBERS_AT_ONCE = 8_000_000  # weights of users in resamples, 64 MB

Values = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def sums_of_users(
    keys: Sequence[str],
    values: Sequence[str],
    resamples: int,
    sums: Callable[[Codes, Values], Mapping[str, npt.NDArray[Any]]],
) -> Callable[[pa.RecordBatch], Iterator[tuple[Keys, Sums]]]:
    """The `parts` of `sum_by_key`, for keys whose last column is the segment.

    Batches have columns user (a number), segments (all that the row belongs to), the other keys,
    and the values, null where a user has none. sums: of user numbers and of values of shape
    (users, other keys, values), the arrays to add up, of shape (..., other keys, metrics).
    """
    at_once = max(1, NUMBERS_AT_ONCE // max(1, resamples))

    def parts(batch: pa.RecordBatch) -> Iterator[tuple[Keys, Sums]]:
        for first in range(0, batch.num_rows, at_once):
            some = batch.slice(first, at_once)
            users = some.column("user").to_numpy()
            names, of_name = _distinct(some, keys[:-1])
            content = np.column_stack([_numbers(some.column(name)) for name in values])
            for segment, rows in _by_segment(some.column("segments")):
                own, of_user = np.unique(users[rows], return_inverse=True)
                here, of_key = np.unique(of_name[rows], return_inverse=True)
                wide = np.full((len(own), len(here), len(values)), np.nan)
                wide[of_user, of_key] = content[rows]
                yield tuple((*names[at], segment) for at in here), dict(sums(own, wide))

    return parts


def _numbers(column: pa.Array) -> Values:
    """Numbers with NaN where there is none."""
    values: Values = column.to_numpy(zero_copy_only=False)
    return values


def _distinct(batch: pa.RecordBatch, columns: Sequence[str]) -> tuple[list[Key], Codes]:
    """The distinct rows of the columns, in a fixed order, and which of them each row has."""
    codes = np.zeros(batch.num_rows, dtype=np.int64)
    for name in columns:
        encoded = batch.column(name).dictionary_encode(null_encoding="encode")
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
    _, first, of = np.unique(codes, return_index=True, return_inverse=True)
    chosen = batch.select(list(columns)).take(pa.array(first)).columns
    names = list(zip(*(column.to_pylist() for column in chosen), strict=True))
    order = sorted(range(len(names)), key=lambda at: repr(names[at]))
    return [names[at] for at in order], np.argsort(order)[of]


def _by_segment(lists: pa.ListArray) -> Iterator[tuple[str, Codes]]:
    """The rows of each segment."""
    rows = np.repeat(np.arange(len(lists)), np.diff(list_bounds(lists)))
    encoded = lists.flatten().dictionary_encode()
    codes = encoded.indices.to_numpy()
    for code, segment in enumerate(encoded.dictionary.to_pylist()):
        yield segment, rows[codes == code]


def whole_sums(values: Values) -> Codes:
    """Sums over users, as whole numbers that add up exactly; NaN counts as 0."""
    return rounded_sums(values, EXACT)


def resampled_sums(weights: Values, values: Values) -> Values:
    """Sums of values in each resample, and of the weights of users who have one.

    weights: (users, resamples). values: (users, ...). Shape (2, resamples, ...).
    """
    flat = values.reshape(len(values), -1)
    known = ~np.isnan(flat)
    some, partly = known.any(axis=0), known.any(axis=0) & ~known.all(axis=0)
    rounded = np.rint(np.where(known[:, some], flat[:, some], 0.0) * RESAMPLED) / RESAMPLED
    out = np.zeros((2, weights.shape[1], flat.shape[1]))
    out[0][:, some] = weights.T @ rounded
    out[1][:, some] = weights.sum(axis=0)[:, None]
    out[1][:, partly] = weights.T @ known[:, partly].astype(np.float64)
    return out.reshape(2, -1, *values.shape[1:])


def resampled_limits(sums: Values, metrics: int) -> Values:
    """Limits of the means, (2, metrics), from sums like those of `resampled_sums`."""
    return limits(*sums.reshape(2, -1, metrics))
