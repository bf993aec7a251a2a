"""Wiring of recommend: the model and all interactions to the table of lists."""

from dataclasses import replace
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from recsys_spark.config import WALS
from recsys_spark.errors import AuditError, ConfigError
from recsys_spark.io.side_tables import read_rows
from recsys_spark.kernels.spec import SIDES
from recsys_spark.pipeline.beside import MB, check_beside, factor_bytes, write_beside
from recsys_spark.pipeline.carry import carry_over, rules
from recsys_spark.pipeline.genres import item_genres
from recsys_spark.pipeline.listed import report_lists
from recsys_spark.pipeline.model_scorers import (
    Basis,
    nearest_users,
    needs_factors,
    scorers,
    user_factors,
    weighs_values,
)
from recsys_spark.pipeline.policy import (
    cold_start_items,
    effect,
    listed_ids,
    read_policy,
    seen_rows,
)
from recsys_spark.pipeline.run import Run, Summary
from recsys_spark.pipeline.side_tables import match
from recsys_spark.pipeline.slicing import not_written, plan_layout, write_slices
from recsys_spark.pipeline.train import trained_spec, training_rows
from recsys_spark.runtime.slices import Slices
from recsys_spark.runtime.tables import Manifest, conform
from recsys_spark.schema import RATINGS, recommendations
from recsys_spark.topn.business_rules import Policy, make_listing
from recsys_spark.topn.catalog import (
    FOLD_IN,
    MODEL,
    POPULAR,
    Catalogue,
    Tally,
    with_factors,
    without_factors,
)
from recsys_spark.topn.cold_items import estimate
from recsys_spark.topn.explanation_inputs import make_explainer, weighted_history
from recsys_spark.topn.recommend import Notes, RankedBy, gather, rank_rows, read_catalogue
from recsys_spark.topn.validate_lists import audit


def recommend(run: Run) -> Summary:
    """Write a list for every user with interactions, or for the users of a file."""
    history, ids = run.read("interactions"), listed_ids(run)
    policy = read_policy(run, history, ids)
    tiles = _tiles(run, policy)
    check_beside(run, _user_factors(run))
    run.log.progress("ranking the catalogue")
    cold = cold_start_items(run, ids)
    catalogue = read_catalogue(history, ids, new=policy.new_items if cold is None else cold)
    if tiles == 1:
        catalogue = with_factors(catalogue, run.read("item_factors"))
    if policy.new_items is not None:
        catalogue = estimate(catalogue, policy.new_items, item_genres(run, ids))
    notes = _notes(run, history)
    ranked = _ranked(run, history, catalogue, notes, None if cold is None else ids)
    slices, tally = run.slices("recommendations"), Tally.of(run.spark)
    for counts in slices.progress.notes:
        tally.add(*counts)
    if done := len(slices.progress.notes):
        run.log.info(f"{done} {'slice' if done == 1 else 'slices'} of lists were written before")
    if not slices.progress.complete:
        listed = without_factors(catalogue) if ranked else catalogue
        _write(run, slices, history, listed, policy, ids, tiles, tally, notes, ranked)
    written = _seal(run, slices, policy, tally)
    write_beside(run, history, catalogue, policy, _user_factors(run), tiles)
    return report_lists(run, written.findings)


def _write(
    run: Run,
    slices: Slices,
    history: DataFrame,
    catalogue: Catalogue,
    policy: Policy,
    ids: DataFrame,
    tiles: int,
    tally: Tally,
    notes: Notes,
    ranked: RankedBy | None,
) -> None:
    """Write the lists of users who have none yet."""
    config = run.config.recommend
    schema = _schema(run)
    users = not_written(slices, _users(run, history))
    layout = plan_layout(run, _at_most(run, users, slices))
    users, kept = carry_over(run, users, history, policy, ids, schema)
    seen = seen_rows(history, config.seen_days) if config.exclude_seen else None
    rows = gather(users, seen, _user_factors(run), layout, policy, notes, ranked)
    listing = make_listing(catalogue, policy, config.n, config.backfill)
    if ranked:
        listing = replace(listing, scorers=ranked.scorers)
    if notes.explain and not ranked:
        listing = replace(listing, explainer=notes.explain(catalogue))
    listing = replace(listing, reasons=notes.reasons)

    def rank(some: DataFrame) -> DataFrame:
        lists = rank_rows(some, listing, layout, (run.read("item_factors"), tiles), tally)
        return conform(
            lists.withColumn("model_version", F.lit(run.version("user_factors"))), schema
        )

    write_slices(run, slices, layout, rows, rank, kept, tally)


def _ranked(
    run: Run, history: DataFrame, catalogue: Catalogue, notes: Notes, ids: DataFrame | None
) -> RankedBy | None:
    """What the lists are ranked by, where it is not the weighted ALS alone.

    ids: of items among which nobody has some, if there are such.
    """
    chain = run.config.recommend.chain
    if chain == [WALS]:
        return None
    explainer = notes.explain(catalogue) if notes.explain else None
    stage = "refit" if "refit" in run.lineage else "train"
    found = scorers(run, chain, Basis(stage, catalogue, history, explainer, ids))
    columns = ["user", "item", *(["value"] if weighs_values(run.config) else [])]
    factors = user_factors(run, chain, stage, _user_factors(run))
    nearest = nearest_users(run, chain, history)
    return RankedBy(tuple(found.items()), factors, history.select(*columns), nearest)


def _schema(run: Run) -> StructType:
    config = run.config.recommend
    user_type, item_type = (run.read(f"{side}_ids").schema["id"].dataType for side in SIDES)
    return recommendations(user_type, item_type, config.mark_seen, config.explain > 0)


def _at_most(run: Run, users: DataFrame, slices: Slices) -> int:
    """A bound on the number of users; without counting them, where these are all there are."""
    ids = run.tables.version("user_ids", run.lineage["ingest"])
    every = run.config.recommend.users.path is None and slices.progress.through is None
    return ids.rows if every else users.count()


def _seal(run: Run, slices: Slices, policy: Policy, tally: Tally) -> Manifest:
    """Lists that are not what they have to be are deleted, so that they are made again."""
    n = run.config.recommend.n

    def check(table: DataFrame) -> Summary:
        found = _found(run, table, n, policy)
        return found | {"policy": effect(run, policy, tally), "rules": rules(run)}

    try:
        return run.seal("recommendations", _schema(run), check)
    except AuditError:
        slices.drop()
        raise


def _tiles(run: Run, policy: Policy) -> int:
    """Into how many parts the items go, so that the factors of each can be sent to workers."""
    config = run.config.recommend
    size, budget = factor_bytes(run.read("item_factors")), run.config.solver.broadcast_budget_mb
    tiles = -(-size // (budget * MB))
    whole = policy.needs_all_factors or config.explain or config.groups.path is not None
    whole = whole or config.chain != [WALS]
    if tiles > 1 and whole:
        raise ConfigError(
            f"The items' factors have {size / MB:,.0f} MB and are ranked in {tiles} tiles: raise "
            "solver.broadcast_budget_mb above that, or remove recommend.model, explain and groups, "
            "and of recommend.policy max_per_genre, variety, popularity_discount, new_items and "
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
    if not config.explain or not needs_factors(run.config, config.chain):
        return Notes(had, reasons=config.explain)
    spec, training = trained_spec(run), training_rows(run)
    known = weighted_history(training, spec)
    if run.has("folded_users"):
        folded = run.read("folded_users").select(F.col("id").alias("user"))
        # Those that they were folded in with; the lists' own may be newer.
        made = run.upstream("fold_in").lineage["ingest"]
        rows = run.tables.read("interactions", made).select(*RATINGS.names)
        rows = rows.join(folded, "user", "left_semi")
        items = run.read("item_factors").select(F.col("id").alias("item"))
        rows = rows.join(items, "item", "left_semi")
        known = known.unionByName(weighted_history(rows, spec, training))
    explain = partial(
        make_explainer,
        item_factors=run.read("item_factors"),
        training=training,
        spec=spec,
    )
    return Notes(had, known, explain, config.explain)


def _users(run: Run, history: DataFrame) -> DataFrame:
    """Columns user_id and user; the index is null for ids never seen."""
    subset = run.config.recommend.users
    if subset.path is None:
        return history.select("user_id", "user").distinct()
    known = run.read("user_ids").toDF("user_id", "user")
    named = read_rows(run.spark, "recommend.users", subset, {"column": ("user_id", "id")})
    wanted = match(run, "recommend.users", named, {"user_id": known}).distinct()
    return wanted.join(known, "user_id", "left")


def _found(run: Run, table: DataFrame, n: int, policy: Policy) -> Summary:
    """What is found in the files: scores descend within a source, and rise where another begins."""
    scored = (MODEL, FOLD_IN, *run.config.recommend.chain)
    by_score = (POPULAR,) if policy.reorders else (*scored, POPULAR)
    alone = F.col("source").isin(*by_score)
    return audit(table, "user_id", "recommendations", n, ordered=alone)
