"""Solution of a block of rows: the half-sweep's arithmetic.

For each row with observed columns S (symbols in `kernels.als.spec`; w the row's unobserved weight,
G the other side's weighted Gram matrix):

    A = w G + sum_S a_j y_j y_j' + L I,     A x = sum_S b_j y_j

The other side comes rotated by the eigenvectors of G (`fix`), which makes the shared part
D = w G + L I diagonal. A row with fewer entries than the rank is solved in the dual form,
with V = diag(sqrt a) Y_S D^-1/2:

    x = D^-1/2 V' (I + V V')^-1 diag(sqrt a)^-1 b,    O(n^2 d + n^3) instead of O(n d^2 + d^3)

Precision: single for what is stored, gathered and multiplied; right sides of long rows and the
loss are summed in double. A row whose pivots show that single precision does not carry is solved
again in double, and with jitter if it is singular. A row whose right side is zero solves to zero.
"""

from recsys_spark.kernels.als.solve.fixed_side import Fixed, fix, gram, rotated
from recsys_spark.kernels.als.solve.nonnegative import nonnegative_solution
from recsys_spark.kernels.als.solve.rows import Problem, Solution, solve_rows
from recsys_spark.kernels.als.solve.systems import JITTER

__all__ = [
    "JITTER",
    "Fixed",
    "Problem",
    "Solution",
    "fix",
    "gram",
    "nonnegative_solution",
    "rotated",
    "solve_rows",
]
