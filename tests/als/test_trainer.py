"""Arguments of a fit: where to start, when to stop, biases, weights of unobserved pairs."""

from dataclasses import replace

import numpy as np
import pytest

from recsys_spark.als import driver
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import FactorFrame, Factors
from recsys_spark.als.trainer import Factorization, fit_factors
from recsys_spark.errors import ConfigError, DivergenceError, SolveError
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import by_row, dense_table, frame_of, ratings

RANK = 3
PLAN = Plan(2)
SPEC = resolve_spec("ials", rank=RANK, iterations=4)


def assert_bit_equal(one, other):
    for side in ("user", "item"):
        np.testing.assert_array_equal(getattr(one, side).ids, getattr(other, side).ids)
        np.testing.assert_array_equal(getattr(one, side).vectors, getattr(other, side).vectors)
    assert one.losses == other.losses


@pytest.mark.parametrize("preset", ["ials", "mllib"])
@pytest.mark.parametrize("method", ["cholesky", "cg"])
def test_interrupted_fit_resumes_to_the_same_factors(spark, preset, method):
    frame = frame_of(spark, ratings(seed=1))
    spec = resolve_spec(preset, rank=RANK, iterations=4)
    plan = Plan(2, solver=Solver(method))
    states = []
    whole = fit_factors(frame, spec, plan, lambda state: states.append(state))
    resumed = fit_factors(frame, spec, plan, start=states[1])
    assert_bit_equal(resumed, whole)
    assert len(resumed.losses) == 4


def test_a_fit_that_was_done_only_solves_the_users_once_more(spark):
    frame, states = frame_of(spark, ratings(seed=1)), []
    whole = fit_factors(frame, SPEC, PLAN, lambda state: states.append(state))
    again = fit_factors(frame, SPEC, PLAN, lambda _: pytest.fail("a sweep"), start=states[-1])
    assert_bit_equal(again, whole)


def test_a_warm_start_is_by_id(spark):
    """New ids are initialised, ids that are gone are dropped, the others keep their vectors."""
    user, item, value = ratings(seed=2)
    before = fit_factors(frame_of(spark, (user, item, value)), SPEC, PLAN)
    moved = (user + 3, item, value)  # users 0 to 2 are gone, three are new
    start = Factorization(before.user, before.item)
    warm = fit_factors(frame_of(spark, moved), SPEC, PLAN, start=start)
    cold = fit_factors(frame_of(spark, moved), SPEC, PLAN)
    assert warm.user.ids.tolist() == (np.unique(user) + 3).tolist()
    assert warm.losses[0].total < cold.losses[0].total
    same = fit_factors(frame_of(spark, (user, item, value)), SPEC, PLAN, start=start)
    assert same.losses[0].total <= before.losses[-1].total * (1 + 1e-6)


@pytest.mark.parametrize("biases", ["learned", "means", "damped"])
def test_warm_start_continues_from_published_factors_with_biases(spark, biases):
    frame = frame_of(spark, ratings(seed=2))
    spec = resolve_spec("explicit", rank=RANK, iterations=6, biases=biases, order="users_first")
    before = fit_factors(frame, spec, PLAN)
    assert before.user.width == RANK + 2
    once = replace(spec, iterations=1)
    read = (FactorFrame(side.frame(spark), RANK + 2) for side in (before.user, before.item))
    start = Factorization(*read)
    warm, cold = fit_factors(frame, once, PLAN, start=start), fit_factors(frame, once, PLAN)
    last = before.losses[-1].total
    assert warm.losses[0].total <= last * (1 + 1e-6) < cold.losses[0].total


def test_factors_seen_after_a_sweep_restore_to_the_published_ones(spark):
    spec, states = (
        resolve_spec("lenskit_explicit", rank=RANK, iterations=1, order="items_first"),
        [],
    )
    frame = frame_of(spark, ratings(seed=2))
    done = fit_factors(frame, spec, PLAN, lambda state: states.append(state))
    (state,) = states
    assert (state.user.width, done.user.width) == (RANK, RANK + 2)
    for side in ("user", "item"):
        found = getattr(state.restored(), side).vectors
        np.testing.assert_array_equal(found, getattr(done, side).vectors)


def test_a_start_of_another_rank_is_refused(spark):
    vectors = np.ones((1, 7), np.float32)
    start = Factorization(*(Factors(np.array([0]), vectors) for _ in range(2)))
    with pytest.raises(ConfigError, match=r"7 coordinates.*3; set rank"):
        fit_factors(frame_of(spark, ratings()), SPEC, PLAN, start=start)


@pytest.mark.parametrize("placement", ["driver", "replicated"])
@pytest.mark.parametrize(
    ("preset", "given", "value"),
    [
        ("ials", {"min_positive_value": 9.0}, 1.0),  # every row is a dislike
        ("hu2008", {}, 0.0),
        ("mllib_explicit", {}, 0.0),
        ("ials", {"regularization": 1e30}, 1.0),
    ],
)
def test_scores_that_are_all_0_end_training(spark, preset, given, value, placement):
    user, item, _ = ratings()
    frame = frame_of(spark, (user, item, np.full(len(user), value)))
    spec = resolve_spec(preset, rank=RANK, **given)
    with pytest.raises(SolveError, match=r"^Every score is 0 after iteration 1, .*regularization"):
        fit_factors(frame, spec, replace(PLAN, placement=placement))


def test_a_reason_to_stop_ends_the_fit_with_users_that_answer_to_the_items(spark):
    frame = frame_of(spark, ratings())
    stopped = fit_factors(
        frame, SPEC, PLAN, lambda state: "enough" if len(state.losses) == 2 else None
    )
    expected = fit_factors(frame, resolve_spec("ials", rank=RANK, iterations=2), PLAN)
    assert_bit_equal(stopped, expected)
    assert (stopped.stopped, expected.stopped) == ("enough", None)


def failing_from(monkeypatch, half, change):
    """Let half-sweeps from number `half` on go through `change`."""
    made, calls = driver.OnDriver.solve, []

    def solve(*given):
        calls.append(1)
        return change(made(*given)) if len(calls) >= half else made(*given)

    monkeypatch.setattr(driver.OnDriver, "solve", solve)


def overflow(_solved):
    raise DivergenceError("The factors are no longer finite")


def test_divergence_keeps_the_last_good_factors(spark, monkeypatch):
    spec = resolve_spec("mllib", rank=RANK, iterations=4)  # items first: no half-step afterwards
    frame, good = frame_of(spark, ratings()), []
    failing_from(monkeypatch, 6, overflow)
    trained = fit_factors(frame, spec, PLAN, lambda state: good.append(state))
    assert "no longer finite" in trained.stopped
    assert len(good) == 2
    assert_bit_equal(trained, good[-1])


def test_a_rising_loss_keeps_the_last_good_factors(spark, monkeypatch):
    spec = resolve_spec("mllib", rank=RANK, iterations=4)
    frame, good = frame_of(spark, ratings()), []
    failing_from(monkeypatch, 5, lambda good: replace(good, factors=good.factors * 3, observed=1e9))
    trained = fit_factors(frame, spec, PLAN, lambda state: good.append(state))
    assert "The loss rose" in trained.stopped
    assert_bit_equal(trained, good[-1])


def test_divergence_in_the_first_sweep_is_an_error(spark, monkeypatch):
    failing_from(monkeypatch, 1, overflow)
    with pytest.raises(DivergenceError):
        fit_factors(frame_of(spark, ratings()), SPEC, PLAN)


def test_learned_biases_answer_to_the_items_like_the_factors(spark):
    """Items first: the users that end the fit are solved against the final items."""
    columns = ratings(seed=4, low=1)
    spec = resolve_spec("mllib_explicit", rank=RANK, iterations=3, biases="learned")
    trained = fit_factors(frame_of(spark, columns), spec, PLAN)
    items, users = trained.item.vectors.astype(float), trained.user.vectors
    assert users.shape[1] == RANK + 2
    np.testing.assert_array_equal(users[:, -1], 1)
    np.testing.assert_array_equal(items[:, RANK], 1)
    features, offsets = items[:, : RANK + 1], items[:, -1]  # (q, 1) and b_i + mu
    for x, row in zip(users, by_row(dense_table(columns)), strict=True):
        seen, r = list(row), np.array(list(row.values()))
        left = features[seen].T @ features[seen] + 0.1 * len(seen) * np.eye(RANK + 1)
        expected = np.linalg.solve(left, features[seen].T @ (r - offsets[seen]))
        np.testing.assert_allclose(x[:-1], expected, rtol=1e-4, atol=1e-5)
    totals = [loss.total for loss in trained.losses]
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize("biases", ["learned", "means", "damped"])
def test_biases_alone_predict_under_a_strong_penalty_on_nothing_else(spark, biases):
    """Ratings that are sums of a user's and an item's part leave nothing to the factors."""
    user, item = (x.ravel() for x in np.mgrid[0:8, 0:6])
    value = 3 + (user - 3.5) / 4 + (item - 2.5) / 3
    given = {"bias_damping": 0.0} if biases == "damped" else {}
    penalty = 1e-4 if biases == "learned" else 100.0
    spec = resolve_spec(
        "mllib_explicit", rank=1, iterations=15, biases=biases, regularization=penalty, **given
    )
    trained = fit_factors(frame_of(spark, (user, item, value)), spec, PLAN)
    predictions = (trained.user.vectors @ trained.item.vectors.T)[user, item]
    halved = 3 + ((user - 3.5) / 4 + (item - 2.5) / 3) / 2
    expected = halved if biases == "means" else value
    np.testing.assert_allclose(predictions, expected, atol=0.01)


@pytest.mark.parametrize("side", ["user", "item"])
def test_unobserved_weights_by_frequency_reach_the_rows(spark, side):
    columns = ratings(seed=5)
    spec = resolve_spec("ials", rank=RANK, iterations=2, **{f"{side}_unobserved_exponent": 0.7})
    trained = fit_factors(frame_of(spark, columns), spec, PLAN)
    table, Y = dense_table(columns), trained.item.vectors.astype(float)
    counts = [np.sum(~np.isnan(table), axis=axis) ** 0.7 for axis in (1, 0)]
    by_user, by_item = (x / x.mean() for x in counts)
    for u, x in enumerate(trained.user.vectors):
        w = 0.1 * (by_user[u] * np.ones(len(Y)) if side == "user" else by_item)
        seen = ~np.isnan(table[u])
        penalty = 0.003 * (seen.sum() + 0.1 * len(Y)) * np.eye(RANK)
        left = Y.T @ (w[:, None] * Y) + Y[seen].T @ Y[seen] + penalty
        np.testing.assert_allclose(x, np.linalg.solve(left, Y[seen].sum(axis=0)), rtol=1e-4)
    totals = [loss.total for loss in trained.losses]
    assert totals == sorted(totals, reverse=True)


def test_nu_star_scales_the_penalty_of_every_row(spark):
    columns = ratings(seed=6)
    frame = frame_of(spark, columns)
    given = {"rank": RANK, "iterations": 2, "nu": 0.5}
    scaled = fit_factors(frame, resolve_spec("irspack", nu_star=1.0, **given), PLAN)
    table = dense_table(columns)
    users, items = (np.sum(~np.isnan(table), axis=axis) for axis in (1, 0))
    spec = resolve_spec("irspack", **given)
    sizes = np.concatenate([users + spec.beta * len(items), items + spec.beta * len(users)])
    scale = sizes.sum() / np.sqrt(sizes).sum()
    stronger = resolve_spec("irspack", regularization=spec.regularization * scale, **given)
    expected = fit_factors(frame, stronger, PLAN)
    np.testing.assert_allclose(scaled.user.vectors, expected.user.vectors, rtol=1e-5)
    assert scaled.losses[-1].total == pytest.approx(expected.losses[-1].total, rel=1e-9)
