"""Dense double-precision loops: the general objective, and each published system's own formula.

Y is the fixed side, one row per column of the interactions; nothing here comes from the package.
"""

import numpy as np


def general_row(Y, a, b, w0, L):
    """One row's solution of the general equation; a and b are zero where unobserved."""
    left = L * np.eye(Y.shape[1])
    right = np.zeros(Y.shape[1])
    for j, y in enumerate(Y):
        left += (w0 + a[j]) * np.outer(y, y)
        right += b[j] * y
    return np.linalg.solve(left, right)


def observed_error(X, Y, observed, a, b, w0):
    """The weighted squared error over the observed cells."""
    total = 0.0
    for u, x in enumerate(X):
        for j, y in enumerate(Y):
            if observed[u, j]:
                weight = w0 + a[u, j]
                total += weight * (x @ y - b[u, j] / weight) ** 2
    return total


def full_loss(X, Y, observed, a, b, w0, L_rows, L_columns):
    """The whole objective, every user-item cell visited."""
    total = observed_error(X, Y, observed, a, b, w0)
    for u, x in enumerate(X):
        for j, y in enumerate(Y):
            if not observed[u, j]:
                total += w0 * (x @ y) ** 2
    total += sum(L * (x @ x) for L, x in zip(L_rows, X, strict=True))
    return total + sum(L * (y @ y) for L, y in zip(L_columns, Y, strict=True))


def google_ials_row(Y, ratings, w0, regularization, nu):
    """Rendle et al. 2021: (Ys'Ys + w0 Y'Y + reg (n + w0 N)^nu I)^-1 Ys' 1; ratings do not count."""
    Ys = Y[sorted(ratings)]
    penalty = regularization * (len(Ys) + w0 * len(Y)) ** nu
    left = Ys.T @ Ys + w0 * Y.T @ Y + penalty * np.eye(Y.shape[1])
    return np.linalg.inv(left) @ Ys.sum(axis=0)


def hu2008_row(Y, ratings, alpha, regularization):
    """Hu, Koren, Volinsky 2008, eq. 4: (Y'Y + Y'(C - I)Y + lambda I)^-1 Y' C p."""
    r = np.array([ratings.get(j, 0.0) for j in range(len(Y))])
    C = np.diag(1.0 + alpha * r)
    p = (r > 0).astype(float)
    left = Y.T @ Y + Y.T @ (C - np.eye(len(Y))) @ Y + regularization * np.eye(Y.shape[1])
    return np.linalg.inv(left) @ Y.T @ C @ p


def mllib_implicit_row(Y, ratings, alpha, regularization):
    """MLlib's loop over ratings: c1 = alpha |r|, preference 0 if r <= 0, lambda times positives."""
    left, right, positives = Y.T @ Y, np.zeros(Y.shape[1]), 0
    for j, rating in ratings.items():
        c1 = alpha * abs(rating)
        left = left + c1 * np.outer(Y[j], Y[j])
        if rating > 0:
            positives += 1
            right += (1.0 + c1) * Y[j]
    return np.linalg.inv(left + positives * regularization * np.eye(Y.shape[1])) @ right


def mllib_explicit_row(Y, ratings, regularization):
    """Zhou et al. 2008 (ALS-WR): ridge regression of the ratings, lambda times their number."""
    Ys = Y[list(ratings)]
    penalty = np.sqrt(regularization * len(Ys)) * np.eye(Y.shape[1])
    values = np.array(list(ratings.values()))
    padded = np.concatenate([values, np.zeros(Y.shape[1])])
    return np.linalg.lstsq(np.vstack([Ys, penalty]), padded, rcond=None)[0]
