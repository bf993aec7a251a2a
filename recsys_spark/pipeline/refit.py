"""Wiring of refit: the evaluated recipe once more, on all interactions, for the lists."""

from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.factors import read_factors
from recsys_spark.als.trainer import Factorization
from recsys_spark.config import Train
from recsys_spark.evaluation.list_overlap import agreement_of
from recsys_spark.evaluation.model_lists import Ranking
from recsys_spark.pipeline.context import Run, Summary
from recsys_spark.pipeline.early_stopping import EarlyStopping
from recsys_spark.pipeline.evaluate import evaluated_scores
from recsys_spark.pipeline.execution_plan import MB
from recsys_spark.pipeline.folded_models import model_specs
from recsys_spark.pipeline.models import fit_models
from recsys_spark.pipeline.stage_graph import refit_version
from recsys_spark.pipeline.train import evaluated_factors, fit, trained_spec
from recsys_spark.schema import RATINGS
from recsys_spark.topn.blocks import factor_column
from recsys_spark.topn.catalog import with_factors
from recsys_spark.topn.recommend import read_catalogue, with_seen
from recsys_spark.topn.scorers import FactorScorer, Scorer

_FIRST = 10  # items of a list that are compared
_USERS = 2000  # whose lists are compared, at most


def refit(run: Run) -> Summary:
    """Fit the trained model on all interactions, beginning with its factors.

    It does as many sweeps as the training did, so that what early stopping found holds.
    """
    trained = run.upstream("train").summary
    spec = replace(trained_spec(run), iterations=len(trained["losses"]))
    users, items = (read_factors(side) for side in evaluated_factors(run))
    start = Factorization(users, items), run.lineage["train"]
    # Train() without early stopping: the number of sweeps is known.
    stopping = EarlyStopping(Train(), lambda state: state.losses[-1].total)
    version = refit_version(run.run_id)
    rows = run.read("interactions").select(*RATINGS.names)
    found = fit(run, rows, spec, stopping, lambda: start, version)
    models = fit_models(run, rows, version)
    summary = {
        "preset": trained["preset"],
        **found,
        "models": models,
        "model_specs": model_specs(run.config),
        "sweeps": len(found["losses"]),
        "evaluated_rows": run.noted("train", "rows"),
        **_agreement(run, 4 * found["items"] * spec.width),
    }
    run.log.info(_sentence(summary))
    names = ("rows", "overlap", "rbo")
    figures = {f"refit.{name}": summary[name] for name in names if summary.get(name) is not None}
    run.tracker.metrics(figures)
    return summary


def _agreement(run: Run, item_bytes: int) -> dict[str, Any]:
    """How similar the first items of both models are, for users with held-out rows.

    item_bytes: of the items' factors; where they do not fit one broadcast, no user is compared.
    """
    if item_bytes > run.config.solver.broadcast_budget_mb * MB:
        return {"k": _FIRST, "compared_users": 0}
    refitted = run.read("user_factors"), run.read("item_factors")
    history = run.read("interactions").select("user", "item")
    known = run.upstream("ingest").summary.get("users")
    catalogue = read_catalogue(history, run.read("item_ids"), "index", users=known)
    users, scorers = _compared_users(run.read("test"), history), dict[str, Scorer]()
    for name, (own, items) in {"refitted": refitted, "evaluated": evaluated_scores(run)}.items():
        fitted = with_factors(catalogue, items)
        scorers[name] = FactorScorer(name, fitted.factors, fitted.scored)
        users = users.join(own.toDF("user", factor_column(name)), "user", "left")
    found = agreement_of(users.toArrow(), Ranking(catalogue.index, scorers, _FIRST))
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
