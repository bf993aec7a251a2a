"""Invented users, items and interactions with a planted truth, each a function of its ids alone.

Every number is drawn from (seed, stream, id), and every sum has a fixed order, so a user's rows
do not depend on which other users share a slice, a batch or a machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, auto
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.random import normal, uniform

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GENRES = 12
MEAN_RATING = 3.2  # stars; the observed mean is higher, because people choose what they like
USER_BIAS_SD = 0.3
ITEM_BIAS_SD = 0.35
FIRST_SECOND = 1_704_067_200  # 2024-01-01 UTC
SECONDS = 731 * 86_400  # the years 2024 and 2025

_FACTOR_SCALE = 1.5  # stars between a perfect match and indifference
_GENRE_PART = 0.8  # of a factor vector's length; the rest is the individual's own
_SECOND_GENRE = 0.4  # share of the items that have one
_POOL = 8.0  # distinct candidates per kept interaction
_AFFINITY_WEIGHT = 3.0  # log-odds of choosing an item, per star of affinity
_COUNT_TAIL = 2.0  # Pareto exponent of the counts
_CAP_DIVISOR = 4  # no user rates more than one in four items unless the total demands it
_SLICE = 1 << 18  # candidates worked on at once; the temporary arrays then fit a cache
_SLICE_USERS = 1 << 12
_POSITIONS = 1 << 26


class Stream(IntEnum):
    """One stream of random numbers for each purpose."""

    USER_RANK = auto()
    ITEM_RANK = auto()
    TITLE = auto()
    CENTROID = auto()
    USER_GENRE = auto()
    USER_BIAS = auto()
    USER_OWN = auto()
    USER_ATTRIBUTES = auto()
    ITEM_GENRE = auto()
    ITEM_BIAS = auto()
    ITEM_OWN = auto()
    QUOTA = auto()
    CANDIDATE = auto()
    CHOICE = auto()
    NOISE = auto()
    TAIL = auto()
    TIME = auto()
    BROKEN = auto()


@dataclass(frozen=True)
class Population:
    """What is invented; `noise` is in stars, the skews are the exponents of power laws."""

    users: int
    items: int
    interactions: int
    rank: int
    noise: float
    user_skew: float
    item_skew: float
    explicit: bool
    seed: int

    def __post_init__(self) -> None:
        if self.items > _POSITIONS // 2:
            raise ValueError(f"at most {_POSITIONS // 2} items can be generated")


@dataclass(frozen=True)
class Truth:
    """Planted parameters of n ids: bias (n,), factors (rank, n), genre (n,), second (n,) or -1.

    Factors are stored by component, because the kernels gather one component at a time.
    """

    bias: Floats
    factors: Floats
    genre: Ints
    second: Ints


@dataclass(frozen=True)
class Catalog:
    """The item side, made once a task.

    item_of_rank, popularity, cumulative: (items,), by descending popularity. reach and draws:
    (items + 1,), the number of distinct items that so many draws are expected to reach.
    truth: by item.
    """

    item_of_rank: Ints
    popularity: Floats
    cumulative: Floats
    reach: Floats
    draws: Floats
    truth: Truth


@dataclass(frozen=True)
class Sample:
    """Interactions by ascending user, then time: user, item, value, timestamp (seconds), (n,)."""

    user: Ints
    item: Ints
    value: Floats
    timestamp: Ints


@dataclass(frozen=True)
class Candidates:
    """Distinct pairs by ascending user: row in the slice, item, and log of the item's weight."""

    row: Ints
    item: Ints
    log_weight: Floats


def permute(seed: int, stream: int, ids: Ints, size: int) -> Ints:
    """Images of `ids` under a keyed permutation of 0..size-1, without a table of that size.

    A four-round Feistel network on the next even number of bits; values that fall outside walk
    on until they fall inside (Black, Rogaway 2002).
    """
    half = max(1, (int(size - 1).bit_length() + 1) // 2)
    out = _feistel(seed, stream, ids, half)
    while (outside := out >= size).any():
        out[outside] = _feistel(seed, stream, out[outside], half)
    return out


def _feistel(seed: int, stream: int, ids: Ints, half: int) -> Ints:
    left, right = ids >> half, ids & ((1 << half) - 1)
    for turn in range(4):
        mask = uniform(seed, stream, right * 4 + turn, 1)[:, 0] * (1 << half)
        # A uniform number may round up to 1, so the mask is cut to its bits.
        left, right = right, left ^ (mask.astype(np.int64) & ((1 << half) - 1))
    return (left << half) | right


def choice(seed: int, stream: int, ids: Ints, count: int, sizes: tuple[int, ...]) -> list[Ints]:
    """One array of whole numbers below each of `sizes`, each (n,); `count` draws are made."""
    u = uniform(seed, stream, ids, count)
    return [np.minimum((u[:, k] * size).astype(np.int64), size - 1) for k, size in enumerate(sizes)]


def user_truth(population: Population, ids: Ints) -> Truth:
    """Biases, factors and favourite genres of users."""
    (genre,) = choice(population.seed, Stream.USER_GENRE, ids, 1, (GENRES,))
    bias = USER_BIAS_SD * normal(population.seed, Stream.USER_BIAS, ids, 1)[:, 0]
    direction = _centroids(population)[:, genre]
    factors = _factors(population, Stream.USER_OWN, ids, direction)
    return Truth(bias, factors, genre, np.full(len(ids), -1))


def item_truth(population: Population, ids: Ints) -> Truth:
    """Biases, factors and genres of items; a second genre counts half as much as the first."""
    genre, step, lot = choice(
        population.seed, Stream.ITEM_GENRE, ids, 3, (GENRES, GENRES - 1, 1000)
    )
    second = np.where(lot < 1000 * _SECOND_GENRE, (genre + 1 + step) % GENRES, -1)
    bias = ITEM_BIAS_SD * normal(population.seed, Stream.ITEM_BIAS, ids, 1)[:, 0]
    centroids = _centroids(population)
    direction = centroids[:, genre] + 0.5 * np.where(second >= 0, centroids[:, second], 0.0)
    direction /= np.maximum(np.sqrt(_dot(direction, direction)), 1e-3)
    return Truth(bias, _factors(population, Stream.ITEM_OWN, ids, direction), genre, second)


def _centroids(population: Population) -> Floats:
    """Unit vectors, one column a genre: (rank, GENRES)."""
    raw = normal(population.seed, Stream.CENTROID, np.arange(GENRES), population.rank).T
    centroids: Floats = raw / np.sqrt(_dot(raw, raw))
    return centroids


def _factors(population: Population, stream: int, ids: Ints, direction: Floats) -> Floats:
    """Factors (rank, n): the genre's direction and an own part, about sqrt(_FACTOR_SCALE) long."""
    own = normal(population.seed, stream, ids, population.rank).T
    share = np.sqrt((1.0 - _GENRE_PART**2) / population.rank)
    factors: Floats = np.sqrt(_FACTOR_SCALE) * (_GENRE_PART * direction + share * own)
    return np.ascontiguousarray(factors)


def _dot(left: Floats, right: Floats) -> Floats:
    """Column-wise dot products, summed in a fixed order: BLAS would add by the slice's shape."""
    total: Floats = left[0] * right[0]
    for k in range(1, len(left)):
        total += left[k] * right[k]
    return total


def catalog(population: Population) -> Catalog:
    """The item side: popularity falls as (rank + 1) ** -item_skew over permuted items."""
    ids = np.arange(population.items)
    item_of_rank = np.empty_like(ids)
    item_of_rank[permute(population.seed, Stream.ITEM_RANK, ids, population.items)] = ids
    weights = (ids + 1.0) ** -population.item_skew
    popularity = weights / weights.sum()
    cumulative = np.cumsum(popularity)
    reach, draws = _reach(popularity)
    truth = item_truth(population, ids)
    return Catalog(item_of_rank, popularity, cumulative, reach, draws, truth)


def _reach(popularity: Floats) -> tuple[Floats, Floats]:
    """Distinct items expected of D stratified draws, sum of min(1, D p), at its corners D = 1/p.

    It is linear in D between the corners, so that interpolation inverts it exactly.
    """
    draws = 1.0 / popularity
    tail = np.append(np.cumsum(popularity[:0:-1])[::-1], 0.0)  # 1 - cumulative, to all digits
    reach = np.arange(1, len(popularity) + 1) + draws * tail
    return np.append(0.0, reach), np.append(0.0, draws)


def activity_scale(population: Population) -> float:
    """c such that the quotas, c * rank ** -user_skew cut to 1..cap, add up to `interactions`.

    The sum runs over at most a few thousand ranks with the trapezoidal rule, which is exact for
    few users and off by less than one in a thousand for many.
    """
    ranks = np.unique(np.geomspace(1, population.users, 4096).round())
    shares = ranks**-population.user_skew
    low, high = 0.0, np.log(quota_cap(population)) - np.log(shares[-1])
    for _ in range(60):
        middle = (low + high) / 2
        quota = np.clip(np.exp(middle) * shares, 1, quota_cap(population))
        inner = (np.diff(ranks) * (quota[1:] + quota[:-1])).sum()
        if (inner + quota[0] + quota[-1]) / 2 < population.interactions:
            low = middle
        else:
            high = middle
    return float(np.exp(high))


def quota_cap(population: Population) -> int:
    """Most interactions of one user; all items where `interactions` needs or exceeds that."""
    mean = -(-population.interactions // population.users)
    return min(population.items, max(population.items // _CAP_DIVISOR, 2 * mean, 1))


def quotas(population: Population, scale: float, ids: Ints) -> Ints:
    """Interactions of each user, at least one, rounded up or down by lot: (n,)."""
    cap = quota_cap(population)
    rank = permute(population.seed, Stream.USER_RANK, ids, population.users)
    exact = np.clip(scale * (rank + 1.0) ** -population.user_skew, 1, cap)
    lot = uniform(population.seed, Stream.QUOTA, ids, 1)[:, 0]
    whole: Ints = np.minimum(np.floor(exact + lot).astype(np.int64), cap)
    return whole


def sample(population: Population, items: Catalog, scale: float, ids: Ints) -> Iterator[Sample]:
    """Interactions of the users `ids`, ascending, in slices of bounded size.

    `scale` is activity_scale(population). No pair occurs twice. A user may fall short of the
    quota by a few where draws met the same item.
    """
    quota = quotas(population, scale, ids)
    wanted = np.minimum(_POOL * quota, population.items)
    exact = np.ceil(np.interp(wanted, items.reach, items.draws))
    draws = np.clip(exact, quota, population.items).astype(np.int64)
    for part in _slices(draws):
        yield _sample_slice(population, items, ids[part], quota[part], draws[part])


def _slices(costs: Ints) -> Iterator[slice]:
    """Ranges of about _SLICE summed costs (or one user), and of at most _SLICE_USERS users."""
    cumulative = np.cumsum(costs + _SLICE // _SLICE_USERS)
    bounds = np.flatnonzero(np.diff(cumulative // _SLICE)) + 1
    edges = [0, *bounds.tolist(), len(costs)]
    for start, stop in pairwise(edges):
        if stop > start:
            yield slice(start, stop)


def _sample_slice(
    population: Population, items: Catalog, ids: Ints, quota: Ints, draws: Ints
) -> Sample:
    pool = _candidates(population, items, ids, draws)
    users = user_truth(population, ids)
    pairs = ids[pool.row] * population.items + pool.item
    affinity = _affinity(users.factors, pool.row, items.truth.factors, pool.item)
    kept = _choose(population.seed, pool, pairs, affinity, quota)
    row, item, pairs = pool.row[kept], pool.item[kept], pairs[kept]
    score = users.bias[row] + items.truth.bias[item] + affinity[kept]
    value = _ratings(population, pairs, score)
    moment = uniform(population.seed, Stream.TIME, pairs, 1)[:, 0]
    timestamp = FIRST_SECOND + np.minimum((moment * SECONDS).astype(np.int64), SECONDS - 1)
    order = _order(row, moment)
    return Sample(ids[row][order], item[order], value[order], timestamp[order])


def _candidates(population: Population, items: Catalog, ids: Ints, draws: Ints) -> Candidates:
    """Distinct items of each user, by popularity; users with as many draws as items get all.

    Draw j of D falls into [j / D, (j + 1) / D): stratified draws come in ascending order, so
    that equal ones are neighbours and no sorting is needed, and reach more distinct items.
    """
    size = population.items
    row = np.repeat(np.arange(len(ids)), draws)
    draw = np.arange(len(row)) - np.repeat(np.cumsum(draws) - draws, draws)
    u = uniform(population.seed, Stream.CANDIDATE, ids[row] * _POSITIONS + draw, 1)[:, 0]
    place = (draw + u) / draws[row]
    rank = np.minimum(np.searchsorted(items.cumulative, place, side="right"), size - 1)
    dense = (draws >= size)[row]
    rank = np.where(dense, draw, rank)
    first = np.flatnonzero(np.append(True, (rank[1:] != rank[:-1]) | (row[1:] != row[:-1])))
    count = np.diff(np.append(first, len(row))).astype(np.float64)
    row, rank = row[first], rank[first]
    weight = np.where(dense[first], items.popularity[rank] * size, count)
    return Candidates(row, items.item_of_rank[rank], np.log(weight))


def _affinity(left: Floats, rows: Ints, right: Floats, columns: Ints) -> Floats:
    """Dot products of left[:, rows] and right[:, columns] (rank, n), in a fixed order: (n,)."""
    total: Floats = left[0][rows] * right[0][columns]
    for k in range(1, len(left)):
        total += left[k][rows] * right[k][columns]
    return total


def _choose(seed: int, pool: Candidates, pairs: Ints, affinity: Floats, quota: Ints) -> Ints:
    """Positions of each user's `quota` best candidates by log weight + affinity + Gumbel noise.

    That is drawing without replacement with odds popularity * exp(affinity) (Plackett-Luce).
    """
    gumbel = -np.log(-np.log(uniform(seed, Stream.CHOICE, pairs, 1)[:, 0]))
    score = pool.log_weight + _AFFINITY_WEIGHT * affinity + gumbel
    order = _order(pool.row, np.clip((64.0 - score) / 128.0, 0.0, 1.0))
    counts = np.bincount(pool.row, minlength=len(quota))
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen: Ints = order[place < quota[pool.row]]
    return chosen


def _order(row: Ints, number: Floats) -> Ints:
    """Positions sorted by row, then by number in 0..1 to 26 bits, then by position.

    One sort of packed whole numbers: several times faster than lexsort, and without ties.
    """
    digits = np.minimum((number * _POSITIONS).astype(np.int64), _POSITIONS - 1)
    key = (row.astype(np.uint64) << np.uint64(52)) | (digits.astype(np.uint64) << np.uint64(26))
    key |= np.arange(len(row), dtype=np.uint64)
    key.sort()
    return (key & np.uint64(_POSITIONS - 1)).astype(np.int64)


def _ratings(population: Population, pairs: Ints, score: Floats) -> Floats:
    """Half stars from 0.5 to 5, or counts of 1 and more with a Pareto tail: (n,)."""
    noisy = score + population.noise * normal(population.seed, Stream.NOISE, pairs, 1)[:, 0]
    if population.explicit:
        stars: Floats = np.clip(np.round(2.0 * (MEAN_RATING + noisy)) / 2.0, 0.5, 5.0)
        return stars
    tail = uniform(population.seed, Stream.TAIL, pairs, 1)[:, 0] ** (-1.0 / _COUNT_TAIL)
    counts: Floats = 1.0 + np.floor(np.exp(noisy) * (tail - 1.0))
    return counts


def broken_copies(seed: int, users: Ints, fraction: float, kinds: int) -> tuple[Ints, Ints]:
    """Where to mix broken copies into rows of ascending `users` so that they are `fraction`.

    Returns, for each row of the mixture, the clean row it is or was copied from, and the kind
    of damage, which cycles over 0..kinds-1 within a user; -1 for the clean row itself.
    """
    _, starts, counts = np.unique(users, return_index=True, return_counts=True)
    place = np.arange(len(users)) - np.repeat(starts, counts)
    ratio = fraction / (1.0 - fraction)
    lot = uniform(seed, Stream.BROKEN, users, 1)[:, 0]
    before = np.floor(place * ratio + lot).astype(np.int64)
    copies = np.floor((place + 1) * ratio + lot).astype(np.int64) - before
    row = np.repeat(np.arange(len(users)), copies + 1)
    copy = np.arange(len(row)) - np.repeat(np.cumsum(copies + 1) - copies - 1, copies + 1)
    kind = (users[row] + before[row] + copy - 1) % kinds
    return row, np.where(copy > 0, kind, -1)
