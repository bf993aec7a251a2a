"""Ranking metrics of one user, written down from their definitions."""

from math import log2


def metrics(ranked, relevant, k):
    """All metrics at cut-off k by name."""
    hit_ranks = [rank for rank, item in enumerate(ranked[:k], start=1) if item in relevant]
    reachable = min(k, len(relevant))
    precisions = [sum(other <= rank for other in hit_ranks) / rank for rank in hit_ranks]
    ideal = sum(1 / log2(rank + 1) for rank in range(1, reachable + 1))
    return {
        "precision": len(hit_ranks) / k,
        "recall": len(hit_ranks) / len(relevant),
        "recall_min": len(hit_ranks) / reachable,
        "hit_rate": 1.0 if hit_ranks else 0.0,
        "mrr": 1 / hit_ranks[0] if hit_ranks else 0.0,
        "map": sum(precisions) / reachable,
        "ndcg": sum(1 / log2(rank + 1) for rank in hit_ranks) / ideal,
    }
