"""Business rules of lists (`Policy`: items off sale, blocked pairs, few of a genre), by indices,
and their application to a catalog.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrow import list_bounds
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.rerank import ListRules, Popular, no_rules
from recsys_spark.topn.catalog import Catalog, Listing, Mask, Reserved, Segment


@dataclass(frozen=True)
class Policy:
    """removed: items that no list may have, from `removed_items`. blocked: columns user_id, item.

    genres: columns item and genres (array<string>), of each of which a list has at most
    max_per_genre items. min_score: the lowest score of the model that is listed. diversity: as of
    `ListRules`. popularity_discount: scores are divided by an item's popularity, that of the most
    popular being 1, to this power.

    segments: columns user_id, segment, once a user. popular_in: from `popular_in_segments`.
    allowed_in: columns segment, item; a segment with rows is listed these alone.

    new_items: column item; new_slots: of each list. tail_slots: the same for the least popular
    items that together have tail_share of all interactions.
    """

    removed: DataFrame | None = None
    blocked: DataFrame | None = None
    genres: DataFrame | None = None
    max_per_genre: int = 1
    min_score: float = -np.inf
    diversity: float = 0.0
    popularity_discount: float = 0.0
    segments: DataFrame | None = None
    popular_in: DataFrame | None = None
    allowed_in: DataFrame | None = None
    new_items: DataFrame | None = None
    new_slots: int = 0
    tail_share: float = 0.0
    tail_slots: int = 0

    @property
    def needs_all_factors(self) -> bool:
        """Whether its rules compare items, so that these cannot be ranked in tiles."""
        return self.reorders or self.genres is not None or self.popularity_discount > 0

    @property
    def reorders(self) -> bool:
        """Whether the model's part of a list may be in another order than that of its scores."""
        return self.diversity > 0 or self.new_slots > 0 or self.tail_slots > 0


def make_listing(catalog: Catalog, policy: Policy, n: int, fill: bool) -> Listing:
    """How lists of n are made of the catalog, the policy kept.

    What is known of items and of segments comes to the driver; users do not.
    """
    catalog = _discounted(catalog, policy.popularity_discount)
    rules, tail = list_rules(catalog, policy), _tail(catalog, policy.tail_share)
    if policy.removed is not None:
        catalog = without(catalog, policy.removed)
    reserved = []
    if policy.tail_slots:
        reserved.append(Reserved(tail & catalog.scored, policy.tail_slots))
    if policy.new_slots and policy.new_items is not None:
        new = catalog.mask(item_indices(policy.new_items)) & catalog.factors.any(axis=1)
        if policy.removed is not None:
            new &= ~catalog.mask(item_indices(policy.removed))
        reserved.append(Reserved(new, policy.new_slots))
    return Listing(catalog, n, fill, rules, _segments(catalog, policy), tuple(reserved))


def _discounted(catalog: Catalog, exponent: float) -> Catalog:
    if not exponent:
        return catalog
    most = catalog.popularity.max(initial=0.0)
    relative = np.where(catalog.popularity > 0, catalog.popularity, most) / (most or 1.0)
    factors = catalog.factors / relative[:, None] ** exponent
    return replace(catalog, factors=factors.astype(np.float32))


def _tail(catalog: Catalog, share: float) -> Mask:
    order = np.argsort(catalog.popularity, kind="stable")
    so_far = np.cumsum(catalog.popularity[order])
    tail = np.zeros(len(order), dtype=bool)
    tail[order[so_far <= share * so_far[-1:]]] = True
    return tail & (catalog.popularity > 0)


def _segments(catalog: Catalog, policy: Policy) -> dict[str, Segment]:
    """What segments have of their own, by name."""
    segments: dict[str, Segment] = {}
    if policy.popular_in is not None:
        table = policy.popular_in.toArrow()
        for name, (ids, shares) in _by_segment(table, "item", "share").items():
            segments[name] = Segment(_popular(catalog, ids.astype(np.int64), shares))
    if policy.allowed_in is not None:
        for name, (ids,) in _by_segment(policy.allowed_in.toArrow(), "item").items():
            own = segments.get(name, Segment())
            segments[name] = replace(own, allowed=catalog.mask(ids.astype(np.int64)))
    return segments


def _popular(
    catalog: Catalog, ids: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]
) -> Popular:
    """By descending share, then position; without what is removed, which is popular nowhere."""
    at = catalog.lookup.positions(ids)
    listed = at >= 0
    listed[listed] = catalog.popularity[at[listed]] > 0
    at, shares = at[listed], shares[listed]
    order = np.lexsort((at, -shares))
    return Popular(at[order], shares[order].astype(np.float32))


def _by_segment(table: pa.Table, *columns: str) -> dict[str, tuple[npt.NDArray[Any], ...]]:
    """The columns of each segment's rows."""
    encoded = table["segment"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    values = [table[name].to_numpy() for name in columns]
    return {
        name: tuple(value[codes == code] for value in values)
        for code, name in enumerate(encoded.dictionary.to_pylist())
    }


def item_indices(items: DataFrame) -> npt.NDArray[np.int64]:
    """The column item, on the driver."""
    ids: npt.NDArray[np.int64] = items.select("item").toArrow()["item"].to_numpy().astype(np.int64)
    return ids


def without(catalog: Catalog, removed: DataFrame) -> Catalog:
    """The catalog without the items of `removed`, whose ids come to the driver."""
    kept = ~catalog.mask(item_indices(removed.select("item").distinct()))
    popularity = np.where(kept, catalog.popularity, 0.0)
    return replace(catalog, scored=catalog.scored & kept, popularity=popularity)


def with_blocked(users: DataFrame, blocked: DataFrame) -> DataFrame:
    """users with the items of their rows of `blocked` added to their column seen."""
    lists = blocked.groupBy("user_id").agg(
        F.collect_list(F.col("item").cast("bigint")).alias("blocked")
    )
    nothing = F.array().cast("array<bigint>")
    both = F.concat(*(F.coalesce(name, nothing) for name in ("seen", "blocked")))
    return users.join(lists, "user_id", "left").withColumn("seen", both).drop("blocked")


def list_rules(catalog: Catalog, policy: Policy) -> ListRules:
    """The policy's rules on single lists, in the catalog's positions."""
    groups = genre_groups(catalog, policy.genres)
    return ListRules(groups, policy.max_per_genre, float(policy.min_score), policy.diversity)


def genre_groups(catalog: Catalog, genres: DataFrame | None) -> Ragged:
    """The genres of each item as numbers; they come to the driver, as the catalog does."""
    size = len(catalog.index)
    if genres is None:
        return no_rules(size).groups
    table = genres.select("item", F.array_distinct("genres").alias("genres")).toArrow()
    table = table.combine_chunks()
    at = catalog.lookup.positions(table["item"].to_numpy().astype(np.int64))
    lists = table["genres"].combine_chunks()
    codes = lists.flatten().dictionary_encode().indices.fill_null(-1).to_numpy()
    return _in_order(at, Ragged(list_bounds(lists), codes.astype(np.int32)), size).without(-1)


def _in_order(at: npt.NDArray[np.int32], rows: Ragged, size: int) -> Ragged:
    """Rows at their positions among `size`; those of position -1 are left out, the others empty."""
    inside = rows.where(at >= 0)
    lengths, positions = np.diff(inside.indptr), at[at >= 0]
    order = np.argsort(np.repeat(positions, lengths), kind="stable")
    counts = np.bincount(positions, weights=lengths, minlength=size).astype(np.int64)
    return Ragged(np.concatenate([[0], np.cumsum(counts)]), inside.positions[order])
