"""Wiring of recommend: the model and all interactions to the table of lists.

Everything is read first (`_read`), `topn.recommend.make_lists` makes the lists, and then they are
written, checked and reported.
"""

from dataclasses import replace
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import WALS, Model, Recommend
from recsys_spark.errors import AuditError
from recsys_spark.kernels.als.spec import SIDES
from recsys_spark.pipeline.context import Keep, Run, Summary, Workspace
from recsys_spark.pipeline.fitted_tables import FittedTables, read_fitted
from recsys_spark.pipeline.genres import item_genres
from recsys_spark.pipeline.incremental import (
    LIST_SETTINGS,
    PUBLISHED,
    read_lists,
    read_reusable,
    reuse_lists,
)
from recsys_spark.pipeline.list_inputs import Inputs, Training
from recsys_spark.pipeline.list_request import (
    ListPlan,
    all_factors,
    group_members,
    plan_lists,
    wanted_users,
)
from recsys_spark.pipeline.list_summary import (
    describe_effects,
    list_summary,
    log_summary,
    rule_effects,
    tracked,
)
from recsys_spark.pipeline.model_scorers import models_of, nearest_users
from recsys_spark.pipeline.models import fit_content
from recsys_spark.pipeline.related_tables import check_related, related_tables, similar_genres
from recsys_spark.pipeline.resumable_write import not_written, plan_layout, write_slices
from recsys_spark.pipeline.rule_files import (
    cold_start_items,
    read_business_rules,
    with_new_items,
)
from recsys_spark.pipeline.side_tables import SideTables
from recsys_spark.pipeline.user_segments import segments_of
from recsys_spark.storage.parquet_files import conform_in_tasks
from recsys_spark.storage.partial_versions import Slices
from recsys_spark.topn.catalog import FOLD_IN, MODEL, POPULAR, Tally
from recsys_spark.topn.recommend import make_lists
from recsys_spark.topn.validate_lists import audit

_TABLE = "recommendations"


def recommend(run: Run) -> Summary:
    """Write a list for every user with interactions, or for the users of a file."""
    config, work, inputs = run.config, run.workspace, _read(run)
    check_related(config, inputs)
    work.log.progress("ranking the catalog")
    plan = plan_lists(config, inputs)
    slices = run.slices(_TABLE)
    tally = Tally.of(work.spark, slices.progress.notes)
    _write(config.recommend, work, inputs, plan, slices, tally)
    check = partial(_check, wanted=config.recommend, inputs=inputs, tally=tally)
    try:
        found = run.commit(_TABLE, plan.schema, check).check_results
    except AuditError:
        slices.drop()  # so that the lists are made again
        raise
    if text := describe_effects(found["policy"]):
        work.log.info(text)
    for table in related_tables(config, inputs, plan, work.log):
        rows = run.write(table.frame, table.table, table.schema, table.check).rows
        work.log.info(f"{rows:,} {table.said}")
    summary = list_summary(run.read(_TABLE), inputs, found, run.run_id, config.recommend.n)
    log_summary(work.log, summary, found["empty"])
    work.tracker.metrics(tracked(summary))
    return summary


def _read(run: Run) -> Inputs:
    """Every table and every file, once."""
    config, work, wanted = run.config, run.workspace, run.config.recommend
    parts, fitted = config.parts_of(wanted.chain), read_fitted(run)
    items, folded, history = run.find("items"), run.find("folded_users"), run.read("interactions")
    folded_rows = None  # of their fold-in; the interactions of the lists may be newer
    explained = wanted.explain and WALS in config.alone(wanted.chain)
    if explained and folded is not None:
        version = run.upstream("fold_in").lineage["ingest"]
        folded_rows = run.tables.read("interactions", version)
    user_ids, item_ids = (run.read(f"{side}_ids") for side in SIDES)
    tables = SideTables(work.spark, work.log, {"user_id": user_ids, "item_id": item_ids})
    ids = with_new_items(wanted, item_ids, items, tables)
    cold = cold_start_items(wanted, ids, items)
    content = None if cold is None else partial(_content, items=items, ids=ids, keep=work.keep)
    tables = replace(tables, known={"user_id": user_ids, "item_id": ids})
    genres, known_genres = (item_genres(config.items, items, own) for own in (ids, item_ids))
    published = run.tables.current(_TABLE)
    since = published if wanted.changed_since == PUBLISHED else wanted.changed_since
    digest = config.digest(*LIST_SETTINGS)
    return Inputs(
        history=history,
        user_ids=user_ids,
        item_ids=item_ids,
        ids=ids,
        cold_items=cold,
        policy=read_business_rules(wanted, tables, history, genres),
        users=wanted_users(wanted.users, tables, history, user_ids),
        known_users=run.rows("user_ids"),
        members=group_members(wanted.groups, tables, user_ids),
        user_factors=all_factors(fitted.scores[0], folded),
        item_factors=fitted.scores[1],
        training=_training(fitted, folded, folded_rows) if explained else None,
        items=items,
        genres=genres,
        similar_genres=similar_genres(wanted.similar_items, known_genres),
        models=models_of(config, parts, fitted, content),
        nearest=nearest_users(parts, history, work.log, work.keep),
        segments=segments_of(tables, config.evaluate.users, parts),
        earlier=read_reusable(run.tables, since, run.run_id, digest),
        published=read_lists(run.tables, published, run.run_id),
        settings_digest=digest,
        model_version=run.version("user_factors"),
    )


def _training(fitted: FittedTables, folded: DataFrame | None, rows: DataFrame | None) -> Training:
    """By what lists are explained.

    folded, rows: users who were folded in, and the interactions of that time; None: none were.
    """
    if folded is None or rows is None:
        return Training(fitted.spec, fitted.rows, None)
    new = folded.select(F.col("id").alias("user"))
    return Training(fitted.spec, fitted.rows, rows.join(new, "user", "left_semi"))


def _content(
    name: str, model: Model, items: DataFrame | None, ids: DataFrame, keep: Keep
) -> DataFrame:
    """The rows of a model of kind content, of the items of ids."""
    return keep(fit_content(name, model, items, ids), f"content/{name}")


def _write(
    wanted: Recommend,
    work: Workspace,
    inputs: Inputs,
    plan: ListPlan,
    slices: Slices,
    tally: Tally,
) -> None:
    """Write the lists of users who have none yet, slice by slice."""
    if done := len(slices.progress.notes):
        work.log.info(f"{done} {'slice' if done == 1 else 'slices'} of lists were written before")
    if slices.progress.complete:
        return
    users = not_written(slices, plan.request.users)
    # Without counting them, where these are all there are.
    every = wanted.users.path is None and slices.progress.through is None
    most = inputs.known_users if every else users.count()
    layout = plan_layout(wanted, most, work.spark.sparkContext.defaultParallelism)
    users, kept = reuse_lists(inputs, users, wanted, plan.schema, work.log, work.keep)
    lists = make_lists(replace(plan.request, users=users, layout=layout), tally)
    version = {"model_version": inputs.model_version}
    complete = partial(conform_in_tasks, schema=plan.schema, constants=version)
    write_slices(slices, lists, complete, kept, work.log, work.keep)


def _check(table: DataFrame, wanted: Recommend, inputs: Inputs, tally: Tally) -> Summary:
    """Raise AuditError for lists that are not what they have to be, and count what they are."""
    # Scores descend within a source, and rise where another begins.
    scored = () if inputs.policy.reorders else (MODEL, FOLD_IN, *wanted.chain)
    found = audit(table, "user_id", _TABLE, wanted.n, (POPULAR, *scored))
    return found | {"policy": rule_effects(inputs.policy, tally), "rules": inputs.settings_digest}
