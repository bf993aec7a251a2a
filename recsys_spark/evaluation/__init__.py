"""Metrics of any two tables, recommendations and truth, and of predicted ratings."""

from recsys_spark.evaluation.beyond_accuracy import measure_lists
from recsys_spark.evaluation.comparison import compare
from recsys_spark.evaluation.directions import DESCRIBED
from recsys_spark.evaluation.evaluator import TopNEvaluator
from recsys_spark.evaluation.exposure import measure_exposure
from recsys_spark.evaluation.full_ranking import measure_full_ranking
from recsys_spark.evaluation.list_overlap import measure_agreement
from recsys_spark.evaluation.ranking import measure_ranking
from recsys_spark.evaluation.ratings import predict_ratings, rating_error
from recsys_spark.evaluation.summary import summarise

__all__ = [
    "DESCRIBED",
    "TopNEvaluator",
    "compare",
    "measure_agreement",
    "measure_exposure",
    "measure_full_ranking",
    "measure_lists",
    "measure_ranking",
    "predict_ratings",
    "rating_error",
    "summarise",
]
