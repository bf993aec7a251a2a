"""How training is cut up: block sizes, limits, and where blocks are kept."""

from dataclasses import dataclass, field

from recsys_spark.kernels.solver import Solver

_MOST_ENTRIES = 1_000_000
_LEAST_ENTRIES = 10_000
_BLOCKS_A_SLOT = 3


@dataclass(frozen=True)
class Sizes:
    """Of the training data. pairs: rows. sum_a, sum_b: of their weights. slots: tasks at once."""

    pairs: int
    users: int
    items: int
    sum_a: float
    sum_b: float
    slots: int

    def rows(self, side: str) -> int:
        """How many rows a side has."""
        return self.users if side == "user" else self.items


@dataclass(frozen=True)
class Plan:
    """How the factors are computed; all but the solver without influence beyond rounding.

    blocks: blocks a side, about; None chooses by the data and the number of slots.
    broadcast_budget_bytes: the largest matrix of factors that may be broadcast.
    split_above: entries above which a row is split over several blocks.
    folder: an address that all hosts see, where blocks are kept in files; None persists them.
    Blocks found there are used again, so its name must stand for the training rows and the
    objective; what it holds is deleted when training ends, and left by a process that is killed.
    """

    blocks: int | None = None
    broadcast_budget_bytes: int = 2048 * 2**20
    split_above: int = 1_000_000
    solver: Solver = field(default_factory=Solver)
    folder: str | None = None

    def block_entries(self, sizes: Sizes) -> int:
        """Pairs of a block: by the planned number, or a few blocks a slot, none too large."""
        if self.blocks:
            return -(-sizes.pairs // self.blocks)
        wanted = sizes.pairs // (_BLOCKS_A_SLOT * sizes.slots)
        return min(_MOST_ENTRIES, max(_LEAST_ENTRIES, wanted))
