"""The engine's weights by loops over rows, from the definitions in docs/objectives.md.

A row is a dict of user, item, value, and where they are needed day, weight and target.
"""

import math


def weigh_rows(rows, spec, context=None, folded=None):
    """A pair (a, b) for each row; statistics are those of `context`, else of the rows.

    folded: the side whose ids are counted in the rows all the same.
    """
    known = rows if context is None else context
    own = {side: rows if side == folded else known for side in ("user", "item")}
    return [_pair(row, known, own, spec) for row in rows]


def unobserved_weight(user, item, known, spec, own=None):
    own = own or {"user": known, "item": known}
    n_user, n_item = _count(user, "user", own["user"]), _count(item, "item", own["item"])
    w0 = spec.unobserved_weight
    w0 *= _over_mean_of_ids(n_user, "user", spec.user_unobserved_exponent, known)
    return w0 * _over_mean_of_ids(n_item, "item", spec.item_unobserved_exponent, known)


def _pair(row, known, own, spec):
    n = {side: _count(row[side], side, own[side]) for side in own}
    w0 = unobserved_weight(row["user"], row["item"], known, spec, own)
    least = spec.min_positive_value
    liked = row["value"] > 0 if least is None else row["value"] >= least
    c = _form(row, n["user"], known, spec)
    if not liked and spec.negative_alpha is not None:
        c *= spec.negative_alpha
    elif spec.weighting != "binary":
        c *= spec.alpha
    c *= _over_mean_of_rows(n["user"], "user", spec.user_frequency_exponent, known)
    c *= _over_mean_of_rows(n["item"], "item", spec.item_frequency_exponent, known)
    if spec.half_life_days is not None:
        reference = max(other["day"] for other in known)
        c *= 2 ** (-max(0, reference - row["day"]) / spec.half_life_days)
    c *= row.get("weight", 1.0)
    a = c - w0 if spec.confidence == "total" else c
    if "target" in row:
        target = row["target"]
    elif spec.target == "value":
        target = row["value"]
    elif spec.target == "unit":
        target = float(liked)
    else:
        target = a / (w0 + a) if liked else 0.0
    return a, (w0 + a) * target


def _form(row, n_user, known, spec):
    r = abs(row["value"])
    if spec.weighting == "binary":
        return 1.0
    if spec.weighting == "linear":
        return r
    if spec.weighting == "log":
        return math.log(1 + r / spec.epsilon)
    if spec.weighting == "power":
        return r**spec.exponent
    items = len({other["item"] for other in known})
    rarity = max(0.0, math.log(items) - math.log(1 + n_user))
    if spec.weighting == "tfidf":
        return math.sqrt(r) * rarity
    if r == 0:
        return 0.0
    lengths = {}
    for other in known:
        lengths[other["item"]] = lengths.get(other["item"], 0.0) + abs(other["value"])
    relative = lengths[row["item"]] / (sum(lengths.values()) / len(lengths))
    k1, b = spec.bm25_k1, spec.bm25_b
    return r * (k1 + 1) / (k1 * (1 - b + b * relative) + r) * rarity


def _count(id_, side, known):
    return sum(1 for row in known if row[side] == id_)


def _over_mean_of_rows(count, side, exponent, known):
    mean = sum(_count(row[side], side, known) ** exponent for row in known) / len(known)
    return count**exponent / mean


def _over_mean_of_ids(count, side, exponent, known):
    if exponent == 0:
        return 1.0
    ids = {row[side] for row in known}
    mean = sum(_count(other, side, known) ** exponent for other in ids) / len(ids)
    return count**exponent / mean
