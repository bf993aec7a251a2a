"""What a group of users thinks of every item, from what each of them does."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Opinion = Literal["average", "least_misery", "most_pleasure"]
_JOINED = {"average": np.add, "least_misery": np.minimum, "most_pleasure": np.maximum}


def group_scores(
    members: npt.NDArray[np.float32], factors: npt.NDArray[np.float32], opinion: Opinion
) -> npt.NDArray[np.float32]:
    """The mean, the least or the largest of the members' scores, (items,), in single precision.

    members: (members, rank). factors: (items, rank). One member at a time, so that memory does
    not grow with the group: Masthoff 2004 names the ways.
    """
    total = factors @ members[0]
    for member in members[1:]:
        _JOINED[opinion](total, factors @ member, out=total)
    scores: npt.NDArray[np.float32] = total / len(members) if opinion == "average" else total
    return scores.astype(np.float32)


def member_scores(
    members: npt.NDArray[np.float32],
    factors: npt.NDArray[np.float32],
    positions: npt.NDArray[np.int32],
) -> npt.NDArray[np.float32]:
    """What each member's factors score some items, (positions, members), as in `group_scores`."""
    scores = np.empty((len(positions), len(members)), dtype=np.float32)
    for at, member in enumerate(members):
        scores[:, at] = (factors @ member)[positions]
    return scores
