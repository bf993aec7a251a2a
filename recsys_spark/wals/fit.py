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
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.kernels.init import initial_factors
from recsys_spark.kernels.solve import Fixed, Solver, fix, gram
from recsys_spark.kernels.spec import WalsSpec
from recsys_spark.wals.blocks import Ids, Index, Layout, build_blocks, index_side, lay_out
from recsys_spark.wals.shared import SharedArray, share
from recsys_spark.wals.sweep import RowTerms, Solved, half_sweep
from recsys_spark.wals.weighting import weigh

SIDES = ("user", "item")
_MOST_ENTRIES = 1_000_000
_LEAST_ENTRIES = 10_000
_BLOCKS_A_SLOT = 3


@dataclass(frozen=True)
class Plan:
    """How the factors are computed; without influence on the result beyond rounding.

    blocks: blocks a side, about; None chooses by the data and the number of slots.
    split_above: entries above which a row is split over several blocks.
    """

    blocks: int | None = None
    broadcast_budget_bytes: int = 2048 * 2**20
    split_above: int = 1_000_000
    solver: Solver = field(default_factory=Solver)


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
    """A side's rows and blocks, and what stays of it from sweep to sweep."""

    ids: Ids
    blocks: DataFrame
    terms: RowTerms
    weights: npt.NDArray[np.float32]


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
    _refuse_bad_rows(ratings)
    pairs = weigh(ratings, spec)
    indices = {side: index_side(pairs, side) for side in SIDES}
    _check_budget(indices, spec, plan)
    with _built_sides(pairs, indices, spec, plan) as sides:
        return _sweep(sides, spec, plan.solver, on_sweep)


def solve_side(ratings: DataFrame, row: str, fixed: Factors, spec: WalsSpec, plan: Plan) -> Factors:
    """Fold-in: factors for the ids in column `row` from their ratings, the other side fixed.

    Ratings with ids that `fixed` does not know are left out.
    """
    other = "item" if row == "user" else "user"
    inside = ratings.join(_ids_frame(ratings, fixed.ids, other), other, "left_semi")
    pairs = weigh(inside, spec)
    index = index_side(pairs, row)
    with _shared_ids(pairs, {row: index.ids, other: fixed.ids}) as ids:
        layout = _layout(pairs, index, plan)
        blocks = build_blocks(pairs, row, other, ids, layout)
        terms = _terms(spec, row, len(index.ids), len(fixed.ids))
        held = _held(fixed.vectors, gram(fixed.vectors), spec, np.empty(0, np.float32))
        solved = half_sweep(blocks, index.ids, held, terms, Solver())
    return Factors(index.ids, solved.factors)


def _ids_frame(like: DataFrame, ids: Ids, name: str) -> DataFrame:
    return like.sparkSession.createDataFrame(pa.table({name: ids}))


def _refuse_bad_rows(ratings: DataFrame) -> None:
    value = F.col("value").cast("double")
    bad = value.isNull() | F.isnan(value) | value.isin(np.inf, -np.inf)
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


def _check_budget(indices: dict[str, Index], spec: WalsSpec, plan: Plan) -> None:
    for side, index in indices.items():
        needed = len(index.ids) * spec.rank * 4
        if needed > plan.broadcast_budget_bytes:
            raise ConfigError(
                f"The {side} factors need {needed / 2**20:,.0f} MiB ({len(index.ids):,} rows of "
                f"rank {spec.rank}) but solver.broadcast_budget_mb allows "
                f"{plan.broadcast_budget_bytes / 2**20:,.0f}; raise it if driver and workers have "
                "the memory, or lower objective.rank."
            )


def _layout(pairs: DataFrame, index: Index, plan: Plan) -> Layout:
    entries = int(index.counts.sum())
    slots = pairs.sparkSession.sparkContext.defaultParallelism
    share_of_slot = entries // (_BLOCKS_A_SLOT * slots)
    chosen = min(_MOST_ENTRIES, max(_LEAST_ENTRIES, share_of_slot))
    return lay_out(
        index.counts, -(-entries // plan.blocks) if plan.blocks else chosen, plan.split_above
    )


@contextmanager
def _shared_ids(pairs: DataFrame, ids: dict[str, Ids]) -> Iterator[dict[str, SharedArray]]:
    context = pairs.sparkSession.sparkContext
    shared = {side: share(context, found) for side, found in ids.items()}
    try:
        yield shared
    finally:
        for array in shared.values():
            array.destroy()


@contextmanager
def _built_sides(
    pairs: DataFrame, indices: dict[str, Index], spec: WalsSpec, plan: Plan
) -> Iterator[dict[str, _Side]]:
    sides = {}
    with _shared_ids(pairs, {side: index.ids for side, index in indices.items()}) as ids:
        try:
            for row, col in (SIDES, SIDES[::-1]):
                index = indices[row]
                layout = _layout(pairs, index, plan)
                frame = build_blocks(pairs, row, col, ids, layout)
                terms = _terms(spec, row, len(index.ids), len(indices[col].ids))
                stored = frame.persist(StorageLevel.MEMORY_AND_DISK)
                sides[row] = _Side(index.ids, stored, terms, np.empty(0, np.float32))
            yield sides
        finally:
            for side in sides.values():
                side.blocks.unpersist()


def _terms(spec: WalsSpec, side: str, rows: int, other_side: int) -> RowTerms:
    return RowTerms(spec, side, other_side, np.full(rows, spec.unobserved_weight))


def _held(
    factors: npt.NDArray[np.float32],
    own_gram: npt.NDArray[np.float64],
    spec: WalsSpec,
    weights: npt.NDArray[np.float32],
) -> Fixed:
    # Without unobserved pairs there is nothing to make diagonal.
    return fix(
        factors, own_gram, weights, rotate=spec.unobserved_weight > 0 and not spec.nonnegative
    )


def _sweep(
    sides: dict[str, _Side], spec: WalsSpec, solver: Solver, on_sweep: Callable[[Loss], None]
) -> Factorization:
    order = SIDES if spec.order == "users_first" else SIDES[::-1]
    first, second = order
    factors = {
        side: initial_factors(sides[side].ids, spec, stream=SIDES.index(side)) for side in SIDES
    }
    grams = {side: gram(factors[side], sides[side].weights) for side in SIDES}
    losses: list[Loss] = []

    def solve(side: str, other: str) -> Solved:
        own = sides[side]
        fixed = _held(factors[other], grams[other], spec, sides[other].weights)
        last = factors[side] if solver.method != "cholesky" else None
        solved = half_sweep(own.blocks, own.ids, fixed, own.terms, solver, last)
        factors[side] = solved.factors
        grams[side] = gram(solved.factors, own.weights)
        return solved

    for iteration in range(1, spec.iterations + 1):
        before = solve(first, second)
        after = solve(second, first)
        everywhere = float(np.sum(grams[first] * grams[second]))  # sum of (xy)^2 over all pairs
        losses.append(
            Loss(
                iteration,
                observed=after.observed,
                unobserved=spec.unobserved_weight * everywhere - after.shadowed,
                regularization=before.penalty + after.penalty,
            )
        )
        on_sweep(losses[-1])
    if spec.order == "users_first":
        solve("user", "item")
    users, items = (Factors(sides[side].ids, factors[side]) for side in SIDES)
    return Factorization(users, items, losses)
