"""Items drawn at random for users, among those that they have nothing to do with."""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import kernel
from recsys_spark.kernels.random import random_bits

_STREAM = 103  # of random numbers
_Whole = npt.NDArray[np.int64]
_Positions = npt.NDArray[np.int32]


def draw_positions(
    users: _Whole, indptr: _Whole, left_out: _Positions, size: int, n: int, seed: int
) -> _Positions:
    """n different positions below size for each user, shape (users, n), all equally likely.

    users: (users,) ids, of which and of the seed the positions are a function. left_out: what may
    not be drawn, row i's at indptr[i]:indptr[i + 1]. Where fewer are left, all of them are drawn
    and -1 stands in the entries that remain.
    """
    drawn = np.full((len(users), n), -1, dtype=np.int32)
    rows, draws = np.arange(len(users)), 2 * n
    while len(rows):
        chances = random_bits(seed, _STREAM, users[rows], draws) % np.uint64(max(size, 1))
        rows = rows[_keep_new(chances.astype(np.int32), rows, indptr, left_out, size, drawn)]
        draws *= 2  # the first ones are the same again
    return drawn


@kernel
def _keep_new(chances, rows, indptr, left_out, size, drawn):  # type: ignore[no-untyped-def]
    """Write the chances of each row that are new and allowed; which rows need more of them."""
    taken = np.full(size, -1, dtype=np.int64)
    short = np.zeros(len(rows), dtype=np.bool_)
    for at in range(len(rows)):
        row, free, found = rows[at], size, 0
        for position in left_out[indptr[row] : indptr[row + 1]]:
            if taken[position] != row:
                taken[position] = row
                free -= 1
        wanted = min(drawn.shape[1], free)
        for position in chances[at]:
            if found == wanted:
                break
            if taken[position] != row:
                taken[position] = row
                drawn[row, found] = position
                found += 1
        short[at] = found < wanted
    return short
