"""`python -m recsys_spark.kernels.precompile` compiles the kernels once: first runs are quick.

The machine code is kept beside the package (or in the user's cache), where every later process
of the same installation finds it.
"""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.als.counting_sort import compress_both
from recsys_spark.kernels.als.csr import Csr
from recsys_spark.kernels.als.solve import Problem, fix, gram, solve_rows
from recsys_spark.kernels.als.solve.rows import _add_losses
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.jit import is_compiled
from recsys_spark.kernels.metrics.beyond_accuracy import Traits, list_metrics
from recsys_spark.kernels.metrics.full_ranking import rank_metrics
from recsys_spark.kernels.metrics.list_overlap import list_agreement
from recsys_spark.kernels.metrics.ranking import ranking_metrics
from recsys_spark.kernels.metrics.resampling import poisson_weights, random_signs, rounded_sums
from recsys_spark.kernels.ragged import Coded, Ragged
from recsys_spark.kernels.topn.inner_product import arrange
from recsys_spark.kernels.topn.random_order import begin, shuffle, shuffled_lists, shuffled_ranking
from recsys_spark.kernels.topn.rerank import Popular, fill_popular, no_rules, rank, reserve
from recsys_spark.kernels.topn.sampled_negatives import draw_positions
from recsys_spark.kernels.topn.sparse_product import Middles, Rows, largest, nearest, scale
from recsys_spark.kernels.topn.sparse_scores import (
    SparseRows,
    add_scaled,
    row_spread,
    scatter,
    spread,
)
from recsys_spark.kernels.topn.static_order import static_lists, static_order, static_ranking
from recsys_spark.kernels.topn.tile import best_of, exact_tile, factor_tile, padded_items


def warm() -> None:
    """Call every compiled kernel with the types that the stages use."""
    rows, cols = np.array([0, 1]), np.array([0, 1], dtype=np.int32)
    factors = np.eye(2, dtype=np.float32)
    _warm_solvers(factors, cols)
    one = np.ones(2, dtype=np.int64)
    for kind in (np.uint8, np.complex64):
        compress_both(cols, cols, np.ones(2, dtype=kind), (one, one))
    indptr, none = np.zeros(3, dtype=np.int64), np.zeros(0, dtype=np.int32)
    seen, items = Ragged(indptr, none), arrange(factors, np.ones(2, dtype=bool))
    found = rank(factors, items, seen, 2, no_rules(2))
    rank(factors, items, seen, 2, no_rules(2)._replace(diversity=0.5))
    shares = np.zeros(2, dtype=np.float32)
    fill_popular(found.positions, found.scores, Popular(cols, shares), seen, no_rules(2))
    kept = np.zeros((2, 2), dtype=bool)
    reserve(found.positions, found.scores, kept, found, 1, no_rules(2))
    listed = np.zeros(1, dtype=np.int64)
    ranking_metrics(rows, listed, rows, listed, np.array([1]))
    _warm_measures(factors)
    _warm_scorers(factors)
    product = Middles(np.array([0, 1, 2]), cols, np.ones(2), np.ones(2))
    cosine = scale("cosine", np.ones(2), np.ones(2))
    nearest(Rows(np.array([0, 1, 2]), cols, np.ones(2), rows, rows), product, cosine, 1)
    largest(factors, rows, 1)


def is_training_compiled() -> bool:
    """Whether what every training calls was compiled before, so that none waits for it again."""
    return is_compiled(_add_losses)


def _warm_measures(factors: npt.NDArray[np.float32]) -> None:
    indptr, items, none = np.array([0, 1]), np.zeros(1, dtype=np.int64), np.zeros(2)
    list_agreement(indptr, items, indptr, items, np.array([1]))
    traits = Traits(none, none, factors.astype(np.float64), np.zeros(3, dtype=np.int64), items[:0])
    rounded_sums(none[:, None], 1.0)
    poisson_weights(0, items, 1)
    random_signs(0, items, 1)
    hit = np.ones(1, dtype=bool)
    lists = Coded(indptr, items)
    list_metrics(lists, hit, lists, traits, np.array([1]))
    placed = Ragged(indptr, items.astype(np.int32))
    seen = Ragged(np.zeros(2, dtype=np.int64), placed.positions[:0])
    draw_positions(items, seen.indptr, seen.positions, 2, 1, 1)
    best_of(factor_tile(factors, padded_items(factors)), 1)
    best_of(exact_tile(np.zeros((1, 16), dtype=np.float32)), 1)
    equal = padded_items(np.ones_like(factors))  # whose order is in doubt
    rank_metrics(factors[:1], equal, np.ones(2, dtype=bool), seen, placed)
    ordered = static_order(factors[0], np.ones(2, dtype=bool))
    static_lists(ordered, seen, 1)
    static_ranking(ordered, seen, placed)
    shuffled, begun = shuffle(1, np.arange(2)), begin(1, 2, items)
    shuffled_lists(shuffled, begun, seen, 1)
    shuffled_ranking(shuffled, begun, seen, placed)


def _warm_scorers(factors: npt.NDArray[np.float32]) -> None:
    history = Ragged(np.array([0, 1]), np.zeros(1, dtype=np.int32))
    matrix = SparseRows(np.array([0, 1, 1]), np.ones(1, dtype=np.int32), factors[0, :1])
    scatter(history, factors[0, :1], matrix, 2, factors[:1].copy())
    add_scaled(factors.copy(), factors, factors[0])
    spread(factors, np.eye(2))
    row_spread(factors, 2)


def _warm_solvers(factors: npt.NDArray[np.float32], cols: npt.NDArray[np.int32]) -> None:
    weights = np.ones(2, dtype=np.float32)
    problem = Problem(Csr(np.array([0, 1, 2]), cols, weights, weights), np.ones(2), np.ones(2))
    fixed = fix(factors, gram(factors))
    solve_rows(problem, fixed, Solver("cholesky"))
    solve_rows(problem, fixed, Solver("cg"), factors)
    solve_rows(problem, fix(factors, gram(factors), rotate=False), Solver("subspace"), factors)
    solve_rows(problem, fixed, Solver(), nonnegative=True)


if __name__ == "__main__":
    warm()
