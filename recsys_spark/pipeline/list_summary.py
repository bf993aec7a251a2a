"""Summary of the lists that are written: what the rules did, a sample, and how they differ from
published ones.
"""

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.evaluation import measure_agreement, summarise
from recsys_spark.pipeline.context import Summary
from recsys_spark.pipeline.list_inputs import Earlier, Inputs
from recsys_spark.runtime.log import Log
from recsys_spark.topn.business_rules import Policy
from recsys_spark.topn.catalog import Tally

_SAMPLE = 5
_FIRST = 10  # items of a list that are compared with the published ones


def list_summary(table: DataFrame, inputs: Inputs, found: Summary, run_id: str, n: int) -> Summary:
    """What the stage's summary has of lists of up to n items. found: what their check has found."""
    return {
        "n": n,
        "users": found["lists"],
        "sources": found["sources"],
        "short_lists": found["short"],
        "policy": found["policy"],
        "published": compare_with_published(table, inputs.published, run_id, n),
        "sample": sample(table, inputs.history, inputs.items),
    }


def log_summary(log: Log, summary: Summary, empty: int) -> None:
    """Say what the lists are made from, and how similar they are to those that readers have now.

    empty: how many have no item.
    """
    n, users, short = (summary[key] for key in ("n", "users", "short_lists"))
    sources = sorted(summary["sources"].items())
    text = ", ".join(f"{lists:,} from {source}" for source, lists in sources)
    log.info(f"{users:,} users with up to {n} items: {text or 'none'}")
    if not users:
        log.warning("no user is wanted: recommend.users.path has no rows, and there are no lists")
    if short:
        log.warning(f"{short:,} users have fewer than {n} items, {empty:,} of them none")
    found = summary["published"] or {}
    if "overlap" in found:
        log.info(
            f"{found['overlap']:.1%} of the first {found['k']} items of {found['users']:,} users "
            f"are in their published lists, of run {found['run_id']}"
        )


def tracked(summary: Summary) -> dict[str, float]:
    """The figures that runs are compared by."""
    found = summary["published"] or {}
    names = sorted(found.keys() - {"run_id", "k", "users"}) if "overlap" in found else []
    return {
        "recommend.users": summary["users"],
        "recommend.short_lists": summary["short_lists"],
        **{f"recommend.published.{name}": found[name] for name in names},
    }


def rule_effects(policy: Policy, tally: Tally) -> Summary:
    """What each rule removed, once the lists are written; it is kept with the run."""
    removed = {}
    if policy.removed is not None:
        counts = policy.removed.groupBy("rule").count().collect()
        removed = {row["rule"]: row["count"] for row in sorted(counts)}
    return {
        "removed_items": removed,
        "blocked_pairs": 0 if policy.blocked is None else policy.blocked.count(),
        "slots_below_min_score": tally.below.value,
        "skipped_for_genre": tally.skipped.value,
        "reserved_slots_filled": tally.reserved.value,
        "scores_computed": tally.computed.value,
        "scores_ruled_out": _ruled_out(tally),
    }


def describe_effects(found: Summary) -> str | None:
    """What `rule_effects` found, in words for the log; None: nothing was removed."""
    counts = [
        (count, f"items {rule.replace('_', ' ')}") for rule, count in found["removed_items"].items()
    ]
    counts += [
        (found["blocked_pairs"], "pairs blocked"),
        (found["slots_below_min_score"], "slots below min_score"),
        (found["skipped_for_genre"], "items skipped (quota of their genre reached)"),
        (found["reserved_slots_filled"], "slots given to new items or the tail"),
    ]
    removed = [f"{count:,} {what}" for count, what in counts if count]
    return f"policy: {', '.join(removed)}" if removed else None


def _ruled_out(tally: Tally) -> float | None:
    """The share of all scores that bounds made unnecessary."""
    every = tally.possible.value
    return max(0.0, round(1 - tally.computed.value / every, 4)) if every else None


def compare_with_published(
    table: DataFrame, published: Earlier | None, run_id: str, n: int
) -> Summary | None:
    """How similar the lists are to those that readers have now, of the users in both.

    run_id: of the lists. n: their length. None: nothing else of this schema is published.
    """
    if published is None or published.lists.schema != table.schema:
        return None
    k = min(_FIRST, n)
    measured = measure_agreement(table, published.lists, [k])
    rows = summarise(measured, run_id, resamples=0).collect()
    users = max((row["users"] for row in rows), default=0)
    found = {row["metric"]: row["value"] for row in rows}
    return {"run_id": published.run_id, "k": k, "users": users, **found}


def sample(table: DataFrame, history: DataFrame, items: DataFrame | None) -> list[dict[str, Any]]:
    """The lists of five users, chosen by the hash of their ids, with titles where known.

    history: the interactions, of which those of the highest value are named. items: columns
    item_id, title, genres.
    """
    titles = None if items is None else _titles(items)
    some = table.orderBy(F.xxhash64("user_id"), "user_id").limit(_SAMPLE)
    entries = some.select("user_id", "source", F.inline("recommendations"))
    loved = (
        history.join(some.select("user_id"), "user_id", "left_semi")
        .groupBy("user_id")
        .agg(F.slice(F.sort_array(F.collect_list(F.struct("value", "item_id")), False), 1, 3))
        .toDF("user_id", "history")
    )
    best = loved.select("user_id", F.posexplode("history")).select(
        "user_id", F.col("pos").alias("rank"), F.col("col.item_id").alias("item_id")
    )
    lists: dict[Any, dict[str, Any]] = {}
    for key, frame in (("items", entries), ("history", best)):
        named = frame.join(titles, "item_id", "left") if titles is not None else frame
        for row in sorted(named.collect(), key=lambda r: (str(r["user_id"]), r["rank"])):
            user = lists.setdefault(
                row["user_id"],
                {"user_id": row["user_id"], "source": "", "items": [], "history": []},
            )
            if key == "items":
                user["source"] = row["source"]
            title = row["title"] if titles is not None and row["title"] else row["item_id"]
            user[key].append(str(title))
    return list(lists.values())


def _titles(items: DataFrame) -> DataFrame:
    """Names of items, their genres behind them."""
    genres = F.concat(F.lit(" ["), F.array_join("genres", ", "), F.lit("]"))
    title = F.concat("title", F.coalesce(genres, F.lit("")))
    return items.select("item_id", title.alias("title"))
