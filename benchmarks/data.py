"""Invented interactions for the benchmarks: power laws, counts, and communities to be learnt.

A user's rows follow from the seed and the user's id alone, so any range of users can be made
anywhere, in any order. `python benchmarks/data.py --case wide` only fills the cache.
"""

import argparse
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from recsys_spark.kernels.random import uniform

Ints = npt.NDArray[np.int64]

CACHE = Path(__file__).parent / ".cache"
SCHEMA = pa.schema([("user", pa.int32()), ("item", pa.int32()), ("rating", pa.float32())])
FILES = 16  # of a saved data set, so that Spark reads it in parallel

_VERSION = 2  # of the recipe: part of the key of a saved data set
_CALIBRATED_ON = 200_000  # users
_ROW_GROUP = 500_000
_COMMUNITIES = 32
_SHARES = np.cumsum([0.5, 0.25, 0.1])  # of a user's three communities; the rest is from anywhere
_MOST = 100.0  # the largest count


@dataclass(frozen=True)
class Shape:
    """What is invented; the skews are exponents of power laws, other than 1."""

    users: int
    items: int
    interactions: int
    user_skew: float = 0.7
    item_skew: float = 1.1
    seed: int = 1


CASES = {
    "wide": Shape(users=138_000, items=27_000, interactions=15_000_000),
    "sparse": Shape(users=30_000, items=40_000, interactions=1_000_000),
    "small": Shape(users=600, items=9_700, interactions=80_000),
    "smoke": Shape(users=5_000, items=2_000, interactions=200_000),
}


def saved(shape: Shape, cache: Path = CACHE) -> Path:
    """The folder of Parquet files with these interactions, made now unless it is there."""
    folder = cache / key(shape)
    if folder.exists():
        return folder
    making = folder.with_suffix(f".{os.getpid()}")
    making.mkdir(parents=True)
    edges = np.linspace(0, shape.users, FILES + 1).astype(int).tolist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, done in enumerate(
            [pool.submit(pairs, shape, *ends) for ends in pairwise(edges)]
        ):
            pq.write_table(
                done.result(), making / f"part-{number:02}.parquet", row_group_size=_ROW_GROUP
            )
    try:
        making.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(making)
    return folder


def key(shape: Shape) -> str:
    """A folder's name that follows from the parameters."""
    content = json.dumps([_VERSION, asdict(shape)])
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    return f"{shape.users}x{shape.items}x{shape.interactions}-{digest}"


def read_matrix(folder: Path, shape: Shape) -> sp.csr_matrix:
    """The saved interactions, users by items, single precision."""
    table = pq.read_table(folder)
    counts = np.bincount(table["user"].to_numpy(), minlength=shape.users)
    indptr = np.append(0, np.cumsum(counts))
    content = (table["rating"].to_numpy(), table["item"].to_numpy(), indptr)
    return sp.csr_matrix(content, shape=(shape.users, shape.items))


def batches(shape: Shape, ranges: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of ascending users in column 0, batch by batch: the body of a `mapInArrow`."""
    for ids in ranges:
        if ids.num_rows:
            users = ids.column(0)
            yield from pairs(shape, users[0].as_py(), users[-1].as_py() + 1).to_batches()


def pairs(shape: Shape, start: int, stop: int) -> pa.Table:
    """Distinct pairs of the users start..stop-1, by ascending user."""
    ids = np.arange(start, stop)
    quota = _quotas(shape, ids)
    user = np.repeat(ids.astype(np.int32), quota)
    item = np.empty(len(user), dtype=np.int32)
    rating = np.empty(len(user), dtype=np.float32)
    item_of_rank, tops = _items(shape)
    _fill(start, quota, item_of_rank, tops, _SHARES, shape.item_skew, shape.seed, item, rating)
    return pa.table([user, item, rating], schema=SCHEMA)


def _quotas(shape: Shape, ids: Ints) -> Ints:
    """Interactions of each user, rounded up or down by lot."""
    lot = uniform(shape.seed, 1, ids, 1)[:, 0]
    return np.floor(_activity(shape, ids, _scale(shape)) + lot).astype(np.int64)


def _activity(shape: Shape, ids: Ints, scale: float) -> npt.NDArray[np.float64]:
    place = uniform(shape.seed, 0, ids, 1)[:, 0]
    return np.clip(scale * place**-shape.user_skew, 1, max(1, shape.items // 4))


@lru_cache
def _scale(shape: Shape) -> float:
    """The scale at which the (first) users have the wanted mean."""
    ids = np.arange(min(shape.users, _CALIBRATED_ON))
    low, high = 0.0, float(shape.items)
    for _ in range(60):
        middle = (low + high) / 2
        enough = _activity(shape, ids, middle).mean() >= shape.interactions / shape.users
        low, high = (low, middle) if enough else (middle, high)
    return high


@lru_cache
def _items(shape: Shape) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The item of each popularity rank, and the norm of each community's power law.

    Ranks g, g + 32, g + 64, ... are community g's, so that each has popular and rare items.
    """
    order = np.random.default_rng(shape.seed).permutation(shape.items).astype(np.int32)
    sizes = (shape.items + _COMMUNITIES - 1 - np.arange(_COMMUNITIES)) // _COMMUNITIES
    return order, (sizes + 1.0) ** (1 - shape.item_skew) - 1


@numba.njit(cache=True, nogil=True)
def _mix(x):
    """The finaliser of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _unit(state):
    """A number in (0, 1) of a one-element state, which moves on."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    return (float(_mix(state[0]) >> np.uint64(11)) + 0.5) * 2.0**-53


@numba.njit(cache=True, nogil=True)
def _draw(state, group, tops, skew, size):
    """A popularity rank of a community."""
    place = (1 + _unit(state) * tops[group]) ** (1 / (1 - skew)) - 1
    return min(int(place) * len(tops) + group, size - 1)


@numba.njit(cache=True, nogil=True)
def _fill(start, quota, item_of_rank, tops, shares, skew, seed, item, rating):
    size = len(item_of_rank)
    seen = np.full(size, -1, np.int64)
    state = np.empty(1, np.uint64)
    liked = np.empty(len(shares), np.int64)
    at = 0
    for row in range(len(quota)):
        state[0] = _mix(_mix(np.uint64(seed)) + np.uint64(start + row))
        for k in range(len(shares)):
            liked[k] = int(_unit(state) * len(tops))
        for _ in range(quota[row]):
            taste = np.searchsorted(shares, _unit(state))
            rank, tries = -1, 0
            while tries < 4 and (rank < 0 or seen[rank] == row):
                group = liked[taste] if taste < len(liked) else int(_unit(state) * len(tops))
                rank = _draw(state, group, tops, skew, size)
                tries += 1
            if seen[rank] == row:  # the popular ones are used up: the next unseen from anywhere
                rank = int(_unit(state) * size)
                while seen[rank] == row:
                    rank = (rank + 1) % size
            seen[rank] = row
            item[at] = item_of_rank[rank]
            liking = 1.5 if taste < len(liked) else 0.5
            rating[at] = min(_MOST, 1 + np.floor(liking * (_unit(state) ** -0.5 - 1)))
            at += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, default="smoke")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    started = time.perf_counter()
    shape = CASES[options.case]
    folder = saved(shape, options.cache)
    seconds = time.perf_counter() - started
    matrix = read_matrix(folder, shape)
    lengths = {"user": np.diff(matrix.indptr), "item": matrix.getnnz(axis=0)}
    print(f"{folder.name}: {matrix.nnz:,} interactions, {seconds:.1f} s")
    for side, length in lengths.items():
        print(
            f"  per {side}: mean {length.mean():.1f}, median {np.median(length):.0f}, "
            f"least {length.min()}, most {length.max():,}, none {np.sum(length == 0):,}"
        )


if __name__ == "__main__":
    main()
