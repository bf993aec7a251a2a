"""The half-sweep against dense formulas, its optimality, and its awkward rows."""

import numpy as np
import pytest
from reference import dense_wals as dense
from reference.weighting import counted_pairs, pair_weights
from scipy.optimize import nnls

from recsys_spark.kernels.csr import csr_from_triples
from recsys_spark.kernels.solve import gram, observed_loss, solve_rows
from recsys_spark.kernels.spec import resolve_spec
from recsys_spark.kernels.weights import row_regularization

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


def block_of(table):
    rows, cols = np.nonzero(~np.isnan(table))
    return csr_from_triples(rows, cols.astype(np.int32), table[rows, cols])


def row_sums(block, entries):
    return np.add.reduceat(entries, block.indptr[:-1])


def half_sweep(table, fixed, spec):
    """Solve the rows of the table with the package, from values to factors."""
    block = block_of(table)
    a, b = pair_weights(block.values, spec)
    counts = row_sums(block, counted_pairs(block.values, spec))
    penalty = row_regularization(counts, len(fixed), spec, "user")
    base = spec.unobserved_weight * gram(fixed)
    solution = solve_rows(block, a, b, fixed, base, penalty, spec.nonnegative)
    assert len(solution.failed) == 0
    return solution.factors


def dense_terms(table, spec):
    """The objective's ingredients over all cells: observed, a, b, L of rows, L of columns."""
    observed = ~np.isnan(table)
    a, b = (np.zeros(table.shape) for _ in range(2))
    a[observed], b[observed] = pair_weights(table[observed], spec)
    counted = np.zeros(table.shape)
    counted[observed] = counted_pairs(table[observed], spec)
    penalty_rows = row_regularization(counted.sum(axis=1), table.shape[1], spec, "user")
    penalty_columns = row_regularization(counted.sum(axis=0), table.shape[0], spec, "item")
    return observed, a, b, spec.unobserved_weight, penalty_rows, penalty_columns


def assert_rows_equal(factors, expected):
    np.testing.assert_allclose(factors, np.array(expected), rtol=2e-6, atol=2e-7)


def single_row(cols, columns):
    """A block of one row with these columns observed."""
    cols = np.asarray(cols, dtype=np.int32)
    return csr_from_triples(np.zeros(len(cols), dtype=np.int64), cols, np.ones(len(cols)))


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


def test_general_equation_with_arbitrary_weights():
    rng = np.random.default_rng(2)
    table, fixed = ratings_table(), normal_factors(3, COLUMNS)
    observed = ~np.isnan(table)
    a, b = rng.uniform(0, 3, table.shape) * observed, rng.normal(size=table.shape) * observed
    penalty = rng.uniform(0.1, 2, ROWS)
    solved = solve_rows(
        block_of(table), a[observed], b[observed], fixed, 0.7 * gram(fixed), penalty
    )
    wide = fixed.astype(float)
    expected = [dense.general_row(wide, a[u], b[u], 0.7, penalty[u]) for u in range(ROWS)]
    assert_rows_equal(solved.factors, expected)


def test_confidence_below_one_gives_a_negative_weight_and_still_solves():
    table, fixed = ratings_table(), normal_factors(4, COLUMNS)
    observed = ~np.isnan(table)
    confidence = np.random.default_rng(5).uniform(0.1, 0.9, table.shape)
    a, b = (confidence - 1) * observed, confidence * observed
    solved = solve_rows(
        block_of(table), a[observed], b[observed], fixed, gram(fixed), np.full(ROWS, 0.5)
    )
    wide = fixed.astype(float)
    assert_rows_equal(
        solved.factors, [dense.general_row(wide, a[u], b[u], 1.0, 0.5) for u in range(ROWS)]
    )


@pytest.mark.parametrize("length", [1, 255, 256, 257, 512, 700])
def test_rows_longer_than_a_chunk(length):
    rng = np.random.default_rng(length)
    fixed = normal_factors(6, 800)
    cols = rng.permutation(800)[:length]
    a, b = np.zeros(800), np.zeros(800)
    a[cols], b[cols] = rng.uniform(0.5, 2, length), rng.normal(size=length)
    block = single_row(cols, 800)
    solved = solve_rows(
        block, a[block.cols], b[block.cols], fixed, 0.1 * gram(fixed), np.array([1.0])
    )
    assert_rows_equal(solved.factors[0], dense.general_row(fixed.astype(float), a, b, 0.1, 1.0))


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
def test_no_nudge_lowers_the_loss(preset):
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


def test_a_row_without_entries_solves_to_zero():
    block = csr_from_triples(np.array([5]), np.array([0], dtype=np.int32), np.ones(1))
    empty = type(block)(np.array([5, 9]), np.array([0, 1, 1]), block.cols, block.values)
    fixed = normal_factors(14, 3)
    solved = solve_rows(empty, np.ones(1), np.ones(1), fixed, 0.0 * gram(fixed), np.zeros(2))
    assert solved.factors[0].any()
    assert not solved.factors[1].any()
    assert len(solved.failed) == 0


def test_a_block_without_rows():
    block = csr_from_triples(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0))
    fixed = normal_factors(15, 3)
    solved = solve_rows(block, np.empty(0), np.empty(0), fixed, gram(fixed), np.empty(0))
    assert solved.factors.shape == (0, RANK)


def test_an_unsolvable_row_is_reported_and_its_neighbours_are_solved():
    fixed = normal_factors(16, COLUMNS)
    block = csr_from_triples(np.arange(3), np.zeros(3, dtype=np.int32), np.ones(3))
    a = np.array([1.0, -5.0, 1.0])  # the middle matrix is indefinite
    solved = solve_rows(block, a, np.ones(3), fixed, 0.0 * gram(fixed), np.full(3, 0.01))
    assert solved.failed.tolist() == [1]
    assert not solved.factors[1].any()
    np.testing.assert_array_equal(solved.factors[0], solved.factors[2])
    assert solved.factors[0].any()


def test_jitter_gives_a_singular_row_its_shortest_solution():
    fixed = normal_factors(17, COLUMNS)
    block = single_row([4], COLUMNS)
    solved = solve_rows(block, np.ones(1), np.array([3.0]), fixed, 0.0 * gram(fixed), np.zeros(1))
    y = fixed[4].astype(float)
    assert len(solved.failed) == 0
    np.testing.assert_allclose(solved.factors[0], 3.0 * y / (y @ y), rtol=1e-4)


def test_well_conditioned_rows_get_no_jitter():
    fixed = normal_factors(18, COLUMNS)
    block = single_row(np.arange(COLUMNS), COLUMNS)
    b = np.random.default_rng(19).normal(size=COLUMNS)
    solved = solve_rows(block, np.ones(COLUMNS), b, fixed, 0.0 * gram(fixed), np.zeros(1))
    expected = np.linalg.lstsq(fixed.astype(float), b, rcond=None)[0]
    assert_rows_equal(solved.factors[0], expected)


@pytest.mark.parametrize("seed", range(5))
def test_nonnegative_rows_equal_scipys_nnls(seed):
    rng = np.random.default_rng(seed)
    table, fixed = ratings_table(seed), normal_factors(20 + seed, COLUMNS)
    block = block_of(table)
    a, b = rng.uniform(0, 2, len(block.cols)), rng.normal(size=len(block.cols))
    solved = solve_rows(block, a, b, fixed, gram(fixed), np.full(ROWS, 0.1), nonnegative=True)
    wide = fixed.astype(float)
    for u in range(ROWS):
        entries = slice(block.indptr[u], block.indptr[u + 1])
        Ys = wide[block.cols[entries]]
        left = wide.T @ wide + Ys.T @ (a[entries, None] * Ys) + 0.1 * np.eye(RANK)
        lower = np.linalg.cholesky(left)
        expected, _ = nnls(lower.T, np.linalg.solve(lower, Ys.T @ b[entries]))
        np.testing.assert_allclose(solved.factors[u], expected, rtol=1e-5, atol=1e-7)
    assert (solved.factors == 0).any()
    assert (solved.factors > 0).any()


@pytest.mark.parametrize("preset", PRESETS)
def test_observed_loss_completes_to_the_full_loss(preset):
    spec = resolve_spec(preset, rank=RANK)
    table, X, Y = ratings_table(), normal_factors(30, ROWS), normal_factors(31, COLUMNS)
    block = block_of(table)
    a, b = pair_weights(block.values, spec)
    w0 = spec.unobserved_weight
    terms = observed_loss(block, a, b, Y, X, w0)
    wide_x, wide_y = X.astype(float), Y.astype(float)
    observed, a_cells, b_cells, *_, rows, columns = dense_terms(table, spec)
    error = dense.observed_error(wide_x, wide_y, observed, a_cells, b_cells, w0)
    assert terms.weighted_error == pytest.approx(error, rel=1e-12)
    squared = ((wide_x @ wide_y.T)[observed] ** 2).sum()
    assert terms.squared_prediction == pytest.approx(squared, rel=1e-12)
    unobserved = w0 * ((gram(X) * gram(Y)).sum() - terms.squared_prediction)
    penalty = rows @ (wide_x**2).sum(axis=1) + columns @ (wide_y**2).sum(axis=1)
    full = dense.full_loss(wide_x, wide_y, observed, a_cells, b_cells, w0, rows, columns)
    assert terms.weighted_error + unobserved + penalty == pytest.approx(full, rel=1e-10)


def test_gram_is_accumulated_in_double_precision():
    factors = np.full((100_000, 1), 0.1, dtype=np.float32)
    assert gram(factors).dtype == np.float64
    assert gram(factors)[0, 0] == pytest.approx(100_000 * float(np.float32(0.1)) ** 2, rel=1e-12)


def test_factors_with_nan_are_reported_and_not_solved():
    block = csr_from_triples(np.array([0]), np.array([0], dtype=np.int32), np.ones(1))
    fixed = np.array([[np.nan, 1.0]], dtype=np.float32)
    solved = solve_rows(block, np.ones(1), np.ones(1), fixed, np.eye(2), np.ones(1))
    assert solved.failed.tolist() == [0]
