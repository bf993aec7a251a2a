"""How training is cut up: block sizes, limits, and where blocks are kept."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from recsys_spark.errors import ConfigError, setting
from recsys_spark.kernels.als.solver import Solver

Placement = Literal["auto", "replicated", "sharded", "driver"]

_MOST_ENTRIES = 2_000_000
_LEAST_ENTRIES = 10_000
_BLOCKS_A_SLOT = 3


@dataclass(frozen=True)
class Sizes:
    """Of the training data. pairs: rows. sum_a, sum_b: of their weights. slots: tasks at once.

    on_driver: whether the driver holds and solves all of it.
    """

    pairs: int
    users: int
    items: int
    sum_a: float
    sum_b: float
    slots: int
    on_driver: bool = False

    def rows(self, side: str) -> int:
        """How many rows a side has."""
        return self.users if side == "user" else self.items


@dataclass(frozen=True)
class Plan:
    """How the factors are computed; all but the solver without influence beyond rounding.

    blocks: blocks a side, about; None chooses by the data and the number of slots.
    broadcast_budget_bytes: the largest matrix of factors that may be broadcast.
    split_above: entries above which a row is split over several blocks.
    placement: replicated, where driver and hosts hold both sides' factors; sharded, where factors
    are shuffled to the blocks that need them; driver, where the driver holds the blocks, too, and
    solves them; auto, driver where that pays (see `als.driver.held_sides`), else replicated while
    both sides fit the budget.
    folder: an address that all hosts see, where blocks are kept in files; None persists them.
    Blocks found there are used again, so its name must stand for the training rows and the
    objective. What it holds is deleted when training ends, but for the factors of the sharded
    placement, and left by a process that is killed.

    Raises ConfigError for an unknown placement.
    """

    blocks: int | None = None
    broadcast_budget_bytes: int = 2048 * 2**20
    split_above: int = 1_000_000
    solver: Solver = field(default_factory=Solver)
    placement: Placement = "auto"
    folder: str | None = None

    def __post_init__(self) -> None:
        if self.placement not in get_args(Placement):
            choices = ", ".join(get_args(Placement))
            raise ConfigError(
                f"{setting('placement')} is {self.placement!r}; choose one of {choices}."
            )

    def is_sharded(self, sizes: Sizes, width: int) -> bool:
        """Whether factors are shuffled to the blocks that need them; width: of a vector."""
        most = max(sizes.users, sizes.items) * width * 4
        fits = most <= self.broadcast_budget_bytes
        return self.placement == "sharded" or (self.placement == "auto" and not fits)

    def block_entries(self, sizes: Sizes) -> int:
        """Pairs of a block: by the planned number, or a few blocks a slot, none too large."""
        if self.blocks:
            return -(-sizes.pairs // self.blocks)
        wanted = sizes.pairs // (_BLOCKS_A_SLOT * sizes.slots)
        return min(_MOST_ENTRIES, max(_LEAST_ENTRIES, wanted))
