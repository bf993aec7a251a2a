"""What settings that messages name are called in the configuration."""

from collections.abc import Mapping

from recsys_spark.kernels.als.keys import keys_of
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import WalsSpec

# By the name in the code, for `errors.settings_named`.
KEYS: Mapping[str, str] = {
    "preset": "objective.preset",
    **{name: f"objective.{name}" for name in keys_of(WalsSpec)},
    **{name: f"solver.{name}" for name in (*keys_of(Solver), "placement", "blocks")},
    "broadcast_budget_bytes": "solver.broadcast_budget_mb",
    "budget_mb": "solver.broadcast_budget_mb",
    "genre_weight": "recommend.similar_items.genre_weight",
    "min_relevant_value": "evaluate.min_relevant_value",
    "neighbours": "models.{model}.neighbours",
    "new_days": "recommend.policy.new_items.days",
    "reasons": "recommend.explain",
    "seen_days": "recommend.seen_days",
    "timestamp": "ingest.source.columns.timestamp",
}
