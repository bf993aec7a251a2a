"""Wiring of recommend: the model and all interactions to the table of lists.

Everything is read first (`_read`), `topn.recommend.make_lists` makes the lists, and then they are
written, checked and reported.
"""

from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.errors import AuditError
from recsys_spark.kernels.spec import SIDES
from recsys_spark.pipeline.beside import check_related, related_tables, similar_genres
from recsys_spark.pipeline.carry import carry_over, read_earlier, read_published, rules
from recsys_spark.pipeline.genres import item_genres
from recsys_spark.pipeline.list_inputs import Inputs, Training
from recsys_spark.pipeline.list_request import (
    all_factors,
    count_tiles,
    group_members,
    list_schema,
    make_request,
    wanted_users,
)
from recsys_spark.pipeline.listed import beside_published, sample
from recsys_spark.pipeline.model_scorers import nearest_users, needs_factors, read_models
from recsys_spark.pipeline.policy import (
    cold_start_items,
    described,
    effect,
    read_policy,
    with_new_items,
)
from recsys_spark.pipeline.run import Run, Summary
from recsys_spark.pipeline.side_tables import SideTables
from recsys_spark.pipeline.slicing import not_written, plan_layout, write_slices
from recsys_spark.pipeline.train import trained_spec, training_rows
from recsys_spark.pipeline.user_segments import segments_of
from recsys_spark.runtime.slices import Slices
from recsys_spark.runtime.tables import Manifest, conform
from recsys_spark.topn.catalog import FOLD_IN, MODEL, POPULAR, Tally
from recsys_spark.topn.recommend import make_lists
from recsys_spark.topn.request import Request
from recsys_spark.topn.validate_lists import audit

_TABLE = "recommendations"


def recommend(run: Run) -> Summary:
    """Write a list for every user with interactions, or for the users of a file."""
    config, inputs = run.config, _read(run)
    tiles = count_tiles(config.recommend, inputs, config.solver)
    check_related(config, inputs)
    run.log.progress("ranking the catalogue")
    request = make_request(config, inputs, tiles)
    slices, tally = run.slices(_TABLE), Tally.of(run.spark)
    _write(run, inputs, request, slices, tally)
    written = _seal(run, inputs, slices, tally)
    for table in related_tables(config, inputs, request, tiles, run.log):
        rows = run.write(table.frame, table.table, table.schema, table.check).rows
        run.log.info(f"{rows:,} {table.said}")
    return _report(run, inputs, written.findings)


def _read(run: Run) -> Inputs:
    """Every table and every file."""
    config, wanted, lineage = run.config, run.config.recommend, run.lineage
    history = run.read("interactions")
    items, folded = (run.find(table) for table in ("items", "folded_users"))
    user_ids, item_ids = (run.read(f"{side}_ids") for side in SIDES)
    tables = SideTables(run.spark, run.log, {"user_id": user_ids, "item_id": item_ids})
    ids = with_new_items(wanted, item_ids, items, tables)
    cold = cold_start_items(wanted, ids, items)
    tables = replace(tables, known={"user_id": user_ids, "item_id": ids})
    genres = item_genres(config.items, items, ids)
    known_genres = item_genres(config.items, items, item_ids)
    stage = "refit" if "refit" in lineage else "train"
    explained = wanted.explain and needs_factors(config, wanted.chain)
    return Inputs(
        history=history,
        user_ids=user_ids,
        item_ids=item_ids,
        ids=ids,
        cold_items=cold,
        policy=read_policy(wanted, tables, history, genres),
        users=wanted_users(wanted.users, tables, history, user_ids),
        known_users=run.tables.version("user_ids", lineage["ingest"]).rows,
        members=group_members(wanted.groups, tables, user_ids),
        user_factors=all_factors(run.read("user_factors"), folded),
        item_factors=run.read("item_factors"),
        items=items,
        genres=genres,
        similar_genres=similar_genres(wanted.similar_items, known_genres),
        models=read_models(run, wanted.chain, stage, None if cold is None else ids),
        nearest=nearest_users(config, wanted.chain, history, run.log, run.keep),
        segments=segments_of(tables, config, wanted.chain),
        training=_training(run, folded) if explained else None,
        earlier=read_earlier(run.tables, config, run.run_id),
        published=read_published(run.tables, run.run_id),
        model_version=run.version("user_factors"),
    )


def _training(run: Run, folded: DataFrame | None) -> Training:
    """folded: columns id, factors, of the users who were folded in."""
    if folded is None:
        return Training(trained_spec(run), training_rows(run), None)
    # The interactions that they were folded in with; the lists' own may be newer.
    rows = run.tables.read("interactions", run.upstream("fold_in").lineage["ingest"])
    own = rows.join(folded.select(F.col("id").alias("user")), "user", "left_semi")
    return Training(trained_spec(run), training_rows(run), own)


def _write(run: Run, inputs: Inputs, request: Request, slices: Slices, tally: Tally) -> None:
    """Write the lists of users who have none yet, slice by slice."""
    wanted, schema = run.config.recommend, list_schema(run.config.recommend, inputs)
    for counts in slices.progress.notes:
        tally.add(*counts)
    if done := len(slices.progress.notes):
        run.log.info(f"{done} {'slice' if done == 1 else 'slices'} of lists were written before")
    if slices.progress.complete:
        return
    users = not_written(slices, request.users)
    # Without counting them, where these are all there are.
    every = wanted.users.path is None and slices.progress.through is None
    most = inputs.known_users if every else users.count()
    layout = plan_layout(wanted, most, run.spark.sparkContext.defaultParallelism)
    users, kept = carry_over(inputs, users, wanted, schema, run.log, run.keep)
    lists = make_lists(replace(request, users=users, layout=layout), tally)

    def complete(made: DataFrame) -> DataFrame:
        return conform(made.withColumn("model_version", F.lit(inputs.model_version)), schema)

    write_slices(slices, lists, complete, kept, run.log, run.keep)


def _seal(run: Run, inputs: Inputs, slices: Slices, tally: Tally) -> Manifest:
    """Lists that are not what they have to be are deleted, so that they are made again."""
    config, policy = run.config, inputs.policy
    # Scores descend within a source, and rise where another begins.
    scored = (MODEL, FOLD_IN, *config.recommend.chain)
    alone = F.col("source").isin(POPULAR, *(() if policy.reorders else scored))

    def check(table: DataFrame) -> Summary:
        found = audit(table, "user_id", _TABLE, config.recommend.n, ordered=alone)
        return found | {"policy": effect(policy, tally), "rules": rules(config)}

    try:
        written = run.seal(_TABLE, list_schema(config.recommend, inputs), check)
    except AuditError:
        slices.drop()
        raise
    if text := described(written.findings["policy"]):
        run.log.info(text)
    return written


def _report(run: Run, inputs: Inputs, found: Summary) -> Summary:
    """What the stage's summary has of the written lists. found: what their check has found."""
    table, n, log = run.read(_TABLE), run.config.recommend.n, run.log
    users, short, empty, sources = (found[key] for key in ("lists", "short", "empty", "sources"))
    text = ", ".join(f"{lists:,} from {source}" for source, lists in sorted(sources.items()))
    log.info(f"{users:,} users with up to {n} items: {text or 'none'}")
    if not users:
        log.warning("no user is wanted: recommend.users.path has no rows, and there are no lists")
    if short:
        log.warning(f"{short:,} users have fewer than {n} items, {empty:,} of them none")
    run.tracker.metrics({"recommend.users": users, "recommend.short_lists": short})
    return {
        "n": n,
        "users": users,
        "sources": sources,
        "short_lists": short,
        "policy": found["policy"],
        "published": _compare(run, beside_published(table, inputs.published, run.run_id, n)),
        "sample": sample(table, inputs.history, inputs.items),
    }


def _compare(run: Run, found: Summary | None) -> Summary | None:
    """Say how similar the lists are to those that readers have now."""
    if found and "overlap" in found:
        run.log.info(
            f"{found['overlap']:.1%} of the first {found['k']} items of {found['users']:,} users "
            f"are in their published lists, of run {found['run_id']}"
        )
        figures = {name: found[name] for name in sorted(found.keys() - {"run_id", "k", "users"})}
        run.tracker.metrics({f"recommend.published.{name}": figures[name] for name in figures})
    return found
