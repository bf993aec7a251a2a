"""`python -m recsys_spark.kernels.warm` compiles the kernels once, so that first runs are quick.

The machine code is kept beside the package (or in the user's cache), where every later process
of the same installation finds it.
"""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.csr import Csr
from recsys_spark.kernels.ranking import ranking_metrics
from recsys_spark.kernels.solve import Problem, fix, gram, solve_rows
from recsys_spark.kernels.solver import Solver
from recsys_spark.kernels.topn import fill_popular, pad_items, top_n


def warm() -> None:
    """Call every compiled kernel with the types that the stages use.

    Arrays that tasks see as views of Arrow's memory cannot be written to, which is a type of its
    own to the compiler.
    """
    rows, cols = np.array([0, 1]), np.array([0, 1], dtype=np.int32)
    factors = np.eye(2, dtype=np.float32)
    _warm_solvers(factors, cols)
    indptr, none = np.zeros(3, dtype=np.int64), np.zeros(0, dtype=np.int32)
    positions, _ = top_n(factors, pad_items(factors), np.ones(2, dtype=bool), indptr, none, 2)
    fill_popular(positions, cols, indptr, none, 2)
    listed = np.zeros(1, dtype=np.int64)
    listed.flags.writeable = False
    ranking_metrics(rows, listed, rows, listed, np.array([1]))


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
