"""Wiring of refit: the evaluated recipe once more, on all interactions, for the lists."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.factors import read_factors
from recsys_spark.als.trainer import Factorization
from recsys_spark.config import Config, Train
from recsys_spark.evaluation.list_overlap import agreement_of
from recsys_spark.evaluation.model_lists import Ranking
from recsys_spark.pipeline.checkpoints import Checkpoints
from recsys_spark.pipeline.context import Run, Summary
from recsys_spark.pipeline.early_stopping import EarlyStopping
from recsys_spark.pipeline.execution_plan import MB
from recsys_spark.pipeline.fitted_tables import FittedTables, Scores, read_fitted
from recsys_spark.pipeline.folded_models import evaluated_scores, model_specs
from recsys_spark.pipeline.models import ModelInputs, fit_models, fitted_settings
from recsys_spark.pipeline.stage_graph import refit_version
from recsys_spark.pipeline.train import Job, Start, factor_tables, fit
from recsys_spark.schema import FACTORS, RATINGS
from recsys_spark.topn.blocks import factor_column
from recsys_spark.topn.catalog import with_factors
from recsys_spark.topn.recommend import read_catalog, with_seen
from recsys_spark.topn.scorers import FactorScorer, Scorer

_FIRST = 10  # items of a list that are compared
_USERS = 2000  # whose lists are compared, at most


@dataclass(frozen=True)
class Inputs:
    """What refitting starts from.

    fitted: the trained model. sweeps, preset: of its training. rows: all interactions. test: the
    users with held-out rows. folded: rows to fold in, of users held out whole; None: there are
    none. models: what the other models are fitted to. known_users: how many have interactions.
    """

    fitted: FittedTables
    sweeps: int
    preset: str
    rows: DataFrame
    test: DataFrame
    folded: DataFrame | None
    models: ModelInputs
    known_users: int


def refit(run: Run) -> Summary:
    """Fit the trained model on all interactions, beginning with its factors.

    It does as many sweeps as the training did, so that what early stopping found holds.
    """
    config, work, inputs = run.config, run.workspace, _read(run)
    spec = replace(inputs.fitted.spec, iterations=inputs.sweeps)
    # Train() without early stopping: the number of sweeps is known.
    stopping = EarlyStopping(Train(), lambda state: state.losses[-1].total)
    job, checkpoints = Job(inputs.rows, spec, stopping, "refit."), Checkpoints(run)
    trained, found = fit(job, config, work, checkpoints, partial(_start, inputs.fitted))
    version = refit_version(run.run_id)
    for name, frame in factor_tables(trained, work.spark):
        run.write(frame, name, FACTORS, version=version)
    checkpoints.clear()
    for table in fit_models(inputs.models, inputs.rows):
        run.write(*table, version=version)
    summary = {
        "preset": inputs.preset,
        **found,
        "models": fitted_settings(config),
        "model_specs": model_specs(config),
        "sweeps": len(found["losses"]),
        "evaluated_rows": run.noted("train", "rows"),
        **_agreement(config, inputs, run.factors(version), 4 * found["items"] * spec.width),
    }
    work.log.info(_sentence(summary))
    names = ("rows", "overlap", "rbo")
    figures = {f"refit.{name}": summary[name] for name in names if summary.get(name) is not None}
    work.tracker.metrics(figures)
    return summary


def _read(run: Run) -> Inputs:
    trained, user_ids, item_ids = run.upstream("train"), run.read("user_ids"), run.read("item_ids")
    return Inputs(
        fitted=read_fitted(run, "train"),
        sweeps=len(trained.summary["losses"]),
        preset=trained.summary["preset"],
        rows=run.read("interactions").select(*RATINGS.names),
        test=run.read("test"),
        folded=run.find("fold_in"),
        models=ModelInputs(run.config, run.workspace, run.find("items"), user_ids, item_ids),
        known_users=run.upstream("ingest").summary["users"],
    )


def _start(fitted: FittedTables) -> Start:
    """The factors of the trained model."""
    users, items = (read_factors(side) for side in fitted.scores)
    return Factorization(users, items), fitted.run_id


def _agreement(config: Config, inputs: Inputs, refitted: Scores, item_bytes: int) -> dict[str, Any]:
    """How similar the first items of both models are, for users with held-out rows.

    item_bytes: of the items' factors; where they do not fit one broadcast, no user is compared.
    """
    if item_bytes > config.solver.broadcast_budget_mb * MB:
        return {"k": _FIRST, "compared_users": 0}
    history = inputs.rows.select("user", "item")
    catalog = read_catalog(history, inputs.models.item_ids, "index", users=inputs.known_users)
    evaluated = evaluated_scores(config, inputs.fitted, inputs.folded)
    users, scorers = _compared_users(inputs.test, history), dict[str, Scorer]()
    for name, (own, items) in {"refitted": refitted, "evaluated": evaluated}.items():
        fitted = with_factors(catalog, items)
        scorers[name] = FactorScorer(name, fitted.factors, fitted.scored)
        users = users.join(own.toDF("user", factor_column(name)), "user", "left")
    found = agreement_of(users.toArrow(), Ranking(catalog.index, scorers, _FIRST))
    return {"k": _FIRST} | found


def _compared_users(held_out: DataFrame, history: DataFrame) -> DataFrame:
    """Columns user, seen; the same users whatever the partitioning."""
    every = held_out.select("user").distinct()
    some = every.orderBy(F.xxhash64("user"), "user").limit(_USERS)
    return with_seen(some, history.join(some, "user", "left_semi"))


def _sentence(summary: Summary) -> str:
    text = (
        f"fitted on all {summary['rows']:,} interactions in {summary['sweeps']} sweeps; the "
        f"evaluated model was fitted on {summary['evaluated_rows']:,}"
    )
    if summary.get("overlap") is not None:
        text += (
            f". {summary['overlap']:.1%} of the first {summary['k']} items that the weighted ALS "
            f"lists {summary['compared_users']:,} evaluated users are the same in both"
        )
    return text
