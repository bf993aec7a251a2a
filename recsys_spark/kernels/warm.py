"""`python -m recsys_spark.kernels.warm` compiles the kernels once, so that first runs are quick.

The machine code is kept beside the package (or in the user's cache), where every later process
of the same installation finds it.
"""

import numpy as np

from recsys_spark.kernels.csr import csr_from_triples
from recsys_spark.kernels.ranking import ranking_metrics
from recsys_spark.kernels.solve import gram, observed_loss, solve_rows
from recsys_spark.kernels.topn import fill_popular, pad_items, top_n


def warm() -> None:
    """Call every compiled kernel with the types that the stages use.

    Arrays that tasks see as views of Arrow's memory cannot be written to, which is a type of its
    own to the compiler.
    """
    rows, cols = np.array([0, 1]), np.array([0, 1], dtype=np.int32)
    ones, factors = np.ones(2), np.eye(2, dtype=np.float32)
    block = csr_from_triples(rows, cols, ones)
    for array in (block.ids, block.indptr, block.cols, block.values):
        array.flags.writeable = False
    solved = solve_rows(block, ones, ones, factors, gram(factors), ones).factors
    observed_loss(block, ones, ones, factors, solved, 0.1)
    indptr, none = np.zeros(3, dtype=np.int64), np.zeros(0, dtype=np.int32)
    positions, _ = top_n(factors, pad_items(factors), np.ones(2, dtype=bool), indptr, none, 2)
    fill_popular(positions, cols, indptr, none, 2)
    listed = np.zeros(1, dtype=np.int64)
    listed.flags.writeable = False
    ranking_metrics(rows, listed, rows, listed, np.array([1]))


if __name__ == "__main__":
    warm()
