"""Ranking metrics of one user, written down from their definitions."""

from math import log2


def metrics(ranked, relevant, k):
    """All metrics at cut-off k by name. relevant: items, or items with their gains."""
    gains = relevant if isinstance(relevant, dict) else dict.fromkeys(relevant, 1.0)
    gains = {item: max(gain, 0.0) for item, gain in gains.items()}
    hit_ranks = [rank for rank, item in enumerate(ranked[:k], start=1) if item in gains]
    reachable = min(k, len(gains))
    precisions = [sum(other <= rank for other in hit_ranks) / rank for rank in hit_ranks]
    precision, recall = len(hit_ranks) / k, len(hit_ranks) / len(gains)
    return {
        "precision": precision,
        "recall": recall,
        "recall_min": len(hit_ranks) / reachable,
        "f1": 2 * precision * recall / (precision + recall) if hit_ranks else 0.0,
        "hit_rate": 1.0 if hit_ranks else 0.0,
        "mrr": 1 / hit_ranks[0] if hit_ranks else 0.0,
        "map": sum(precisions) / len(gains),
        "map_min": sum(precisions) / reachable,
        "ndcg": ndcg(ranked, gains, k, lambda gain: 1.0),
        "ndcg_linear": ndcg(ranked, gains, k, lambda gain: gain),
        "ndcg_exponential": ndcg(ranked, gains, k, lambda gain: 2 ** min(gain, 30) - 1),
        "r_precision": sum(rank <= len(gains) for rank in hit_ranks) / len(gains),
        "rbp": 0.0 + sum(0.2 * 0.8 ** (rank - 1) for rank in hit_ranks),
    }


def ndcg(ranked, gains, k, worth):
    values = [worth(gains[item]) if item in gains else 0.0 for item in ranked[:k]]
    best = sorted((worth(gain) for gain in gains.values()), reverse=True)[:k]
    ideal = dcg(best)
    return dcg(values) / ideal if ideal else 0.0


def dcg(values):
    return sum(value / log2(rank + 1) for rank, value in enumerate(values, start=1))
