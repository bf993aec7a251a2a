"""The half-sweep against dense formulas, its optimality, and its awkward rows."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import nnls

from recsys_spark.kernels.als.csr import Csr
from recsys_spark.kernels.als.solve import (
    Problem,
    eigenbasis,
    fix,
    gram,
    solve_rows,
    subspace,
    systems,
)
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import resolve_spec
from recsys_spark.kernels.als.weights import counted_pairs, row_regularization
from tests.reference import dense_wals as dense

ROWS, COLUMNS, RANK = 12, 30, 5
PRESETS = ["ials", "hu2008", "mllib", "explicit"]


def normal_factors(seed, count, rank=RANK):
    return np.random.default_rng(seed).normal(size=(count, rank)).astype(np.float32)


def ratings_table(seed=0, low=1):
    """Dense values, NaN where unobserved; every row and column has an observed cell."""
    rng = np.random.default_rng(seed)
    values = rng.integers(low, 6, size=(ROWS, COLUMNS)).astype(float)
    values[rng.random((ROWS, COLUMNS)) > 0.3] = np.nan
    values[:, 0] = values[0, :] = 3.0
    return values


def weights_of(values, spec):
    """a and b of observed values, as each system's papers have them."""
    if spec.target == "value":
        return np.ones_like(values), values
    if spec.target == "weight":
        return np.ones_like(values), (values > 0).astype(float)
    return spec.alpha * np.abs(values), (1 + spec.alpha * np.abs(values)) * (values > 0)


def csr_of(observed, a, b):
    """Compressed rows of the observed cells of dense tables."""
    indptr = np.concatenate([[0], np.cumsum(observed.sum(axis=1))])
    cols = np.nonzero(observed)[1].astype(np.int32)
    return Csr(indptr, cols, *(x[observed].astype(np.float32) for x in (a, b)))


def solve_table(observed, a, b, fixed, w0, penalty, solver=None, **given):
    """Solve the rows of dense tables, against unrotated factors with w0 for all pairs."""
    rows = len(observed)
    problem = Problem(csr_of(observed, a, b), np.full(rows, w0), np.broadcast_to(penalty, rows))
    solver = solver or Solver()
    rotate = solver.method != "subspace" and not given.get("nonnegative")
    return solve_rows(problem, fix(fixed, gram(fixed), rotate=rotate), solver, **given)


def half_sweep(table, fixed, spec, solver=None, **given):
    """Solve the rows of the table with the package, from values to factors."""
    observed, a, b, w0, penalty, _ = dense_terms(table, spec)
    solution = solve_table(observed, a, b, fixed, w0, penalty, solver, **given)
    assert len(solution.failed) == 0
    return solution.factors


def dense_terms(table, spec):
    """The objective's ingredients over all cells: observed, a, b, w0, L of rows, L of columns."""
    observed = ~np.isnan(table)
    a, b = (np.zeros(table.shape) for _ in range(2))
    a[observed], b[observed] = weights_of(table[observed], spec)
    counted = np.zeros(table.shape)
    counted[observed] = counted_pairs(a[observed], b[observed], spec)
    penalty_rows = row_regularization(counted.sum(axis=1), table.shape[1], spec, "user")
    penalty_columns = row_regularization(counted.sum(axis=0), table.shape[0], spec, "item")
    return observed, a, b, spec.unobserved_weight, penalty_rows, penalty_columns


def assert_rows_equal(factors, expected, start=0.0):
    """Equal to what single precision carries: five digits, relative to each row's length.

    A step can be no more precise than where it starts.
    """
    expected = np.atleast_2d(expected)
    error = np.linalg.norm(np.atleast_2d(factors) - expected, axis=1)
    length = np.linalg.norm(np.hstack([expected, start + np.zeros_like(expected)]), axis=1)
    assert (error <= 1e-5 * length).all(), error.max()


def single_row(cols, columns, a, b):
    """Dense tables of one row with these columns observed."""
    observed = np.zeros((1, columns), dtype=bool)
    observed[0, cols] = True
    return observed, *(np.where(observed, x, 0.0) for x in (a, b))


@pytest.mark.parametrize(
    ("preset", "given", "formula"),
    [
        ("ials", {}, lambda Y, r: dense.google_ials_row(Y, r, 0.1, 0.003, 1.0)),
        (
            "ials",
            {"unobserved_weight": 0.4, "regularization": 0.02, "nu": 0.5},
            lambda Y, r: dense.google_ials_row(Y, r, 0.4, 0.02, 0.5),
        ),
        ("hu2008", {}, lambda Y, r: dense.hu2008_row(Y, r, 40.0, 1.0)),
        (
            "hu2008",
            {"alpha": 2.5, "regularization": 0.3},
            lambda Y, r: dense.hu2008_row(Y, r, 2.5, 0.3),
        ),
        ("mllib", {}, lambda Y, r: dense.mllib_implicit_row(Y, r, 1.0, 0.1)),
        (
            "mllib",
            {"alpha": 8.0, "regularization": 0.5},
            lambda Y, r: dense.mllib_implicit_row(Y, r, 8.0, 0.5),
        ),
        ("explicit", {}, lambda Y, r: dense.mllib_explicit_row(Y, r, 0.1)),
    ],
)
def test_each_preset_solves_its_systems_own_formula(preset, given, formula):
    # MLlib defines what a rating of 0 or below means; the others know positive values only.
    table = ratings_table(low=-2 if preset in ("mllib", "explicit") else 1)
    fixed = normal_factors(1, COLUMNS)
    factors = half_sweep(table, fixed, resolve_spec(preset, rank=RANK, **given))
    wide = fixed.astype(float)
    expected = [
        formula(wide, {j: value for j, value in enumerate(row) if not np.isnan(value)})
        for row in table
    ]
    assert_rows_equal(factors, expected)


@pytest.mark.parametrize("columns", [COLUMNS, 2])
def test_general_equation_with_arbitrary_weights(columns):
    """Rows longer and shorter than the rank, which are solved in different forms."""
    rng = np.random.default_rng(2)
    observed, fixed = ~np.isnan(ratings_table()[:, :columns]), normal_factors(3, columns)
    a, b = rng.uniform(0, 3, observed.shape) * observed, rng.normal(size=observed.shape) * observed
    penalty = rng.uniform(0.1, 2, ROWS)
    solved = solve_table(observed, a, b, fixed, 0.7, penalty)
    wide = fixed.astype(float)
    expected = [dense.general_row(wide, a[u], b[u], 0.7, penalty[u]) for u in range(ROWS)]
    assert_rows_equal(solved.factors, expected)


def test_confidence_below_one_gives_a_negative_weight_and_still_solves():
    observed, fixed = ~np.isnan(ratings_table()), normal_factors(4, COLUMNS)
    confidence = np.random.default_rng(5).uniform(0.1, 0.9, observed.shape)
    a, b = (confidence - 1) * observed, confidence * observed
    a, b = a.astype(np.float32), b.astype(np.float32)
    solved = solve_table(observed, a, b, fixed, 1.0, 0.5)
    wide = fixed.astype(float)
    assert_rows_equal(
        solved.factors, [dense.general_row(wide, a[u], b[u], 1.0, 0.5) for u in range(ROWS)]
    )


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_responses_without_extra_weight_count(weight):
    """a = 0 with b above 0, as TF-WALS has it when no weights are given."""
    observed, fixed = ~np.isnan(ratings_table()), normal_factors(5, COLUMNS)
    a, b = weight * observed, 2.0 * observed
    solved = solve_table(observed, a, b, fixed, 0.5, 0.5)
    wide = fixed.astype(float)
    assert_rows_equal(
        solved.factors, [dense.general_row(wide, a[u], b[u], 0.5, 0.5) for u in range(ROWS)]
    )


@pytest.mark.parametrize("rank", [1, 3, 4, 7, 8, 9, 31, 64, 65, 100, 129, 160])
@pytest.mark.parametrize("length", [1, 2, 8, 63, 130, 300])
def test_every_rank_and_row_length(rank, length):
    """Remainders of panels, tiles and chunks; LAPACK above a size; both forms."""
    rng = np.random.default_rng(rank * 1000 + length)
    fixed = normal_factors(6, 400, rank)
    cols = rng.permutation(400)[:length]
    observed, a, b = single_row(cols, 400, rng.uniform(0.5, 2, 400), rng.normal(size=400))
    solved = solve_table(observed, a, b, fixed, 0.1, 1.0)
    assert_rows_equal(solved.factors, dense.general_row(fixed.astype(float), a[0], b[0], 0.1, 1.0))


@pytest.mark.parametrize("length", [1023, 1024, 1025, 2048, 3000])
def test_rows_longer_than_what_is_gathered_at_once(length):
    rng = np.random.default_rng(length)
    fixed = normal_factors(6, 3200)
    cols = rng.permutation(3200)[:length]
    observed, a, b = single_row(cols, 3200, rng.uniform(0.5, 2, 3200), rng.normal(size=3200))
    expected = dense.general_row(fixed.astype(float), a[0], b[0], 0.1, 1.0)
    assert_rows_equal(solve_table(observed, a, b, fixed, 0.1, 1.0).factors, expected)
    start = np.zeros((1, RANK), np.float32)
    for solver in (Solver("cg", cg_steps=20), Solver("subspace")):
        solved = solve_table(observed, a, b, fixed, 0.1, 1.0, solver, last=start)
        assert_rows_equal(solved.factors, expected)


@pytest.mark.parametrize("method", ["cholesky", "subspace"])
@pytest.mark.parametrize("rank", [5, 64, 72, 200])
def test_solve_does_not_depend_on_previous_workspace_contents(monkeypatch, rank, method):
    """The lower triangles of the systems are never set."""
    made = systems.workspace

    def full_of_nan(*given):
        work = made(*given)
        for buffer in (work.rows, work.system, work.vector, work.scales):
            buffer[...] = np.nan
        return work

    rng = np.random.default_rng(0)
    fixed, observed = normal_factors(1, 300, rank), rng.random((10, 300)) < 0.3
    a, b = observed * rng.uniform(0.5, 2, observed.shape), observed * 1.0
    a[:2] -= 0.1 * observed[:2]  # in double precision
    solver, last = Solver(method, subspace_block=72), normal_factors(2, 10, rank)
    expected = solve_table(observed, a, b, fixed, 0.1, 1.0, solver, last=last)
    for module in (eigenbasis, subspace):
        monkeypatch.setattr(module, "workspace", full_of_nan)
    again = solve_table(observed, a, b, fixed, 0.1, 1.0, solver, last=last)
    np.testing.assert_array_equal(again.factors, expected.factors)


@pytest.mark.parametrize("preset", PRESETS)
def test_conjugate_gradients_reach_the_exact_solution(preset):
    spec, table, fixed = (
        resolve_spec(preset, rank=RANK),
        ratings_table(),
        normal_factors(7, COLUMNS),
    )
    exact = half_sweep(table, fixed, spec).astype(float)
    start = normal_factors(8, ROWS)
    errors = []
    for steps in (1, 2, 3, RANK + 3):
        found = half_sweep(table, fixed, spec, Solver("cg", cg_steps=steps), last=start)
        errors.append(np.linalg.norm(found - exact))
    assert errors[0] < np.linalg.norm(start - exact)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 2e-5 * np.linalg.norm(exact)


def test_conjugate_gradients_begin_at_the_last_factors():
    spec, table, fixed = (
        resolve_spec("ials", rank=RANK),
        ratings_table(),
        normal_factors(7, COLUMNS),
    )
    exact = half_sweep(table, fixed, spec)
    near = exact + np.float32(1e-3) * normal_factors(9, ROWS)
    one_step = Solver("cg", cg_steps=1)
    from_near = half_sweep(table, fixed, spec, one_step, last=near)
    from_far = half_sweep(table, fixed, spec, one_step, last=normal_factors(8, ROWS))
    assert np.linalg.norm(from_near - exact) < 1e-2 * np.linalg.norm(from_far - exact)


def test_ill_conditioned_rows_are_solved_again_in_double_precision():
    """Two nearly equal columns: single precision alone would be off in the second digit."""
    fixed = normal_factors(10, 2 * RANK).astype(np.float32)
    fixed[1] = fixed[0] + np.float32(1e-3) * normal_factors(11, 1)[0]
    observed, a, b = single_row([0, 1], len(fixed), 1e6, 1e6)
    b[0, 1] = 1.001e6
    solved = solve_table(observed, a, b, fixed, 0.0, 1e-3)
    expected = dense.general_row(fixed.astype(float), a[0], b[0], 0.0, 1e-3)
    assert np.linalg.norm(solved.factors[0] - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("preset", PRESETS)
def test_gradient_vanishes_at_the_solution(preset):
    spec = resolve_spec(preset, rank=RANK)
    table, fixed = ratings_table(), normal_factors(7, COLUMNS)
    factors = half_sweep(table, fixed, spec).astype(float)
    terms = dense_terms(table, spec)

    def gradient(X, step=1e-3):
        """Central differences in the first row, exact for a quadratic."""
        slopes = []
        for k in range(RANK):
            moved = [X.copy(), X.copy()]
            moved[0][0, k] += step
            moved[1][0, k] -= step
            up, down = (dense.full_loss(M, fixed.astype(float), *terms) for M in moved)
            slopes.append((up - down) / (2 * step))
        return np.linalg.norm(slopes)

    assert gradient(factors) < 1e-5 * gradient(np.zeros_like(factors))


@pytest.mark.parametrize("preset", PRESETS)
def test_solution_is_a_minimum_of_the_loss(preset):
    spec = resolve_spec(preset, rank=RANK)
    rng = np.random.default_rng(8)
    table, fixed = ratings_table(), normal_factors(9, COLUMNS).astype(float)
    factors = half_sweep(table, fixed.astype(np.float32), spec).astype(float)
    terms = dense_terms(table, spec)
    least = dense.full_loss(factors, fixed, *terms)
    for _ in range(20):
        nudge = 1e-3 * rng.normal(size=factors.shape)
        assert dense.full_loss(factors + nudge, fixed, *terms) > least


@pytest.mark.parametrize("preset", PRESETS)
def test_alternating_half_sweeps_lower_the_full_loss(preset):
    spec = resolve_spec(preset, rank=RANK)
    table = ratings_table()
    terms = dense_terms(table, spec)
    X, Y = normal_factors(10, ROWS), normal_factors(11, COLUMNS)
    losses = [dense.full_loss(X.astype(float), Y.astype(float), *terms)]
    for _ in range(3):
        X = half_sweep(table, Y, spec)
        losses.append(dense.full_loss(X.astype(float), Y.astype(float), *terms))
        Y = half_sweep(table.T, X, spec)
        losses.append(dense.full_loss(X.astype(float), Y.astype(float), *terms))
    assert losses == sorted(losses, reverse=True)


def test_a_row_alone_equals_the_row_within_its_block():
    spec = resolve_spec("mllib", rank=RANK)
    table, fixed = ratings_table(), normal_factors(12, COLUMNS)
    alone = [half_sweep(table[u : u + 1], fixed, spec)[0] for u in range(ROWS)]
    np.testing.assert_array_equal(half_sweep(table, fixed, spec), alone)


@pytest.mark.parametrize("preset", ["ials", "mllib"])
def test_a_row_of_dislikes_only_solves_to_zero(preset):
    table = ratings_table()
    table[3] = np.where(np.isnan(table[3]), np.nan, -1.0)
    factors = half_sweep(table, normal_factors(13, COLUMNS), resolve_spec(preset, rank=RANK))
    assert not factors[3].any()
    assert factors[4].any()


def empty_block(rows):
    none = np.empty(0, np.float32)
    return Csr(np.zeros(rows + 1, np.int64), np.empty(0, np.int32), none, none)


@pytest.mark.parametrize("rows", [0, 2])
def test_rows_without_entries_solve_to_zero(rows):
    fixed = normal_factors(14, 3)
    problem = Problem(empty_block(rows), np.ones(rows), np.zeros(rows))
    solved = solve_rows(problem, fix(fixed, gram(fixed)), Solver())
    assert solved.factors.shape == (rows, RANK)
    assert not solved.factors.any()
    assert len(solved.failed) == 0


def test_an_unsolvable_row_is_reported_and_its_neighbours_are_solved():
    fixed = normal_factors(16, COLUMNS)
    observed = np.zeros((3, COLUMNS), dtype=bool)
    observed[:, 0] = True
    a = observed * np.array([[1.0], [-5.0], [1.0]])  # the middle matrix is indefinite
    solved = solve_table(observed, a, 1.0 * observed, fixed, 0.0, 0.01)
    assert solved.failed.tolist() == [1]
    assert not solved.factors[1].any()
    np.testing.assert_array_equal(solved.factors[0], solved.factors[2])
    assert solved.factors[0].any()


def test_jitter_gives_a_singular_row_its_shortest_solution():
    fixed = normal_factors(17, COLUMNS)
    solved = solve_table(*single_row([4], COLUMNS, 1.0, 3.0), fixed, 0.0, 0.0)  # type: ignore[call-arg]
    y = fixed[4].astype(float)
    assert len(solved.failed) == 0
    np.testing.assert_allclose(solved.factors[0], 3.0 * y / (y @ y), rtol=1e-4)


def test_well_conditioned_rows_get_no_jitter():
    fixed = normal_factors(18, COLUMNS)
    b = np.random.default_rng(19).normal(size=COLUMNS)
    solved = solve_table(*single_row(np.arange(COLUMNS), COLUMNS, 1.0, b), fixed, 0.0, 0.0)  # type: ignore[call-arg]
    assert_rows_equal(solved.factors, np.linalg.lstsq(fixed.astype(float), b, rcond=None)[0])


@pytest.mark.parametrize("seed", range(5))
def test_nonnegative_rows_equal_scipys_nnls(seed):
    rng = np.random.default_rng(seed)
    observed, fixed = ~np.isnan(ratings_table(seed)), normal_factors(20 + seed, COLUMNS)
    a, b = observed * rng.uniform(0, 2, observed.shape), observed * rng.normal(size=observed.shape)
    a, b = a.astype(np.float32), b.astype(np.float32)
    solved = solve_table(observed, a, b, fixed, 1.0, 0.1, nonnegative=True)
    wide = fixed.astype(float)
    for u in range(ROWS):
        Ys = wide[observed[u]]
        weights, response = a[u][observed[u]], b[u][observed[u]]
        left = wide.T @ wide + Ys.T @ (weights[:, None] * Ys) + 0.1 * np.eye(RANK)
        lower = np.linalg.cholesky(left)
        expected, _ = nnls(lower.T, np.linalg.solve(lower, Ys.T @ response))
        np.testing.assert_allclose(solved.factors[u], expected, rtol=1e-5, atol=1e-7)
    assert (solved.factors == 0).any()
    assert (solved.factors > 0).any()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", ["cholesky", "cg", "subspace"])
def test_observed_loss_completes_to_the_full_loss(preset, method):
    spec = resolve_spec(preset, rank=RANK)
    table, Y = ratings_table(), normal_factors(31, COLUMNS)
    observed, a, b, w0, rows, columns = dense_terms(table, spec)
    start = normal_factors(30, ROWS)
    solution = solve_table(
        observed, a, b, Y, w0, rows, Solver(method, subspace_block=2), last=start
    )
    X = solution.factors
    wide_x, wide_y = X.astype(float), Y.astype(float)
    error = dense.observed_error(wide_x, wide_y, observed, a, b, w0)
    assert solution.observed == pytest.approx(error, rel=1e-5)
    shadowed = w0 * ((wide_x @ wide_y.T)[observed] ** 2).sum()
    assert solution.shadowed == pytest.approx(shadowed, rel=1e-5)
    unobserved = w0 * (gram(X) * gram(Y)).sum() - solution.shadowed
    penalty = rows @ (wide_x**2).sum(axis=1) + columns @ (wide_y**2).sum(axis=1)
    full = dense.full_loss(wide_x, wide_y, observed, a, b, w0, rows, columns)
    assert solution.observed + unobserved + penalty == pytest.approx(full, rel=1e-6)


def test_unobserved_weights_of_rows_and_columns():
    """Every pair has its own unobserved weight, of its row and of its column: eALS."""
    rng = np.random.default_rng(3)
    observed, fixed = ~np.isnan(ratings_table()), normal_factors(4, COLUMNS)
    a, b = observed * rng.uniform(0, 2, observed.shape), observed * rng.normal(size=observed.shape)
    rows = rng.uniform(0.1, 1, ROWS)
    columns = rng.uniform(0.2, 3, COLUMNS).astype(np.float32)
    held = fix(fixed, gram(fixed, columns), columns)
    solved = solve_rows(Problem(csr_of(observed, a, b), rows, np.full(ROWS, 0.3)), held, Solver())
    wide = fixed.astype(float)
    for u in range(ROWS):
        cells = rows[u] * columns + np.where(observed[u], a[u].astype(np.float32), 0.0)
        left = wide.T @ (cells[:, None] * wide) + 0.3 * np.eye(RANK)
        assert_rows_equal(solved.factors[u], np.linalg.solve(left, wide.T @ b[u]))
    predictions = (solved.factors @ fixed.T)[observed]
    w = (rows[:, None] * columns)[observed]
    total = w + a[observed]
    expected = np.sum(total * (predictions - b[observed] / total) ** 2)
    assert solved.observed == pytest.approx(expected, rel=1e-5)
    assert solved.shadowed == pytest.approx(np.sum(w * predictions**2), rel=1e-5)


def test_gram_is_accumulated_in_double_precision():
    factors = np.full((100_000, 1), 0.1, dtype=np.float32)
    assert gram(factors).dtype == np.float64
    assert gram(factors)[0, 0] == pytest.approx(100_000 * float(np.float32(0.1)) ** 2, rel=1e-12)


def test_factors_with_nan_are_reported_and_not_solved():
    fixed = np.array([[np.nan, 1.0]], dtype=np.float32)
    solved = solve_table(*single_row([0], 1, 1.0, 1.0), fixed, 1.0, 1.0)  # type: ignore[call-arg]
    assert solved.failed.tolist() == [0]


# The subspace solver.


def random_table(seed, columns, rows=ROWS, density=0.3, lowest=0.0):
    """Observed cells with weights from `lowest` on and targets of any sign."""
    rng = np.random.default_rng(seed)
    observed = rng.random((rows, columns)) < density
    observed[:, 0] = True
    a, b = rng.uniform(lowest, 3, observed.shape), rng.normal(size=observed.shape)
    return observed, (a * observed).astype(np.float32), (b * observed).astype(np.float32)


def expected_steps(fixed, a, b, w0, penalty, start, block):
    wide = fixed.astype(float)
    rows = zip(a, b, np.broadcast_to(penalty, len(a)), start, strict=True)
    return [dense.block_step_row(wide, *row[:2], w0, *row[2:], block) for row in rows]


@pytest.mark.parametrize(("rank", "block"), [(1, 1), (5, 2), (64, 64), (70, 32), (130, 64)])
@pytest.mark.parametrize("columns", [COLUMNS, 300])
def test_a_block_step_is_exact_in_the_block_and_leaves_the_rest(rank, block, columns):
    observed, a, b = random_table(rank, columns)
    fixed, start = normal_factors(40, columns, rank), normal_factors(41, ROWS, rank)
    penalty = np.random.default_rng(1).uniform(0.5, 2, ROWS)
    for step in Solver("subspace", subspace_block=block).steps(rank):
        inside = step.coordinates(rank)
        solved = solve_table(observed, a, b, fixed, 0.2, penalty, step, last=start)
        expected = expected_steps(fixed, a, b, 0.2, penalty, start, inside)
        assert_rows_equal(solved.factors, expected, start)
        outside = np.ones(rank, bool)
        outside[inside] = False
        np.testing.assert_array_equal(solved.factors[:, outside], start[:, outside])
    assert inside.stop == rank


@pytest.mark.parametrize("length", [1023, 1024, 1025, 3000])
@pytest.mark.parametrize("lowest", [0.1, -0.1])
def test_block_steps_of_rows_longer_than_what_is_gathered_at_once(length, lowest):
    observed, a, b = random_table(length, length, rows=2, density=1.0, lowest=lowest)
    fixed, start = normal_factors(42, length, 7), normal_factors(43, 2, 7)
    step = Solver("subspace", subspace_block=3, first=3)
    solved = solve_table(observed, a, b, fixed, 0.2, 1.0, step, last=start)
    expected = expected_steps(fixed, a, b, 0.2, 1.0, start, slice(3, 6))
    assert_rows_equal(solved.factors, expected, start)


@pytest.mark.parametrize("w0", [0.0, 0.5])
@pytest.mark.parametrize("method", ["subspace", "cholesky"])
def test_weights_of_any_sign_and_responses_without_weight(w0, method):
    observed, a, b = random_table(6, COLUMNS, lowest=-0.3)
    a[:4] = 0.0
    fixed = normal_factors(44, COLUMNS)
    solver, start = Solver(method), normal_factors(45, ROWS)
    solved = solve_table(observed, a, b, fixed, w0, 5.0, solver, last=start)
    wide = fixed.astype(float)
    assert_rows_equal(
        solved.factors, [dense.general_row(wide, a[u], b[u], w0, 5.0) for u in range(ROWS)]
    )


@pytest.mark.parametrize("rank", [1, 8, 31, 64, 100, 160])
def test_a_block_of_the_full_rank_is_the_exact_solution(rank):
    observed, a, b = random_table(rank, 200)
    fixed, start = normal_factors(46, 200, rank), normal_factors(47, ROWS, rank)
    exact = solve_table(observed, a, b, fixed, 0.1, 3.0)
    solver = Solver("subspace", subspace_block=500)
    assert solver.steps(rank) == [solver]
    solved = solve_table(observed, a, b, fixed, 0.1, 3.0, solver, last=start)
    assert_rows_equal(solved.factors, exact.factors.astype(float), start)
    from_zero = solve_table(observed, a, b, fixed, 0.1, 3.0, solver)
    assert_rows_equal(from_zero.factors, exact.factors.astype(float))


def test_block_steps_with_unobserved_weights_of_rows_and_columns():
    rng = np.random.default_rng(3)
    observed, a, b = random_table(3, COLUMNS)
    fixed, start = normal_factors(48, COLUMNS), normal_factors(49, ROWS)
    rows = rng.uniform(0.1, 1, ROWS)
    columns = rng.uniform(0.2, 3, COLUMNS).astype(np.float32)
    held = fix(fixed, gram(fixed, columns), columns, rotate=False)
    problem = Problem(csr_of(observed, a, b), rows, np.full(ROWS, 0.3))
    solved = solve_rows(problem, held, Solver("subspace", subspace_block=2, first=2), start)
    wide, block = fixed.astype(float), slice(2, 4)
    expected = [
        dense.block_step_row(wide, a[u], b[u], rows[u] * columns, 0.3, start[u], block)
        for u in range(ROWS)
    ]
    assert_rows_equal(solved.factors, expected)
    predictions = (solved.factors @ fixed.T)[observed]
    w = (rows[:, None] * columns)[observed]
    total = w + a[observed]
    error = np.sum(total * (predictions - b[observed] / total) ** 2)
    assert solved.observed == pytest.approx(error, rel=1e-5)
    assert solved.shadowed == pytest.approx(np.sum(w * predictions**2), rel=1e-5)


def test_ill_conditioned_blocks_are_solved_again_in_double_precision():
    fixed = normal_factors(10, 2 * RANK)
    fixed[1] = fixed[0] + np.float32(1e-3) * normal_factors(11, 1)[0]
    observed, a, b = single_row([0, 1], len(fixed), 1e6, 1e6)
    b[0, 1] = 1.001e6
    last = normal_factors(12, 1)
    solved = solve_table(observed, a, b, fixed, 0.0, 1e-3, Solver("subspace"), last=last)
    expected = dense.general_row(fixed.astype(float), a[0], b[0], 0.0, 1e-3)
    assert np.linalg.norm(solved.factors[0] - expected) < 1e-4 * np.linalg.norm(expected)


def test_a_block_that_is_unsolvable_is_reported_and_a_singular_one_gets_jitter():
    fixed = normal_factors(16, COLUMNS)
    observed = np.zeros((3, COLUMNS), dtype=bool)
    observed[:, 0] = True
    a = observed * np.array([[1.0], [-5.0], [0.5]])
    last = normal_factors(17, 3)
    step = Solver("subspace", subspace_block=2)
    solved = solve_table(observed, a, 1.0 * observed, fixed, 0.0, 0.01, step, last=last)
    assert solved.failed.tolist() == [1]
    assert not solved.factors[1].any()
    singular = solve_table(observed[:1], a[:1], a[:1], fixed, 0.0, 0.0, step, last=last[:1])
    assert len(singular.failed) == 0
    assert singular.factors[0] @ fixed[0] == pytest.approx(1.0, rel=1e-4)


def test_blocks_of_dislikes_only_and_of_no_entries_solve_to_zero():
    observed, a, b = random_table(7, COLUMNS)
    b[3] = 0.0
    fixed, last = normal_factors(50, COLUMNS), normal_factors(51, ROWS)
    step = Solver("subspace", subspace_block=2)
    solved = solve_table(observed, a, b, fixed, 0.1, 1.0, step, last=last)
    assert not solved.factors[3].any()
    assert solved.factors[4].all()
    nobody = Problem(empty_block(2), np.ones(2), np.zeros(2))
    held = fix(fixed, gram(fixed), rotate=False)
    assert not solve_rows(nobody, held, step, last[:2]).factors.any()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("block", [2, 3])
def test_blocks_never_raise_the_loss_and_end_where_exact_sweeps_do(preset, block):
    # With Hu's own penalty these few ratings have several minima.
    more = {"regularization": 20.0} if preset == "hu2008" else {}
    spec = resolve_spec(preset, rank=RANK, **more)
    table = ratings_table()
    terms = dense_terms(table, spec)

    def losses(solver, sweeps):
        X, Y = (0.3 * normal_factors(seed, n) for seed, n in ((10, ROWS), (11, COLUMNS)))
        found = []
        for _ in range(sweeps):
            for step in solver.steps(RANK):
                X = half_sweep(table, Y, spec, step, last=X)
                Y = half_sweep(table.T, X, spec, step, last=Y)
                found.append(dense.full_loss(X.astype(float), Y.astype(float), *terms))
        return found

    by_blocks = losses(Solver("subspace", subspace_block=block), 150)
    assert all(after <= before * (1 + 1e-5) for before, after in pairwise(by_blocks))
    assert by_blocks[-1] == pytest.approx(losses(Solver(), 150)[-1], rel=1e-3)


@pytest.mark.parametrize("rank", [3, 33, 64, 100, 200])
@pytest.mark.parametrize("method", ["cholesky", "cg"])
def test_a_row_comes_out_the_same_bits_in_any_block(rank, method):
    rng = np.random.default_rng(rank)
    fixed = fix(normal_factors(1, 500, rank), gram(normal_factors(1, 500, rank)))
    observed = rng.random((301, 500)) < rng.uniform(0.002, 0.3, (301, 1))
    observed[:, 0] = True
    a = observed * rng.uniform(0.5, 2, observed.shape)
    start = normal_factors(2, 301, rank)

    def solved(rows):
        count = len(observed[rows])
        problem = Problem(csr_of(observed[rows], a[rows], a[rows]), np.ones(count), np.ones(count))
        return solve_rows(problem, fixed, Solver(method), start[rows]).factors

    whole = solved(slice(None))
    for cut in (1, 7, 64, 150):
        pieces = [solved(slice(first, first + cut)) for first in range(0, 301, cut)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)
