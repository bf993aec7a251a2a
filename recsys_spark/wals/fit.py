"""The sweep loop: from ratings to the factors of both sides.

Every half-sweep is one job over blocks that were built once, so the plan does not grow with the
iterations. After the last sweep of a users-first objective the users are solved once more, so
that their factors answer to the final item factors.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.kernels.init import initial_factors
from recsys_spark.kernels.solve import gram
from recsys_spark.kernels.spec import WalsSpec
from recsys_spark.wals.blocks import Ids, build_blocks
from recsys_spark.wals.sweep import FixedSide, Solved, half_sweep
from recsys_spark.wals.weighting import weigh

SIDES = ("user", "item")
_BLOCK_ENTRIES = 250_000
_MIN_BLOCKS = 2


@dataclass(frozen=True)
class Plan:
    """How the factors are computed; without influence on the result beyond rounding."""

    blocks: int | None = None
    broadcast_budget_bytes: int = 2048 * 2**20


@dataclass(frozen=True)
class Loss:
    """The objective after a sweep, in its three terms."""

    iteration: int
    observed: float
    unobserved: float
    regularization: float

    @property
    def total(self) -> float:
        """What the sweeps minimise."""
        return self.observed + self.unobserved + self.regularization


@dataclass(frozen=True)
class Factors:
    """ids: (rows,) ascending; vectors: (rows, rank), row for row."""

    ids: Ids
    vectors: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Factorization:
    """The trained factors and the loss of every sweep."""

    user: Factors
    item: Factors
    losses: list[Loss] = field(default_factory=list)


@dataclass(frozen=True)
class _Side:
    ids: Ids
    blocks: DataFrame


def fit_factors(
    ratings: DataFrame,
    spec: WalsSpec,
    plan: Plan,
    on_sweep: Callable[[Loss], None] = lambda _: None,
) -> Factorization:
    """Train on columns user, item (whole numbers) and value; several rows of a pair all count.

    Raises ContractError for null, NaN or infinite input, ConfigError if a side's factors exceed
    the broadcast budget, SolveError for a singular row or numbers that are no longer finite.
    """
    entries = _checked_size(ratings)
    ids = {side: _distinct_ids(ratings, side) for side in SIDES}
    _check_budget(ids, spec, plan)
    with _built_sides(weigh(ratings, spec), ids, plan.blocks or _default_blocks(entries)) as sides:
        return _sweep(sides, spec, on_sweep)


def solve_side(ratings: DataFrame, row: str, fixed: Factors, spec: WalsSpec, plan: Plan) -> Factors:
    """Fold-in: factors for the ids in column `row` from their ratings, the other side fixed.

    Ratings with ids that `fixed` does not know are left out.
    """
    other = "item" if row == "user" else "user"
    known = ratings.sparkSession.sparkContext.broadcast(fixed.ids)
    inside = weigh(ratings, spec).join(_ids_frame(ratings, fixed.ids, other), other, "left_semi")
    ids = _distinct_ids(inside, row)
    blocks = build_blocks(inside, row, other, known, plan.blocks or _MIN_BLOCKS)
    held = FixedSide(fixed.vectors, gram(fixed.vectors), "user" if row == "user" else "item")
    solved = half_sweep(blocks, ids, held, spec)
    return Factors(ids, solved.factors)


def _ids_frame(like: DataFrame, ids: Ids, name: str) -> DataFrame:
    import pyarrow as pa

    return like.sparkSession.createDataFrame(pa.table({name: ids}))


def _checked_size(ratings: DataFrame) -> int:
    bad = F.col("value").isNull() | F.isnan("value") | F.col("value").isin(np.inf, -np.inf)
    bad = bad | F.col("user").isNull() | F.col("item").isNull()
    row = ratings.agg(F.count("*").alias("rows"), F.count_if(bad).alias("bad")).first()
    assert row is not None
    if row["bad"]:
        raise ContractError(
            f"{row['bad']} of {row['rows']} training rows have a null id or a null, NaN or "
            "infinite value; ingest rejects such rows, or filter them before fit."
        )
    if not row["rows"]:
        raise ContractError("There are no training rows: check the filters and the split.")
    return int(row["rows"])


def _distinct_ids(ratings: DataFrame, side: str) -> Ids:
    ids: Ids = np.sort(ratings.select(side).distinct().toArrow()[side].to_numpy())
    return ids


def _check_budget(ids: dict[str, Ids], spec: WalsSpec, plan: Plan) -> None:
    for side in SIDES:
        needed = len(ids[side]) * spec.rank * 4
        if needed > plan.broadcast_budget_bytes:
            raise ConfigError(
                f"The {side} factors need {needed / 2**20:,.0f} MiB ({len(ids[side]):,} rows of "
                f"rank {spec.rank}) but solver.broadcast_budget_mb allows "
                f"{plan.broadcast_budget_bytes / 2**20:,.0f}; raise it if driver and workers have "
                "the memory, or lower objective.rank."
            )


def _default_blocks(entries: int) -> int:
    return max(_MIN_BLOCKS, -(-entries // _BLOCK_ENTRIES))


@contextmanager
def _built_sides(
    ratings: DataFrame, ids: dict[str, Ids], blocks: int
) -> Iterator[dict[str, _Side]]:
    context = ratings.sparkSession.sparkContext
    broadcasts = {side: context.broadcast(ids[side]) for side in SIDES}
    sides = {}
    for row, col in (SIDES, SIDES[::-1]):
        frame = build_blocks(ratings, row, col, broadcasts[col], blocks)
        sides[row] = _Side(ids[row], frame.persist(StorageLevel.MEMORY_AND_DISK))
    try:
        yield sides
    finally:
        for side in sides.values():
            side.blocks.unpersist()
        for broadcast in broadcasts.values():
            broadcast.unpersist()  # not destroyed: a recomputed block would need it


def _sweep(
    sides: dict[str, _Side], spec: WalsSpec, on_sweep: Callable[[Loss], None]
) -> Factorization:
    order = SIDES if spec.order == "users_first" else SIDES[::-1]
    first, second = order
    # Only the side that the first half-sweep holds fixed needs a start.
    start = initial_factors(sides[second].ids, spec, stream=SIDES.index(second))
    fixed = {second: FixedSide(start, gram(start), first)}
    losses: list[Loss] = []
    for iteration in range(1, spec.iterations + 1):
        solved: dict[str, Solved] = {}
        for side, other in ((first, second), (second, first)):
            solved[side] = half_sweep(sides[side].blocks, sides[side].ids, fixed[other], spec)
            fixed[side] = FixedSide(solved[side].factors, solved[side].gram, other)
        losses.append(_loss(iteration, solved[first], solved[second], spec))
        on_sweep(losses[-1])
    if spec.order == "users_first":
        user = sides["user"]
        last = half_sweep(user.blocks, user.ids, fixed["item"], spec)
        fixed["user"] = FixedSide(last.factors, last.gram)
    users, items = (Factors(sides[side].ids, fixed[side].factors) for side in SIDES)
    return Factorization(users, items, losses)


def _loss(iteration: int, first: Solved, second: Solved, spec: WalsSpec) -> Loss:
    everywhere = float(np.sum(first.gram * second.gram))  # sum of (xy)^2 over all pairs
    return Loss(
        iteration,
        observed=second.weighted_error,
        unobserved=spec.unobserved_weight * (everywhere - second.squared_prediction),
        regularization=first.penalty + second.penalty,
    )
