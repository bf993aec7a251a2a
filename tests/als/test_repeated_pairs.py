"""Rows of a pair that occurs several times: what they add up to, their loss, no early end."""

from collections import defaultdict

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from threadpoolctl import threadpool_limits

from recsys_spark import WALS
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import Factors
from recsys_spark.als.trainer import Loss, _has_risen, fit_factors, solve_side
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import frame_of, normal_factors
from tests.reference.dense_wals import least_squares

RANK = 3
# Of a row of value r: weight on top of w0 (or the whole weight of `implicit`), target's share b.
ROWS = {
    "ials": (0.1, lambda r: 1.0, lambda r: 1.0),
    "hu2008": (1.0, lambda r: 40.0 * r, lambda r: 1.0 + 40.0 * r),
    "mllib": (1.0, lambda r: abs(r), lambda r: (1.0 + r) if r > 0 else 0.0),
    "implicit": (1.0, lambda r: r, lambda r: r),
    "explicit": (0.0, lambda r: 1.0, lambda r: r),
    "tf_wals": (0.01, lambda r: 1.0, lambda r: 1.01 * r),
}


def rows_of(preset, seed=3, users=9, items=7):
    """Three rows a pair on average, of different values."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, users, 190), rng.integers(0, items, 190)
    low = -2 if preset in ("mllib", "explicit") else 1
    value = rng.integers(low, 6, 190).astype(float)
    if preset == "implicit":
        value /= 10.0  # whole weights below that of an unobserved pair, above it together
    return user, item, value


def pairs_of(preset, columns):
    """By pair: weight, b, and the rows' weights and b."""
    w0, weight, b = ROWS[preset]
    found = defaultdict(list)
    for user, item, r in zip(*columns, strict=True):
        found[int(user), int(item)].append((weight(r), b(r)))
    whole = 0.0 if preset == "implicit" else w0
    return {
        pair: (whole + sum(a for a, _ in rows), sum(b for _, b in rows), rows)
        for pair, rows in found.items()
    }


def penalty(preset, user, columns, others):
    """L of a user by the rows of the preset's table."""
    rows = columns[0] == user
    n = np.sum(columns[2][rows] > 0) if preset == "mllib" else np.sum(rows)
    return {
        "ials": 0.003 * (n + 0.1 * others),
        "hu2008": 1.0,
        "mllib": 0.1 * n,
        "implicit": 0.01,
        "explicit": 0.1 * n,
        "tf_wals": 0.07,
    }[preset]


def user_row(preset, user, columns, Y):
    """Weighted least squares over every cell of a user's row."""
    w0, pairs = ROWS[preset][0], pairs_of(preset, columns)
    cells = []
    for item in range(len(Y)):
        weight, b, _ = pairs.get((user, item), (w0, 0.0, []))
        cells.append((weight, b / weight if weight else 0.0, item))
    return least_squares(Y, cells, penalty(preset, user, columns, len(Y)))


def brute_terms(preset, columns, X, Y):
    """Observed and unobserved loss, cell by cell."""
    w0, pairs = ROWS[preset][0], pairs_of(preset, columns)
    observed, unobserved = 0.0, 0.0
    for user, x in enumerate(X.astype(float)):
        for item, y in enumerate(Y.astype(float)):
            if (user, item) not in pairs:
                unobserved += w0 * (x @ y) ** 2
                continue
            weight, b, rows = pairs[user, item]
            if w0 == 0.0:
                observed += sum(a * (x @ y - b / a) ** 2 for a, b in rows)
            else:
                observed += weight * (x @ y - b / weight) ** 2
    return observed, unobserved


@pytest.mark.parametrize(
    ("preset", "split_above"),
    [*((name, 1000) for name in ROWS), ("mllib", 4), ("explicit", 4), ("implicit", 4)],
)
def test_repeated_pairs_solve_and_cost_what_a_dense_loop_says(spark, preset, split_above):
    columns = rows_of(preset)
    frame, plan = frame_of(spark, columns), Plan(3, split_above=split_above)
    Y = normal_factors(1, 7, RANK)
    spec = resolve_spec(preset, rank=RANK, iterations=2, order="items_first")
    solved = solve_side(frame, "user", Factors(np.arange(7), Y), spec, plan)
    expected = [user_row(preset, user, columns, Y.astype(float)) for user in range(9)]
    np.testing.assert_allclose(solved.vectors, expected, rtol=2e-4, atol=2e-5)
    trained = fit_factors(frame, spec, plan)
    loss = trained.losses[-1]
    terms = brute_terms(preset, columns, trained.user.vectors, trained.item.vectors)
    np.testing.assert_allclose([loss.observed, loss.unobserved], terms, rtol=1e-5, atol=1e-5)


def test_repeated_pairs_weigh_frequent_items_once(spark):
    """An unobserved weight by frequency is one of the pair too, in `implicit` as elsewhere."""
    columns = rows_of("implicit")
    spec = resolve_spec("implicit", rank=RANK, item_unobserved_exponent=0.5)
    Y = normal_factors(1, 7, RANK)
    fixed, frame = Factors(np.arange(7), Y), frame_of(spark, columns)
    solved = solve_side(frame, "user", fixed, spec, Plan(2), training=frame)
    counts = np.bincount(columns[1]) ** 0.5
    missing = counts / counts.mean()
    pairs = pairs_of("implicit", columns)
    for user, x in enumerate(solved.vectors):
        cells = [
            (pairs[user, item][0], 1.0, item) if (user, item) in pairs else (missing[item], 0, item)
            for item in range(7)
        ]
        np.testing.assert_allclose(x, least_squares(Y.astype(float), cells, 0.01), rtol=1e-3)


def test_repeated_pairs_of_implicit_are_those_of_its_sparse_matrix(spark):
    als = pytest.importorskip("implicit.cpu.als")
    user, item, value = rows_of("implicit")
    start = normal_factors(5, 7, RANK)
    matrix = coo_matrix((value, (user, item)), (9, 7)).tocsr()
    with threadpool_limits(1):
        peer = als.AlternatingLeastSquares(
            factors=RANK, regularization=0.5, use_cg=False, iterations=1, num_threads=1
        )
        peer.user_factors, peer.item_factors = normal_factors(6, 9, RANK), start.copy()
        peer.fit(matrix, show_progress=False)
    spec = resolve_spec("implicit", rank=RANK, regularization=0.5)
    frame = frame_of(spark, (user, item, value))
    users = solve_side(frame, "user", Factors(np.arange(7), start), spec, Plan())
    np.testing.assert_allclose(users.vectors, peer.user_factors, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("objective", ["mllib", "implicit"])
def test_repeated_pairs_train_to_the_last_sweep(spark, objective):
    rng = np.random.default_rng(0)
    columns = rng.integers(0, 50, 5000), rng.integers(0, 40, 5000), np.ones(5000)
    frame = frame_of(spark, columns, ("user", "item", "rating"), "int")
    model = WALS(objective=objective, rank=4, maxIter=15, numBlocks=1).fit(frame)
    assert len(model.lossHistory) == 15
    assert model.stopReason is None
    assert min(model.lossHistory) > 0
    assert model.lossHistory == sorted(model.lossHistory, reverse=True)


def test_a_loss_close_to_zero_does_not_end_training(spark):
    """Ratings of rank 2 without a penalty: what is left over is rounding, which goes up and down"""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 16))
    user, item = np.nonzero(rng.random(truth.shape) < 0.7)
    spec = resolve_spec("explicit", rank=4, iterations=20, regularization=0.0)
    trained = fit_factors(frame_of(spark, (user, item, truth[user, item])), spec, Plan(1))
    totals = [loss.total for loss in trained.losses]
    assert (len(totals), trained.stopped) == (20, None)
    assert min(totals) < 1e-5 * totals[0]


@pytest.mark.parametrize(
    ("terms", "before", "risen"),
    [
        ((-300.0, 0.0, 10.0), (-200.0, 0.0, 10.0), False),  # below zero, and falling
        ((-200.0, 0.0, 10.0), (-300.0, 0.0, 10.0), True),
        ((102.0, 0.0, 0.0), (100.0, 0.0, 0.0), True),
        ((100.5, 0.0, 0.0), (100.0, 0.0, 0.0), False),
        ((1e-7, 0.0, 0.0), (1e-9, 0.0, 0.0), False),  # rounding beside a first loss of 1
        ((0.1, 0.0, 0.0), (0.0, 0.0, 0.0), True),
    ],
)
def test_rising_losses_are_found_for_losses_of_either_sign(terms, before, risen):
    first = Loss(1, 1.0, 0.0, 0.0)
    assert _has_risen(Loss(3, *terms), [first, Loss(2, *before)]) is risen


def test_stop_reasons_are_on_the_model_and_saved_with_it(spark, tmp_path, monkeypatch):
    from recsys_spark.ml import estimator

    real = estimator.fit_factors
    stop = lambda *args, **kwargs: real(*args, on_sweep=lambda _: "enough", **kwargs)  # type: ignore[misc] # noqa: E731
    monkeypatch.setattr(estimator, "fit_factors", stop)
    columns = rows_of("ials")
    frame = frame_of(spark, columns, ("user", "item", "rating"), "int")
    model = WALS(rank=2, maxIter=3, numBlocks=1).fit(frame)
    assert (model.stopReason, len(model.lossHistory)) == ("enough", 1)
    model.save(str(tmp_path / "model"))
    assert type(model).load(str(tmp_path / "model")).stopReason == "enough"
