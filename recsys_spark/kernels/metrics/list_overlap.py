"""How similar two ranked lists of one user are, at several cut-offs.

overlap  items that both first k have, / the length of the longer of the two
rbo      rank-biased overlap of the first k with p = 0.9, extrapolated from the last rank
         (Webber, Moffat, Zobel 2010, equation 23); a shorter list counts as filled with others

Neither has a value (NaN) where both lists are empty.
"""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import kernel
from recsys_spark.kernels.ragged import Coded

AGREEMENT = ("overlap", "rbo")
PERSISTENCE = 0.9

_Whole = npt.NDArray[np.int64]


def list_agreement(
    one_indptr: _Whole, one: _Whole, other_indptr: _Whole, other: _Whole, cutoffs: _Whole
) -> npt.NDArray[np.float64]:
    """Shape (users, cut-offs, 2) in the order of AGREEMENT.

    one, other: codes of the items, from 0, none twice in a list; -1 is in no other list. cutoffs:
    ascending.
    """
    out = np.full((len(one_indptr) - 1, len(cutoffs), len(AGREEMENT)), np.nan)
    marks = np.zeros(1 + max(one.max(initial=-1), other.max(initial=-1)), dtype=np.int64)
    _agreement(Coded(one_indptr, one), Coded(other_indptr, other), cutoffs, marks, out)
    return out


@kernel
def _agreement(one, other, cutoffs, marks, out):  # type: ignore[no-untyped-def]
    for user in range(len(one.indptr) - 1):
        left = one.codes[one.indptr[user] : one.indptr[user + 1]]
        right = other.codes[other.indptr[user] : other.indptr[user + 1]]
        longer = max(len(left), len(right))
        rank, common, weighed, weight = 0, 0, 0.0, 1.0
        for at, k in enumerate(cutoffs):
            while rank < min(k, longer):
                for ranked, mark in ((left, 2 * user + 1), (right, 2 * user + 2)):
                    if rank < len(ranked) and ranked[rank] >= 0:
                        item = ranked[rank]
                        common += marks[item] > 2 * user and marks[item] != mark
                        marks[item] = mark
                rank += 1
                weighed += common / rank * weight
                weight *= PERSISTENCE
            if rank > 0:
                out[user, at, 0] = common / rank
                out[user, at, 1] = common / rank * weight + (1.0 - PERSISTENCE) * weighed
