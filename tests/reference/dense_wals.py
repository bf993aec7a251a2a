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


def implicit_row(Y, ratings, alpha, regularization):
    """implicit's least_squares: A = Y'Y + reg I + (|C| - 1) y y', b += C y for C above 0."""
    A, b = Y.T @ Y + regularization * np.eye(Y.shape[1]), np.zeros(Y.shape[1])
    for j, value in ratings.items():
        confidence = alpha * value
        if confidence > 0:
            b = b + confidence * Y[j]
        A = A + (abs(confidence) - 1) * np.outer(Y[j], Y[j])
    return np.linalg.solve(A, b)


def irspack_row(Y, ratings, alpha0, reg, nu, loss, epsilon=None):
    """irspack: sum_S c (x y - 1)^2 + alpha0 sum (x y)^2 + reg (n + alpha0 N)^nu |x|^2 (IALSPP), or
    with weight c + alpha0 on the pairs of S and alpha0 on the others (ORIGINAL)."""
    cells = range(len(Y))
    c = {j: r if epsilon is None else np.log(1 + r / epsilon) for j, r in ratings.items()}
    if loss == "IALSPP":  # two squares a cell: the pair's, and the one that every cell has
        rows = [(c[j], 1.0, j) for j in c] + [(alpha0, 0.0, j) for j in cells]
    else:
        rows = [(c[j] + alpha0, 1.0, j) if j in c else (alpha0, 0.0, j) for j in cells]
    return least_squares(Y, rows, reg * (len(c) + alpha0 * len(Y)) ** nu)


def lenskit_implicit_row(Y, ratings, weight, reg, use_ratings):
    """LensKit: (Y'Y + reg I + M' diag(w r) M)^-1 M' (w r + 1), r = 1 without ratings."""
    M = Y[list(ratings)]
    w = weight * (np.array(list(ratings.values())) if use_ratings else np.ones(len(ratings)))
    left = Y.T @ Y + reg * np.eye(Y.shape[1]) + M.T @ np.diag(w) @ M
    return np.linalg.solve(left, M.T @ (w + 1))


def tf_wals_row(Y, ratings, row_weight, col_weights, w0, regularization):
    """WALS: w0 on every cell (with target 0 where nothing stands), R_i C_j more on observed ones,
    whose target is their value."""
    extra = {j: w0 + row_weight * col_weights[j] for j in ratings}
    rows = [(extra.get(j, w0), ratings.get(j, 0.0), j) for j in range(len(Y))]
    return least_squares(Y, rows, regularization)


def eals_row(Y, ratings, missing, observed_weight, reg):
    """He et al. 2016, eq. 7: observed cells with one weight, missing ones with c_j; plain L2."""
    rows = [
        (observed_weight, 1.0, j) if j in ratings else (missing[j], 0.0, j) for j in range(len(Y))
    ]
    return least_squares(Y, rows, reg)


def least_squares(Y, rows, penalty):
    """Minimise sum weight (x y_j - target)^2 + penalty |x|^2 over (weight, target, j)."""
    scale = np.array([np.sqrt(weight) for weight, _, _ in rows])
    design = np.array([Y[j] for _, _, j in rows]) * scale[:, None]
    targets = np.array([target for _, target, _ in rows]) * scale
    design = np.vstack([design, np.sqrt(penalty) * np.eye(Y.shape[1])])
    padded = np.concatenate([targets, np.zeros(Y.shape[1])])
    return np.linalg.lstsq(design, padded, rcond=None)[0]


def damped_biases(table, damping):
    """LensKit's BiasModel on a table with NaN: mean, then items, then users, each damped."""
    mean = np.nanmean(table)
    item = np.nansum(table - mean, axis=0) / ((~np.isnan(table)).sum(axis=0) + damping)
    rest = table - mean - item
    user = np.nansum(rest, axis=1) / ((~np.isnan(table)).sum(axis=1) + damping)
    return mean, user, item


def block_step_row(Y, a, b, w0, L, x, block):
    """x with the coordinates in `block` at the minimum of the row's loss, the others held.

    What the others leave of the targets is fitted by the block's columns of Y alone.
    """
    x = np.array(x, float)
    rest = x.copy()
    rest[block] = 0.0
    weight = w0 + np.asarray(a, float)
    inside = Y[:, block]
    left = L * np.eye(len(x[block])) + inside.T @ (weight[:, None] * inside)
    x[block] = np.linalg.solve(left, inside.T @ (b - weight * (Y @ rest)))
    return x
