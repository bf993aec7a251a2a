"""The sweep loop: from ratings to the factors of both sides.

Every half-sweep is one job over blocks that were built once, so the plan does not grow with the
iterations. The subspace solver takes a pair of half-sweeps for each block of coordinates in turn.
After the last sweep of a users-first objective the users are solved once more, exactly whatever
the solver, so that their factors answer to the final item factors as those of folded-in users do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.errors import ConfigError, DivergenceError
from recsys_spark.kernels.solver import Solver, choose_solver
from recsys_spark.kernels.spec import SIDES, WalsSpec
from recsys_spark.wals.blocks import build_blocks, lay_out
from recsys_spark.wals.broadcast import Broadcasting, hold
from recsys_spark.wals.factors import Factors, SideFactors
from recsys_spark.wals.offsets import Baseline, from_solved, subtract_baseline, trained_width
from recsys_spark.wals.packed import index_sides, packed
from recsys_spark.wals.plan import Plan, Sizes
from recsys_spark.wals.routed import routing
from recsys_spark.wals.sides import Side, built_sides, row_terms, shared_arrays
from recsys_spark.wals.sweep import Sums, half_sweep
from recsys_spark.wals.weighting import weigh

_FOLDED_ENTRIES = 250_000  # pairs of a block of rows that are folded in
_DIVERGED = 1.01  # exact solves never raise the loss; rounding and truncated ones do by less


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
class Factorization:
    """The factors and the loss of every sweep so far.

    solver: the one in use, and of method `auto` the reason why. stopped: why before the last
    iteration.
    """

    user: SideFactors
    item: SideFactors
    losses: list[Loss] = field(default_factory=list)
    stopped: str | None = None
    solver: Solver = field(default_factory=Solver)
    reason: str = ""


def fit_factors(
    ratings: DataFrame,
    spec: WalsSpec,
    plan: Plan,
    on_sweep: Callable[[Factorization], str | None] = lambda _: None,
    start: Factorization | None = None,
    on_sizes: Callable[[Sizes], None] = lambda _: None,
) -> Factorization:
    """Train on columns user, item (whole numbers) and value; several rows of a pair all count.

    on_sweep: sees the state after every sweep; what it returns, if anything, is the reason to
    stop. start: factors to begin with, by id: those of ids without a row are dropped, new ids
    are initialised; with its losses, an interrupted run that goes on where it was. on_sizes: is
    told the sizes of the data before the blocks are built.

    Raises ContractError for null, NaN or infinite input, ConfigError if a side's factors exceed
    the broadcast budget, SolveError for a singular row or numbers that are no longer finite in
    the first sweep; in a later one the last good factors are kept.
    """
    baseline, rest = subtract_baseline(ratings, spec)
    with (
        packed(weigh(rest, spec)) as pairs,
        built_sides(pairs, spec, plan, on_sizes) as (sides, routed),
    ):
        if not routed:
            broadcasting = Broadcasting(sides, spec)
            return _fit(broadcasting, sides, spec, plan, on_sweep, start, baseline)
        assert plan.folder is not None
        with routing(ratings.sparkSession, sides, spec, plan.folder) as layout:
            return _fit(layout, sides, spec, plan, on_sweep, start, baseline)


def solve_side(ratings: DataFrame, row: str, fixed: Factors, spec: WalsSpec, plan: Plan) -> Factors:
    """Fold-in: factors for the ids in column `row` from their ratings, the other side fixed.

    Ratings with ids that `fixed` does not know are left out; of biases, only those that are
    learned are folded in.
    """
    other = "item" if row == "user" else "user"
    known = ratings.sparkSession.createDataFrame(pa.table({other: fixed.ids}))
    inside = ratings.join(known, other, "left_semi")
    seen = hold(other, fixed.vectors, np.empty(0, np.float32), spec)
    with packed(weigh(inside, spec)) as pairs:
        index = index_sides(pairs.records, [row])[row]
        terms = row_terms(index, len(fixed.ids), spec, row, 1.0)
        layout = lay_out(index.counts, _FOLDED_ENTRIES, plan.split_above)
        with shared_arrays(pairs.records, {row: index.ids, other: fixed.ids}) as ids:
            blocks = build_blocks(pairs.records, ids, {row: layout})
            exact = Solver()
            fixed_side = seen.as_fixed(spec, exact)
            solved = half_sweep(blocks, index.ids, fixed_side, terms, exact)
    return Factors(index.ids, from_solved(row, solved.factors, spec))


class _Held(Protocol):
    """A side between half-sweeps. gram: (width, width) of what the other side's rows see of it."""

    @property
    def gram(self) -> npt.NDArray[np.float64]: ...


_Side = TypeVar("_Side", bound=_Held)
_OnSweep = Callable[[Factorization], str | None]


class _Layout(Protocol[_Side]):
    """Where the factors are between half-sweeps, and how the rows get to see them."""

    def begin(self, side: str, known: SideFactors | None) -> _Side:
        """The initial vectors, with known ones in the place of those of the same ids."""

    def half(self, side: str, own: _Side, other: _Side, solver: Solver) -> tuple[_Side, Sums]:
        """Solve a side, or a block of its coordinates, against the other."""

    def factors(self, side: str, held: _Side) -> SideFactors:
        """A side's factors, until other states are kept."""

    def keep(self, state: Mapping[str, _Side]) -> None:
        """Forget every state but this."""

    def finished(self, side: str, factors: SideFactors) -> SideFactors:
        """The factors where they outlast the training."""


def _fit(
    layout: _Layout[_Side], sides: Mapping[str, Side], spec: WalsSpec, plan: Plan,
    on_sweep: _OnSweep, start: Factorization | None, baseline: Baseline,
) -> Factorization:  # fmt: skip
    trained = _sweep(layout, sides, spec, plan.solver, on_sweep, start)
    users, items = (
        layout.finished(side, baseline.restore(side, getattr(trained, side))) for side in SIDES
    )
    return replace(trained, user=users, item=items)


def _sweep(
    layout: _Layout[_Side], sides: Mapping[str, Side], spec: WalsSpec, solver: Solver,
    on_sweep: _OnSweep, start: Factorization | None,
) -> Factorization:  # fmt: skip
    state, stopped = _initial(layout, spec, start), None
    losses = list(start.losses) if start else []
    counts = [side.counts for side in sides.values()]
    chosen = solver, _ = choose_solver(solver, len(state["item"].gram), counts, spec.nonnegative)
    for iteration in range(len(losses) + 1, spec.iterations + 1):
        if stopped:
            break
        try:
            after, loss = _one_sweep(layout, state, spec, solver, iteration)
        except DivergenceError as error:
            if not losses:
                raise
            stopped = str(error)
            break
        if losses and loss.total > _DIVERGED * losses[-1].total:
            stopped = f"The loss rose to {loss.total:,.1f} in iteration {iteration}."
            break
        state, losses = after, [*losses, loss]
        layout.keep(state)
        stopped = on_sweep(_factorization(layout, state, losses, chosen))
    if spec.order == "users_first":
        state, _ = _half(layout, state, "user", Solver())
    return replace(_factorization(layout, state, losses, chosen), stopped=stopped)


def _factorization(
    layout: _Layout[_Side], state: dict[str, _Side], losses: list[Loss], chosen: tuple[Solver, str]
) -> Factorization:
    users, items = (layout.factors(side, state[side]) for side in SIDES)
    solver, reason = chosen
    return Factorization(users, items, losses, solver=solver, reason=reason)


def _initial(
    layout: _Layout[_Side], spec: WalsSpec, start: Factorization | None
) -> dict[str, _Side]:
    known = {side: getattr(start, side) if start else None for side in SIDES}
    for factors in known.values():
        _require_width(factors, trained_width(spec))
    return {side: layout.begin(side, factors) for side, factors in known.items()}


def _require_width(known: SideFactors | None, width: int) -> None:
    if known is not None and known.width != width:
        raise ConfigError(
            f"The factors to start from have {known.width} coordinates and the objective asks for "
            f"{width}; set objective.rank to that of the earlier model, or start afresh."
        )


def _one_sweep(
    layout: _Layout[_Side], state: dict[str, _Side], spec: WalsSpec, solver: Solver, iteration: int
) -> tuple[dict[str, _Side], Loss]:
    first, second = SIDES if spec.order == "users_first" else SIDES[::-1]
    for step in solver.steps(len(state[first].gram)):
        state, before = _half(layout, state, first, step)
        state, after = _half(layout, state, second, step)
    # The sum of (xy)^2 over all pairs, each by its unobserved weight, from two small matrices.
    everywhere = spec.unobserved_weight * float(np.sum(state["user"].gram * state["item"].gram))
    unobserved = everywhere - after.shadowed
    return state, Loss(iteration, after.observed, unobserved, before.penalty + after.penalty)


def _half(
    layout: _Layout[_Side], state: dict[str, _Side], side: str, solver: Solver
) -> tuple[dict[str, _Side], Sums]:
    """Solve one side, or a block of its coordinates; the state with its new vectors."""
    other = "item" if side == "user" else "user"
    solved, sums = layout.half(side, state[side], state[other], solver)
    return state | {side: solved}, sums
