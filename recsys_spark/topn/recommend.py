"""Top-N lists of users: the model's best unseen items, completed by popular ones."""

from dataclasses import dataclass, replace

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.topn.business_rules import make_listing, with_blocked
from recsys_spark.topn.catalog import Catalog, Listing, Tally, without_factors
from recsys_spark.topn.distributed import recommend_top_n
from recsys_spark.topn.request import ByFactors, ByScorers, Request
from recsys_spark.topn.tiled import recommend_in_tiles
from recsys_spark.workers import TaskRows


@dataclass(frozen=True)
class Lists:
    """The lists of a request, to be computed in one piece or a part of the users at a time.

    rows: a row a user, with what the list is made of; with a layout, they have a column part, the
    number of their range of user ids. listing: how lists are made of rows. tally: added to when
    lists are computed.
    """

    request: Request
    rows: DataFrame
    listing: Listing
    tally: Tally | None = None

    def every(self) -> DataFrame:
        """Columns user_id, recommendations, source; a row for each row of the request's users."""
        return self.of(self.rows).frame()

    def of(self, rows: DataFrame) -> TaskRows:
        """The same for some of `rows`, in the layout: lists are much larger than these rows."""
        by = self.request.ranked_by
        if isinstance(by, ByFactors) and by.items is not None and by.tiles > 1:
            return recommend_in_tiles(
                rows, "user_id", self.listing, by.items, by.tiles, self._arranged, self.tally
            )
        return recommend_top_n(self._arranged(rows), "user_id", self.listing, self.tally)

    def _arranged(self, rows: DataFrame) -> DataFrame:
        return self.request.layout.arrange(rows) if self.request.layout else rows


def make_lists(request: Request, tally: Tally | None = None) -> Lists:
    """The one way to users' lists: of the command, of `WALSModel`, of tests and benchmarks.

    Parameters
    ----------
    request
        The users, the catalog, what ranks it, and the rules that lists keep.
    tally
        Counters of the search, which are added to whenever lists are computed.

    Returns
    -------
    Lists
        Computed when they are read. Scores descend within a source, ties go to the smaller item
        id. What rules and catalog know of items and segments is on the driver now, to be
        broadcast; users are not.
    """
    return Lists(request, _gathered(request), _listing(request), tally)


def _gathered(request: Request) -> DataFrame:
    """The users with all that their lists are made of."""
    rows, by, policy = request.users, request.ranked_by, request.policy
    if request.layout is not None:
        rows = request.layout.marked(rows)
    if "seen" not in rows.columns:
        rows = with_seen(rows, request.seen)
    if by is not None:
        rows = by.join_to(rows)
    elif "factors" not in rows.columns:
        rows = rows.withColumn("factors", F.lit(None).cast("array<float>"))
    if policy.blocked is not None:
        rows = with_blocked(rows, policy.blocked)
    if policy.segments is not None:
        rows = rows.join(policy.segments, "user_id", "left")
    return request.notes.join_to(rows)


def _listing(request: Request) -> Listing:
    """How lists are made of these rows."""
    catalog, by, notes = request.catalog, request.ranked_by, request.notes
    if isinstance(by, ByScorers):
        alone = make_listing(without_factors(catalog), request.policy, request.n, request.fill)
        return replace(alone, scorers=by.scorers, reasons=notes.reasons)
    listing = make_listing(catalog, request.policy, request.n, request.fill)
    return replace(listing, explainer=notes.explainer, reasons=notes.reasons)


def with_seen(users: DataFrame, seen: DataFrame | None) -> DataFrame:
    """users with a column seen: the items of their rows of `seen`, columns user and item."""
    if seen is None:
        return users.withColumn("seen", F.lit(None).cast("array<bigint>"))
    lists = seen.groupBy("user").agg(F.collect_list(F.col("item").cast("bigint")).alias("seen"))
    return users.join(lists, "user", "left")


def read_catalog(
    history: DataFrame,
    item_ids: DataFrame,
    label: str = "id",
    new: DataFrame | None = None,
    users: int | None = None,
) -> Catalog:
    """The items of history on the driver, without factors; their users are the popularity.

    history: distinct pairs, columns user, item. item_ids: columns id, index. label: what lists
    name items by, their external `id` or their `index`. new: column item; further items, which
    may have no interactions. users: how many history has; None: they are counted.
    """
    counts = history.groupBy("item").agg(F.count("*").alias("users"))
    if new is not None:
        counts = counts.join(new.select("item").distinct(), "item", "full").fillna(0, ["users"])
    named = counts.join(item_ids.withColumnRenamed("index", "item"), "item")
    table = named.toArrow().sort_by("id").combine_chunks()
    if users is None:
        users = history.select("user").distinct().count()
    return Catalog(
        index=table["item"].to_numpy().astype(np.int64),
        labels=table["item" if label == "index" else "id"].combine_chunks(),
        item_type=item_ids.schema[label].dataType,
        factors=np.zeros((len(table), 1), dtype=np.float32),
        scored=np.zeros(len(table), dtype=bool),
        popularity=table["users"].to_numpy() / max(users, 1),
    )
