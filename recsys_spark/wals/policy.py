"""What lists must keep beside the model's order: items off sale, blocked pairs, few of a genre."""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrow import list_bounds
from recsys_spark.kernels.listing import Rules
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.wals.topn import Catalogue

DENIED, NOT_ALLOWED, UNAVAILABLE = "denied", "not_allowed", "unavailable"


@dataclass(frozen=True)
class Policy:
    """removed: items that no list may have, from `removed_items`. blocked: columns user_id, item.

    genres: columns item and genres (array<string>), of each of which a list has at most
    max_per_genre items. min_score: the lowest score of the model that is listed.
    """

    removed: DataFrame | None = None
    blocked: DataFrame | None = None
    genres: DataFrame | None = None
    max_per_genre: int = 1
    min_score: float = -np.inf


def removed_items(
    item_ids: DataFrame,
    allow: DataFrame | None,
    deny: DataFrame | None,
    windows: DataFrame | None,
    at: datetime,
) -> DataFrame | None:
    """Columns item (the index) and rule, a row an item and rule that removes it; None: no rules.

    item_ids: columns id, index. allow, deny: column item_id; only these, and none of those.
    windows: columns item_id, since, until; null: open. An item with several can be had in any; one
    without always. at: the moment, UTC.
    """
    items = item_ids.toDF("item_id", "item")
    found = []
    if deny is not None:
        found.append((items.join(deny, "item_id", "left_semi"), DENIED))
    if allow is not None:
        found.append((items.join(allow, "item_id", "left_anti"), NOT_ALLOWED))
    if windows is not None:
        moment = F.timestamp_micros(F.lit(round(at.timestamp() * 1e6)))
        begun = F.col("since").isNull() | (F.col("since") <= moment)
        open_ = begun & (F.col("until").isNull() | (moment < F.col("until")))
        closed = windows.groupBy("item_id").agg(F.bool_or(open_).alias("open")).where("not open")
        found.append((items.join(closed, "item_id", "left_semi"), UNAVAILABLE))
    named = [frame.select("item", F.lit(rule).alias("rule")) for frame, rule in found]
    return reduce(DataFrame.unionByName, named) if named else None


def without(catalogue: Catalogue, removed: DataFrame) -> Catalogue:
    """The catalogue without the items of `removed`, whose ids come to the driver."""
    ids = removed.select("item").distinct().toArrow()["item"].to_numpy().astype(np.int64)
    at = catalogue.lookup.positions(ids)
    kept = np.ones(len(catalogue.index), dtype=bool)
    kept[at[at >= 0]] = False
    popularity = np.where(kept, catalogue.popularity, 0.0)
    return replace(catalogue, scored=catalogue.scored & kept, popularity=popularity)


def with_blocked(users: DataFrame, blocked: DataFrame) -> DataFrame:
    """users with the items of their rows of `blocked` added to their column seen."""
    lists = blocked.groupBy("user_id").agg(
        F.collect_list(F.col("item").cast("bigint")).alias("blocked")
    )
    nothing = F.array().cast("array<bigint>")
    both = F.concat(*(F.coalesce(name, nothing) for name in ("seen", "blocked")))
    return users.join(lists, "user_id", "left").withColumn("seen", both).drop("blocked")


def list_rules(catalogue: Catalogue, policy: Policy) -> Rules:
    """The policy's rules on single lists, in the catalogue's positions."""
    groups = _groups(catalogue, policy.genres)
    return Rules(groups, policy.max_per_genre, float(policy.min_score))


def _groups(catalogue: Catalogue, genres: DataFrame | None) -> Ragged:
    """The genres of each item as numbers; they come to the driver, as the catalogue does."""
    size = len(catalogue.index)
    if genres is None:
        return Ragged(np.zeros(size + 1, np.int64), np.zeros(0, np.int32))
    table = genres.select("item", F.array_distinct("genres").alias("genres")).toArrow()
    table = table.combine_chunks()
    at = catalogue.lookup.positions(table["item"].to_numpy().astype(np.int64))
    lists = table["genres"].combine_chunks()
    codes = lists.flatten().dictionary_encode().indices.fill_null(-1).to_numpy()
    return _in_order(at, Ragged(list_bounds(lists), codes.astype(np.int32)), size).without(-1)


def _in_order(at: npt.NDArray[np.int32], rows: Ragged, size: int) -> Ragged:
    """Rows at their places among `size`; those of place -1 are left out, the others empty."""
    inside = rows.where(at >= 0)
    lengths, places = np.diff(inside.indptr), at[at >= 0]
    order = np.argsort(np.repeat(places, lengths), kind="stable")
    counts = np.bincount(places, weights=lengths, minlength=size).astype(np.int64)
    return Ragged(np.concatenate([[0], np.cumsum(counts)]), inside.positions[order])
