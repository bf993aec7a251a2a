"""Wiring of refit: the evaluated recipe once more, on all interactions, for the lists."""

from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import Train
from recsys_spark.evaluation import measure_agreement, summarise
from recsys_spark.kernels.spec import SIDES
from recsys_spark.pipeline.early_stopping import EarlyStopping
from recsys_spark.pipeline.evaluate import evaluated_scores
from recsys_spark.pipeline.folded_models import model_specs
from recsys_spark.pipeline.models import fit_models
from recsys_spark.pipeline.plan import MB
from recsys_spark.pipeline.run import Run, Summary, refit_version
from recsys_spark.pipeline.train import evaluated_factors, fit, trained_spec
from recsys_spark.schema import RATINGS
from recsys_spark.topn.catalog import Catalogue, with_factors
from recsys_spark.topn.recommend import make_lists, read_catalogue, with_seen
from recsys_spark.topn.request import ByFactors, Request
from recsys_spark.wals.factors import read_factors
from recsys_spark.wals.fit import Factorization

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
    refitted = tuple(run.read(f"{side}_factors") for side in SIDES)
    history, users = run.read("interactions"), _compared_users(run)
    known = run.upstream("ingest").summary.get("users")
    catalogue = read_catalogue(history, run.read("item_ids"), "index", users=known)
    ours, theirs = (
        _first(users, with_factors(catalogue, scores[1]), scores[0])
        for scores in (refitted, evaluated_scores(run))
    )
    rows = summarise(measure_agreement(ours, theirs, [_FIRST]), run.run_id, resamples=0).collect()
    compared = max((row["users"] for row in rows), default=0)
    return {"k": _FIRST, "compared_users": compared} | {r["metric"]: r["value"] for r in rows}


def _first(users: DataFrame, catalogue: Catalogue, user_factors: DataFrame) -> DataFrame:
    """The first items of lists by these factors."""
    return make_lists(Request(users, catalogue, _FIRST, ranked_by=ByFactors(user_factors))).every()


def _compared_users(run: Run) -> DataFrame:
    """Columns user_id, user, seen; the same users whatever the partitioning."""
    every = run.read("test").select("user").distinct()
    some = every.orderBy(F.xxhash64("user"), "user").limit(_USERS)
    named = some.join(run.read("user_ids").toDF("user_id", "user"), "user")
    history = run.read("interactions").select("user", "item")
    seen = history.join(some, "user", "left_semi")
    return run.keep(with_seen(named.select("user_id", "user"), seen), "compared")


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
