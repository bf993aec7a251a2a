"""The delivered model beside the best of the others, user by user."""

from typing import Any

import pyarrow as pa

from recsys_spark.report.words import Summary, best_baseline

METRIC = "ndcg"
_KEPT = ("difference", "ci_low", "ci_high", "p_value", "users")


def paired_with_best(pairs: pa.Table | None, summary: Summary) -> dict[str, Any] | None:
    """How much more NDCG users have from it than from the best other; None without one.

    pairs: from `evaluation.model_means.finish_pairs`; None: nothing was compared. The difference is
    the delivered model's less the other's.
    """
    best = best_baseline(summary, METRIC)
    if best is None or pairs is None:
        return None
    row = next((row for row in pairs.to_pylist() if row["model"] == best["model"]), None)
    if row is None:
        return None
    return {"baseline": best["model"], "metric": METRIC, **{name: row[name] for name in _KEPT}}
