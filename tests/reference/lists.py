"""Metrics of lists, and their similarity, written down from the definitions."""

from itertools import combinations, pairwise
from math import log, log2, sqrt


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


def cosine(a, b):
    scale = sqrt(sum(x * x for x in a)) * sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / scale


def popularity_ranks(shares):
    """Of each item, from 1; tied ones share the mean of theirs."""
    return {
        item: 1 + sum(s > share for s in shares.values())
        + (sum(s == share for s in shares.values()) - 1) / 2
        for item, share in shares.items()
    }  # fmt: skip


def list_metrics(ranked, relevant, history, items, k):
    """items: share, factors, attributes by item. ranked: best first."""
    shares = {item: share for item, (share, _, _) in items.items()}
    ranks = popularity_ranks(shares)
    listed = [item for item in ranked[:k] if item in items]
    surprise = sum(
        max(0.0, (ranks[item] - rank) / len(items))
        for rank, item in enumerate(ranked[:k], start=1)
        if item in relevant and item in items
    )
    vectors = [items[item][1] for item in listed if items[item][1] and any(items[item][1])]
    names = [set(items[item][2]) for item in listed if items[item][2]]
    return {
        "novelty": mean(-log2(shares[item]) for item in listed),
        "popularity_rank": mean(ranks[item] / len(items) for item in listed),
        "serendipity": surprise / k,
        "diversity": mean(1 - cosine(a, b) for a, b in combinations(vectors, 2)),
        "attribute_diversity": mean(
            1 - len(a & b) / sqrt(len(a) * len(b)) for a, b in combinations(names, 2)
        ),
        "miscalibration": divergence(
            shares_of(items[item][2] for item in history if item in items), shares_of(names)
        ),
    }


def shares_of(attributes):
    lists = [names for names in attributes if names]
    shares = {}
    for names in lists:
        for name in names:
            shares[name] = shares.get(name, 0.0) + 1 / len(names) / len(lists)
    return shares


def divergence(wanted, given):
    if not wanted or not given:
        return None
    return sum(p * log(p / (0.99 * given.get(name, 0.0) + 0.01 * p)) for name, p in wanted.items())


def agreement(one, other, k):
    depth = min(k, max(len(one), len(other)))
    if depth == 0:
        return {"overlap": None, "rbo": None}
    shares = [len(set(one[:d]) & set(other[:d])) / d for d in range(1, depth + 1)]
    weighed = sum(share * 0.9**d for d, share in enumerate(shares, start=1))
    return {"overlap": shares[-1], "rbo": shares[-1] * 0.9**depth + 0.1 / 0.9 * weighed}


def gini(counts):
    """Half the mean difference of two items, over the mean."""
    differences = sum(abs(a - b) for a in counts for b in counts)
    return differences / (2 * len(counts) * sum(counts))


def exposure(lists, items):
    """Coverage, concentration and how different the lists are. lists: not empty."""
    counts = [sum(item in ranked for ranked in lists) for item in items]
    total = sum(counts)
    pairs = list(combinations(lists, 2))
    common = mean(len(set(a) & set(b)) for a, b in pairs)
    found = {
        "item_coverage": sum(count > 0 for count in counts) / len(items),
        "gini": gini(counts),
        "entropy": -sum(c / total * log2(c / total) for c in counts if c),
    }
    if pairs:
        found["personalisation"] = 1 - common / (total / len(lists))
    return found


def rank_metrics(scores, left_out, relevant):
    """scores: by item; relevant items without a score, or left out, come last."""
    candidates = {item: score for item, score in scores.items() if item not in left_out}
    negatives = [score for item, score in candidates.items() if item not in relevant]
    if not negatives:
        return {"auc": None, "partial_auc": None, "percentile_rank": None}
    below, area, above = [], [], []
    for item in relevant:
        if item not in candidates:
            below.append(0.0)
            area.append(0.0)
            above.append(1.0)
            continue
        own = candidates[item]
        others = [score for other, score in candidates.items() if other != item]
        below.append(1 - above_share(negatives, own))
        above.append(above_share(others, own) if others else 0.0)
        area.append(slope(negatives, own, 0.1 * len(negatives)))
    count = len(relevant)
    return {
        "auc": sum(below) / count,
        "partial_auc": sum(area) / count / (0.1 * len(negatives)),
        "percentile_rank": sum(above) / count,
    }


def above_share(scores, own):
    return mean((score > own) + (score == own) / 2 for score in scores)


def slope(negatives, own, reach):
    """Area of 1 behind `better` negatives, rising on a line over the tied ones, up to `reach`."""
    better = sum(score > own for score in negatives)
    equal = sum(score == own for score in negatives)
    points = [(0.0, 0.0), (better, 0.0), (better + equal, 1.0), (len(negatives) + reach, 1.0)]
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        stop = min(x1, reach)
        if x1 > x0 and stop > x0:
            y = y0 + (y1 - y0) * (stop - x0) / (x1 - x0)
            area += (stop - x0) * (y0 + y) / 2
    return area
