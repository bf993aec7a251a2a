"""Dense neighbour models by plain loops over a matrix (users, items); NaN is no interaction."""

from math import log, sqrt

import numpy as np


def similarities(values, similarity, shrinkage=0.0, weights="binary", centring="none"):
    """Rows against rows of a matrix (rows, middles); centring: none, row or middle."""
    x = matrix_of(values, weights)
    centre(x, ~np.isnan(values), centring)
    if similarity in ("bm25", "tfidf"):
        x = weighed_text(x, ~np.isnan(values), similarity)
    out = np.zeros((len(x), len(x)))
    for one in range(len(x)):
        for other in range(len(x)):
            product = float(x[one] @ x[other])
            r, c = float(x[one] @ x[one]), float(x[other] @ x[other])
            whole = sqrt(r * c) + shrinkage
            if similarity == "jaccard":
                whole = r + c - product + shrinkage
            if similarity == "bm25":
                whole = 1.0
            out[one, other] = product / whole if whole else 0.0
    return out


def matrix_of(values, weights):
    return np.where(np.isnan(values), 0.0, 1.0 if weights == "binary" else values)


def centre(x, there, centring):
    """In place, by means over what is there."""
    lines = {
        "none": [],
        "row": zip(x, there, strict=True),
        "middle": zip(x.T, there.T, strict=True),
    }
    for line, mask in lines[centring]:
        if mask.any():
            line[mask] -= line[mask].mean()


def weighed_text(x, there, similarity):
    """Rows are documents, middles terms."""
    documents = int(there.any(axis=1).sum())
    mean = x.sum() / documents
    out = np.zeros_like(x)
    for row, middle in zip(*np.nonzero(there), strict=True):
        idf, tf = log(documents) - log(1 + there[:, middle].sum()), x[row, middle]
        if similarity == "bm25":
            weight = tf * 2.2 / (1.2 * (0.25 + 0.75 * x[row].sum() / mean) + tf)
        else:
            weight = sqrt(tf)
        out[row, middle] = weight * idf
    return out


def rp3beta(values, alpha, user_alpha, beta, weights="binary"):
    there, r = ~np.isnan(values), matrix_of(values, weights)
    users, items = r.shape
    out = np.zeros((items, items))
    for j in range(items):
        for i in range(items):
            total = 0.0
            for user in range(users):
                if there[user, j] and there[user, i]:
                    total += r[user, j] * r[user, i] * r[user].sum() ** -user_alpha
            if total:
                out[j, i] = r[:, j].sum() ** -alpha * total * r[:, i].sum() ** -beta
    return out


def ease(values, regularization):
    """One ridge regression an item on all others, which is what the closed form solves."""
    known = np.flatnonzero((~np.isnan(values)).any(axis=0))
    x = (~np.isnan(values[:, known])).astype(float)
    out = np.zeros((values.shape[1],) * 2)
    for at, item in enumerate(known):
        others = np.delete(np.arange(len(known)), at)
        y = x[:, others]
        ridge = y.T @ y + regularization * np.eye(len(others))
        out[known[others], item] = np.linalg.solve(ridge, y.T @ x[:, at])
    return out


def truncated(matrix, k, magnitude=False):
    """Per row: {column: weight} of the k largest positive entries; ties to the smaller column."""
    rows = {}
    for row, values in enumerate(matrix):
        key = np.abs(values) if magnitude else values
        order = sorted(range(len(values)), key=lambda column, key=key: (-key[column], column))  # type: ignore[misc]
        kept = [c for c in order if c != row and key[c] > 1e-12][:k]
        if kept:
            rows[row] = {column: values[column] for column in sorted(kept)}
    return rows
