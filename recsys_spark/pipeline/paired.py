"""The delivered model beside the best of the others, user by user."""

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.evaluation.comparison import compare_models
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.pipeline.run import Run
from recsys_spark.report.words import Summary, best_baseline, delivered
from recsys_spark.schema import PER_USER_KEY

METRIC = "ndcg"


def paired_with_best(run: Run, summary: Summary) -> dict[str, Any] | None:
    """How much more NDCG users have from it than from the best other; None without one.

    The difference is the delivered model's less the other's. None without resamples, too.
    """
    best, resamples = best_baseline(summary, METRIC), run.config.evaluate.resamples
    if best is None or not resamples:
        return None
    table = run.read("metrics_per_user").select(*PER_USER_KEY, METRIC)
    shown = table.where((F.col("split") == summary["split"]) & (F.col("k") == summary["k"]))
    baseline, model = (_of(shown, name) for name in (best["model"], delivered(summary)))
    row = compare_models(baseline, model, resamples).toArrow().to_pylist()[0]
    kept = ("difference", "ci_low", "ci_high", "p_value", "users")
    return {"baseline": best["model"], "metric": METRIC, **{name: row[name] for name in kept}}


def _of(table: DataFrame, model: str) -> DataFrame:
    return table.where((F.col("model") == model) & (F.col("segment") == ALL))
