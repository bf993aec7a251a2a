"""The distributed half-sweep and its loss against dense loops; input that cannot be trained on."""

from itertools import pairwise

import numpy as np
import pytest

from recsys_spark.als.blocks import block_ranges, build_blocks
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import Factors
from recsys_spark.als.half_sweep import RowTerms, half_sweep
from recsys_spark.als.packed_interactions import index_sides, packed
from recsys_spark.als.trainer import fit_factors, solve_side
from recsys_spark.als.training_data import shared_arrays
from recsys_spark.als.weighting import weigh
from recsys_spark.errors import ConfigError, ContractError, DivergenceError, SolveError
from recsys_spark.kernels.als.solve import fix, gram
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import by_row, dense_table, frame_of, normal_factors, ratings
from tests.reference import dense_wals as dense

RANK = 3
FORMULAS = {
    "ials": lambda Y, r: dense.google_ials_row(Y, r, 0.1, 0.003, 1.0),
    "hu2008": lambda Y, r: dense.hu2008_row(Y, r, 40.0, 1.0),
    "mllib": lambda Y, r: dense.mllib_implicit_row(Y, r, 1.0, 0.1),
    "explicit": lambda Y, r: dense.mllib_explicit_row(Y, r, 0.1),
}


def brute_loss(preset, table, X, Y):
    """Observed, unobserved and penalty of a preset's defaults, cell by cell from its paper."""
    observed, unobserved = 0.0, 0.0
    for u, x in enumerate(X.astype(float)):
        for j, y in enumerate(Y.astype(float)):
            r, prediction = table[u, j], x @ y
            if np.isnan(r):
                unobserved += {"ials": 0.1, "explicit": 0.0}.get(preset, 1.0) * prediction**2
            elif preset == "ials":  # weight w0 + 1, target 1 / (1 + w0)
                observed += 1.1 * (prediction - 1 / 1.1) ** 2
            elif preset == "explicit":
                observed += (prediction - r) ** 2
            else:
                alpha = {"hu2008": 40.0, "mllib": 1.0}[preset]
                observed += (1 + alpha * abs(r)) * (prediction - (r > 0)) ** 2
    penalty = sum(
        strength(preset, row, len(Z)) * np.sum(np.square(z.astype(float)))
        for matrix, W, Z in ((table, X, Y), (table.T, Y, X))
        for row, z in zip(matrix, W, strict=True)
    )
    return observed, unobserved, penalty


def strength(preset, row, other_side):
    """L of one row."""
    n = np.sum(row > 0) if preset == "mllib" else np.sum(~np.isnan(row))
    return {
        "ials": 0.003 * (n + 0.1 * other_side),
        "hu2008": 1.0,
        "mllib": 0.1 * n,
        "explicit": 0.1 * n,
    }[preset]


@pytest.mark.parametrize("preset", FORMULAS)
@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("split_above", [1000, 4])
def test_half_sweep_solves_every_row_of_either_side(spark, preset, side, split_above):
    # MLlib defines what a rating of 0 or below means; the others know positive values only.
    columns = ratings(low=-2 if preset in ("mllib", "explicit") else 1)
    table = dense_table(columns) if side == "user" else dense_table(columns).T
    rows, cols = table.shape
    fixed = normal_factors(1, cols, RANK)
    other = "item" if side == "user" else "user"
    spec = resolve_spec(preset, rank=RANK)
    ids = {side: np.arange(rows), other: np.arange(cols)}
    terms = RowTerms(spec, side, cols, np.full(rows, spec.unobserved_weight))
    with packed(weigh(frame_of(spark, columns), spec)) as pairs:
        ranges = block_ranges(
            index_sides(pairs.records)[side].counts, len(columns[0]) // 3, split_above
        )
        with shared_arrays(pairs.records, ids) as shared:
            blocks = build_blocks(pairs.records, shared, {side: ranges})
            solved = half_sweep(blocks, ids[side], fix(fixed, gram(fixed)), terms, Solver())
    expected = [FORMULAS[preset](fixed.astype(float), row) for row in by_row(table)]
    assert solved.factors.dtype == np.float32
    assert (ranges.parts.max() > 1) == (split_above < 1000)
    np.testing.assert_allclose(solved.factors, expected, rtol=1e-5, atol=1e-6)
    errors = [
        dense.observed_error(x[None], fixed.astype(float), *cells, spec.unobserved_weight)  # type: ignore[call-arg]
        for x, cells in zip(solved.factors.astype(float), _cells(table, preset), strict=True)
    ]
    assert solved.observed == pytest.approx(sum(errors), rel=1e-5)


def _cells(table, preset):
    """Observed, a and b of each row over all columns."""
    for row in table:
        observed, r = ~np.isnan(row), np.nan_to_num(row)
        alpha = {"hu2008": 40.0, "mllib": 1.0}.get(preset)
        if preset == "explicit":
            a, b = np.ones_like(r), r
        elif preset == "ials":
            a, b = np.ones_like(r), 1.0 * (r > 0)
        else:
            a, b = alpha * np.abs(r), (1 + alpha * np.abs(r)) * (r > 0)
        yield observed[None], (a * observed)[None], (b * observed)[None]


@pytest.mark.parametrize("preset", ["mllib", "explicit"])
def test_loss_terms_of_items_first_are_those_of_the_final_factors(spark, preset):
    columns = ratings(low=-2)
    trained = fit_factors(
        frame_of(spark, columns), resolve_spec(preset, rank=RANK, iterations=2), Plan(3)
    )
    loss = trained.losses[-1]
    expected = brute_loss(preset, dense_table(columns), trained.user.vectors, trained.item.vectors)
    np.testing.assert_allclose(
        [loss.observed, loss.unobserved, loss.regularization], expected, rtol=1e-6, atol=1e-9
    )
    assert loss.total == pytest.approx(sum(expected), rel=1e-6)


@pytest.mark.parametrize("preset", ["ials", "hu2008"])
def test_loss_terms_of_users_first_precede_the_last_user_half_step(spark, preset):
    columns = ratings()
    frame = frame_of(spark, columns)
    once, twice = (
        fit_factors(frame, resolve_spec(preset, rank=RANK, iterations=count), Plan(3))
        for count in (1, 2)
    )
    # The users that end a run of one iteration are those that begin the second iteration.
    expected = brute_loss(preset, dense_table(columns), once.user.vectors, twice.item.vectors)
    loss = twice.losses[1]
    np.testing.assert_allclose(
        [loss.observed, loss.unobserved, loss.regularization], expected, rtol=1e-6
    )
    assert [entry.iteration for entry in twice.losses] == [1, 2]
    after = brute_loss(preset, dense_table(columns), twice.user.vectors, twice.item.vectors)
    assert sum(after) < loss.total


@pytest.mark.parametrize("preset", FORMULAS)
def test_loss_never_rises(spark, preset):
    reported = []
    frame = frame_of(spark, ratings(seed=3))
    trained = fit_factors(
        frame,
        resolve_spec(preset, rank=RANK, iterations=4),
        Plan(2),
        lambda state: reported.append(state.losses[-1]),
    )
    totals = [loss.total for loss in trained.losses]
    assert reported == trained.losses
    assert len(totals) == 4
    assert all(after <= before * (1 + 1e-7) for before, after in pairwise(totals))
    assert totals[-1] < 0.999 * totals[0]


def test_users_end_solved_against_the_final_items(spark):
    frame, spec = frame_of(spark, ratings()), resolve_spec("ials", rank=RANK, iterations=2)
    trained = fit_factors(frame, spec, Plan(3))
    again = solve_side(frame, "user", trained.item, spec, Plan(3))
    np.testing.assert_array_equal(again.ids, trained.user.ids)
    np.testing.assert_allclose(again.vectors, trained.user.vectors, rtol=1e-6)


def test_duplicate_rows_of_a_pair_all_count(spark):
    columns = (np.array([0, 0, 0]), np.array([0, 0, 1]), np.array([2.0, 3.0, 1.0]))
    Y = normal_factors(2, 2, RANK).astype(np.float32)
    solved = solve_side(
        frame_of(spark, columns),
        "user",
        Factors(np.arange(2), Y),
        resolve_spec("mllib", rank=RANK, alpha=2.0),
        Plan(),
    )
    # 1 + 2 r for each row: 5 + 7 on the right, 4 + 6 on the left, three rows in the penalty.
    wide, a, b = Y.astype(float), [10.0, 2.0], [12.0, 3.0]
    expected = dense.general_row(wide, a, b, w0=1.0, L=0.1 * 3)
    np.testing.assert_allclose(solved.vectors[0], expected, rtol=1e-5)


def test_singular_row_is_named(spark):
    columns = (np.array([5, 7, 9]), np.zeros(3, dtype=int), np.array([2.0, -0.1, 2.0]))
    # 1 x 1 systems: 1 + 1 - 3 is below zero.
    frame = frame_of(spark, columns).selectExpr(
        "user", "item", "float(if(value < 0, -3, value)) a", "float(1) b"
    )
    users = np.array([5, 7, 9])
    held = fix(np.ones((1, 1), dtype=np.float32), np.ones((1, 1)))
    terms = RowTerms(resolve_spec("hu2008", rank=1), "user", 1, np.ones(3))
    ranges = {"user": block_ranges(np.ones(3, int), 1, 10)}
    ids = {"user": users, "item": np.arange(1)}
    with packed(frame) as pairs, shared_arrays(pairs.records, ids) as shared:
        blocks = build_blocks(pairs.records, shared, ranges)
        with pytest.raises(SolveError, match=r"row 7 is singular.*raise regularization"):
            half_sweep(blocks, users, held, terms, Solver())


def test_factors_that_are_not_finite_end_the_fit(spark):
    columns = (np.array([0]), np.array([0]), np.array([3e38]))
    tiny = Factors(np.arange(1), np.full((1, 1), 1e-20, np.float32))
    spec = resolve_spec("explicit", rank=1, regularization=1e-25)
    with pytest.raises(DivergenceError, match="no longer finite"):
        solve_side(frame_of(spark, columns), "user", tiny, spec, Plan())


def test_factors_beyond_the_budget_are_refused(spark):
    plan = Plan(broadcast_budget_bytes=9 * RANK * 4, placement="replicated")
    with pytest.raises(ConfigError, match=r"user factors.*broadcast_budget_bytes"):
        fit_factors(
            frame_of(spark, ratings(users=12, items=9)), resolve_spec("ials", rank=RANK), plan
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None])
def test_bad_values_are_counted_and_refused(spark, value):
    frame = spark.createDataFrame(
        [(1, 1, 1.0), (1, 2, value)], "user long, item long, value double"
    )
    with pytest.raises(ContractError, match="1 of 2 training rows"):
        fit_factors(frame, resolve_spec("ials"), Plan())


@pytest.mark.parametrize("row", [(None, 1, 1.0), (1, None, 1.0)])
def test_null_ids_are_refused(spark, row):
    frame = spark.createDataFrame([(1, 1, 1.0), row], "user long, item long, value double")
    with pytest.raises(ContractError, match="null id"):
        fit_factors(frame, resolve_spec("ials"), Plan())


def test_empty_training_rows_are_refused(spark):
    frame = spark.createDataFrame([], "user long, item long, value double")
    with pytest.raises(ContractError, match="no training rows"):
        fit_factors(frame, resolve_spec("ials"), Plan())


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("split_above", [1000, 4])
def test_a_half_sweep_takes_a_block_step_in_every_row(spark, side, split_above):
    columns = ratings()
    table = dense_table(columns) if side == "user" else dense_table(columns).T
    rows, cols = table.shape
    fixed, last = normal_factors(1, cols, RANK), normal_factors(2, rows, RANK)
    other = "item" if side == "user" else "user"
    spec = resolve_spec("ials", rank=RANK)
    ids = {side: np.arange(rows), other: np.arange(cols)}
    terms = RowTerms(spec, side, cols, np.full(rows, spec.unobserved_weight))
    held = fix(fixed, gram(fixed), rotate=False)
    step = Solver("subspace", subspace_block=2, first=1)
    with packed(weigh(frame_of(spark, columns), spec)) as pairs:
        ranges = block_ranges(
            index_sides(pairs.records)[side].counts, len(columns[0]) // 3, split_above
        )
        with shared_arrays(pairs.records, ids) as shared:
            blocks = build_blocks(pairs.records, shared, {side: ranges})
            solved = half_sweep(blocks, ids[side], held, terms, step, last)
    seen = ~np.isnan(table) * 1.0
    penalties = [strength("ials", row, cols) for row in table]
    given = zip(seen, penalties, last, strict=True)
    expected = [
        dense.block_step_row(fixed.astype(float), a, a, 0.1, L, x, slice(1, 3)) for a, L, x in given
    ]
    assert (ranges.parts.max() > 1) == (split_above < 1000)
    np.testing.assert_allclose(solved.factors, expected, rtol=1e-5, atol=1e-6)
    wide = solved.factors.astype(float)
    error = dense.observed_error(wide, fixed.astype(float), seen > 0, seen, seen, 0.1)
    assert solved.observed == pytest.approx(error, rel=1e-5)
    assert solved.penalty == pytest.approx(penalties @ np.square(wide).sum(axis=1), rel=1e-6)


@pytest.mark.parametrize(("preset", "given"), [("ials", {}), ("explicit", {"biases": "learned"})])
def test_sweeps_by_blocks(spark, preset, given):
    """Blocks of two lower the loss; one of all coordinates, biases included, is exact."""
    spec = resolve_spec(preset, rank=RANK, iterations=3, regularization=0.1, **given)
    frame = frame_of(spark, ratings())
    exact, whole, by_blocks = (
        fit_factors(frame, spec, Plan(1, split_above=above, solver=solver))
        for above, solver in (
            (1000, Solver()),
            (1000, Solver("subspace")),
            (6, Solver("subspace", subspace_block=2)),
        )
    )
    for side in ("user", "item"):
        one, other = (getattr(found, side).vectors for found in (exact, whole))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    totals = [loss.total for loss in by_blocks.losses]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < 1.2 * exact.losses[-1].total
    if spec.order == "users_first":  # the users' last half-sweep is exact
        again = solve_side(frame, "user", by_blocks.item, spec, Plan(1))
        np.testing.assert_allclose(again.vectors, by_blocks.user.vectors, rtol=1e-5, atol=1e-6)


def test_loss_terms_of_blocks_are_those_of_the_final_factors(spark):
    columns = ratings(low=-2)
    spec = resolve_spec("mllib", rank=RANK, iterations=2)
    plan = Plan(2, split_above=6, solver=Solver("subspace", subspace_block=2))
    trained = fit_factors(frame_of(spark, columns), spec, plan)
    loss = trained.losses[-1]
    expected = brute_loss("mllib", dense_table(columns), trained.user.vectors, trained.item.vectors)
    np.testing.assert_allclose(
        [loss.observed, loss.unobserved, loss.regularization], expected, rtol=1e-6
    )


def test_auto_solver_is_resolved_by_the_rows_and_reported(spark):
    spec = resolve_spec("ials", rank=RANK, iterations=1)
    seen = []

    def on_sweep(state):
        seen.append((state.solver, state.reason))

    frame = frame_of(spark, ratings())
    trained = fit_factors(frame, spec, Plan(1, solver=Solver("auto")), on_sweep)
    assert trained.solver == Solver("cholesky")
    assert trained.reason.startswith("cholesky: at rank 3 ")
    assert seen == [(trained.solver, trained.reason)]
    exact = fit_factors(frame, spec, Plan(1))
    assert (exact.solver, exact.reason) == (Solver(), "")
    np.testing.assert_array_equal(trained.item.vectors, exact.item.vectors)
