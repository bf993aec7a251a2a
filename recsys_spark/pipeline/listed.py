"""What is said of lists once they are written: counts, a sample, how they differ from published."""

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.evaluation import measure_agreement, summarise
from recsys_spark.pipeline.run import Run, Summary

_SAMPLE = 5
_FIRST = 10  # items of a list that are compared with the published ones


def report_lists(run: Run, found: Summary) -> Summary:
    """What the stage's summary has of the written lists. found: what their check has found."""
    table, n = run.read("recommendations"), run.config.recommend.n
    users, short, empty, sources = (found[key] for key in ("lists", "short", "empty", "sources"))
    text = ", ".join(f"{lists:,} from {source}" for source, lists in sorted(sources.items()))
    run.log.info(f"{users:,} users with up to {n} items: {text}")
    if short:
        run.log.warning(f"{short:,} users have fewer than {n} items, {empty:,} of them none")
    run.tracker.metrics({"recommend.users": users, "recommend.short_lists": short})
    return {
        "n": n,
        "users": users,
        "sources": sources,
        "short_lists": short,
        "policy": found["policy"],
        "published": _beside_published(run, table),
        "sample": _sample(run, table),
    }


def _beside_published(run: Run, table: DataFrame) -> Summary | None:
    """How alike the lists are to those that readers have now, of the users in both."""
    published = run.tables.current("recommendations")
    if published is None or published == run.run_id:
        return None
    k = min(_FIRST, run.config.recommend.n)
    theirs = run.tables.read("recommendations", published)
    if theirs.schema != table.schema:
        return None
    measured = measure_agreement(table, theirs, [k])
    rows = summarise(measured, run.run_id, resamples=0).collect()
    users = max((row["users"] for row in rows), default=0)
    found = {row["metric"]: row["value"] for row in rows}
    if found:
        run.log.info(
            f"{found['overlap']:.1%} of the first {k} items of {users:,} users are in their "
            f"published lists, of run {published}"
        )
        run.tracker.metrics({f"recommend.published.{name}": found[name] for name in sorted(found)})
    return {"run_id": published, "k": k, "users": users, **found}


def _sample(run: Run, table: DataFrame) -> list[dict[str, Any]]:
    """The lists of five users, chosen by the hash of their ids, with titles where known."""
    some = table.orderBy(F.xxhash64("user_id"), "user_id").limit(_SAMPLE)
    entries = some.select("user_id", "source", F.inline("recommendations"))
    loved = (
        run.read("interactions")
        .join(some.select("user_id"), "user_id", "left_semi")
        .groupBy("user_id")
        .agg(F.slice(F.sort_array(F.collect_list(F.struct("value", "item_id")), False), 1, 3))
        .toDF("user_id", "history")
    )
    titles = _titles(run)
    history = loved.select("user_id", F.posexplode("history")).select(
        "user_id", F.col("pos").alias("rank"), F.col("col.item_id").alias("item_id")
    )
    lists: dict[Any, dict[str, Any]] = {}
    for key, frame in (("items", entries), ("history", history)):
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


def _titles(run: Run) -> DataFrame | None:
    """Names of items, their genres behind them."""
    if not run.has("items"):
        return None
    genres = F.concat(F.lit(" ["), F.array_join("genres", ", "), F.lit("]"))
    title = F.concat("title", F.coalesce(genres, F.lit("")))
    return run.read("items").select("item_id", title.alias("title"))
