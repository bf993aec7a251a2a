"""Wiring of recommend: the model and all interactions to the table of lists."""

from functools import partial
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.errors import ConfigError
from recsys_spark.evaluation import measure_agreement, summarise
from recsys_spark.pipeline.beside import MB, factor_bytes, write_beside
from recsys_spark.pipeline.carry import carry_over
from recsys_spark.pipeline.policy import effect, read_policy, seen_rows
from recsys_spark.pipeline.run import Run, Summary
from recsys_spark.pipeline.train import trained_spec
from recsys_spark.runtime.source import read_user_subset
from recsys_spark.schema import RATINGS, recommendations
from recsys_spark.stages.audit import audit
from recsys_spark.stages.recommend import Notes, read_catalogue
from recsys_spark.stages.recommend import recommend as top_lists
from recsys_spark.wals.catalogue import FOLD_IN, MODEL, POPULAR, Tally
from recsys_spark.wals.explain import make_explainer, weighted_history
from recsys_spark.wals.policy import Policy

_SAMPLE = 5
_FIRST = 10  # items of a list that are compared with the published ones


def recommend(run: Run) -> Summary:
    """Write a list for every user with interactions, or for the users of a file."""
    config = run.config.recommend
    history = run.read("interactions")
    user_type = history.schema["user_id"].dataType
    item_type = history.schema["item_id"].dataType
    policy, tally = read_policy(run, history), Tally.of(run.spark)
    run.log.progress("ranking the catalogue")
    catalogue = read_catalogue(history, run.read("item_ids"))
    schema = recommendations(user_type, item_type, config.mark_seen, config.explain > 0)
    users, carried = carry_over(run, _users(run, history), history, policy, schema)
    lists = top_lists(
        users,
        seen_rows(history, config.seen_days) if config.exclude_seen else None,
        catalogue,
        (_user_factors(run), run.read("item_factors")),
        config.n,
        config.backfill,
        policy=policy,
        tally=tally,
        notes=_notes(run, history),
        tiles=_tiles(run, policy),
    ).withColumn("model_version", F.lit(run.lineage["train"]))
    written = run.write(
        lists if carried is None else lists.unionByName(carried),
        "recommendations",
        schema,
        lambda table: _found(table, config.n, policy) | {"policy": effect(run, policy, tally)},
    )
    write_beside(run, history, catalogue, policy, _user_factors(run))
    return _report(run, written.findings)


def _tiles(run: Run, policy: Policy) -> int:
    """Into how many parts the items go, so that the factors of each can be sent to workers."""
    size, budget = factor_bytes(run.read("item_factors")), run.config.solver.broadcast_budget_mb
    tiles = -(-size // (budget * MB))
    if tiles > 1 and (policy.needs_all_factors or run.config.recommend.explain):
        raise ConfigError(
            f"The items' factors have {size / MB:,.0f} MB and are ranked in {tiles} tiles: raise "
            "solver.broadcast_budget_mb above that, or remove recommend.explain and, of "
            "recommend.policy, max_per_genre, variety, popularity_discount, new_items and "
            "tail_items."
        )
    return max(1, tiles)


def _user_factors(run: Run) -> DataFrame:
    """Columns id, factors, and source, where they come from."""
    trained = run.read("user_factors").withColumn("source", F.lit(MODEL))
    if not run.has("folded_users"):
        return trained
    return trained.unionByName(run.read("folded_users").withColumn("source", F.lit(FOLD_IN)))


def _notes(run: Run, history: DataFrame) -> Notes:
    """When users had what is listed, and why it is; as far as the configuration asks."""
    config = run.config.recommend
    had = history.select("user", "item", "timestamp") if config.mark_seen else None
    if not config.explain:
        return Notes(had)
    spec, training = trained_spec(run), run.read("train")
    known = weighted_history(training, spec)
    if run.has("folded_users"):
        folded = run.read("folded_users").select(F.col("id").alias("user"))
        rows = history.select(*RATINGS.names).join(folded, "user", "left_semi")
        items = run.read("item_factors").select(F.col("id").alias("item"))
        rows = rows.join(items, "item", "left_semi")
        known = known.unionByName(weighted_history(rows, spec, training))
    explain = partial(
        make_explainer,
        item_factors=run.read("item_factors"),
        training=training,
        spec=spec,
        most=config.explain,
    )
    return Notes(had, known, explain)


def _users(run: Run, history: DataFrame) -> DataFrame:
    """Columns user_id and user; the index is null for ids never seen."""
    subset = run.config.recommend.users
    if subset.path is None:
        return history.select("user_id", "user").distinct()
    kind = history.schema["user_id"].dataType
    wanted = (
        read_user_subset(run.spark, subset)
        .select(F.col("user_id").try_cast(kind).alias("user_id"))
        .distinct()
    )
    known = run.read("user_ids").toDF("user_id", "user")
    return wanted.where("user_id is not null").join(known, "user_id", "left")


def _found(table: DataFrame, n: int, policy: Policy) -> Summary:
    """What is found in the files: scores descend within a source, and rise where another begins."""
    by_score = (POPULAR,) if policy.reorders else (MODEL, FOLD_IN, POPULAR)
    alone = F.col("source").isin(*by_score)
    return audit(table, "user_id", "recommendations", n, ordered=alone)


def _report(run: Run, found: Summary) -> Summary:
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
