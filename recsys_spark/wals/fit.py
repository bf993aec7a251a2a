"""The sweep loop: from ratings to the factors of both sides.

Every half-sweep is one job over blocks that were built once, so the plan does not grow with the
iterations. The subspace solver takes a pair of half-sweeps for each block of coordinates in turn.
After the last sweep of a users-first objective the users are solved once more, exactly whatever
the solver, so that their factors answer to the final item factors as those of folded-in users do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.errors import ConfigError, DivergenceError
from recsys_spark.kernels.init import initial_factors
from recsys_spark.kernels.solve import Fixed, fix, gram
from recsys_spark.kernels.solver import Solver, choose_solver
from recsys_spark.kernels.spec import SIDES, WalsSpec
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.wals.blocks import build_blocks, lay_out
from recsys_spark.wals.offsets import (
    fixed_part,
    from_solved,
    solved_part,
    subtract_baseline,
    with_bias,
)
from recsys_spark.wals.packed import Ids, index_sides, packed
from recsys_spark.wals.plan import Plan, Sizes
from recsys_spark.wals.sides import Side, built_sides, row_terms, shared_ids
from recsys_spark.wals.sweep import Solved, half_sweep
from recsys_spark.wals.weighting import weigh

Single = npt.NDArray[np.float32]

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
class Factors:
    """ids: (rows,) ascending; vectors: (rows, width), row for row."""

    ids: Ids
    vectors: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Factorization:
    """The factors and the loss of every sweep so far.

    solver: the one in use, and of method `auto` the reason why. stopped: why before the last
    iteration.
    """

    user: Factors
    item: Factors
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
    with packed(weigh(rest, spec)) as pairs, built_sides(pairs, spec, plan, on_sizes) as sides:
        trained = _sweep(sides, spec, plan.solver, on_sweep, start)
    users, items = (
        replace(found, vectors=baseline.restore(side, found.ids, found.vectors))
        for side, found in (("user", trained.user), ("item", trained.item))
    )
    return replace(trained, user=users, item=items)


def solve_side(ratings: DataFrame, row: str, fixed: Factors, spec: WalsSpec, plan: Plan) -> Factors:
    """Fold-in: factors for the ids in column `row` from their ratings, the other side fixed.

    Ratings with ids that `fixed` does not know are left out; of biases, only those that are
    learned are folded in.
    """
    other = "item" if row == "user" else "user"
    known = ratings.sparkSession.createDataFrame(pa.table({other: fixed.ids}))
    inside = ratings.join(known, other, "left_semi")
    seen = _hold(other, fixed.vectors, np.empty(0, np.float32), spec)
    with packed(weigh(inside, spec)) as pairs:
        index = index_sides(pairs.records, [row])[row]
        terms = row_terms(index, len(fixed.ids), spec, row, 1.0)
        layout = lay_out(index.counts, _FOLDED_ENTRIES, plan.split_above)
        with shared_ids(pairs.records, {row: index.ids, other: fixed.ids}) as ids:
            blocks = build_blocks(pairs.records, ids, {row: layout})
            exact = Solver()
            fixed_side = seen.as_fixed(spec, exact)
            solved = half_sweep(blocks, index.ids, fixed_side, terms, exact)
    return Factors(index.ids, from_solved(row, solved.factors, spec))


@dataclass(frozen=True)
class _Held:
    """A side's vectors, and what the other side's rows see of them."""

    vectors: Single
    features: Single
    offsets: Single
    weights: Single
    gram: npt.NDArray[np.float64]

    def as_fixed(self, spec: WalsSpec, solver: Solver) -> Fixed:
        # Without unobserved pairs there is nothing to make diagonal.
        bound = spec.nonnegative or solver.method == "subspace"
        rotate = spec.unobserved_weight > 0 and not bound
        with single_threaded():  # more threads would round differently
            return fix(self.features, self.gram, self.weights, self.offsets, rotate)


def _hold(side: str, vectors: Single, weights: Single, spec: WalsSpec) -> _Held:
    features, offsets = fixed_part(side, vectors, spec)
    with single_threaded():
        return _Held(vectors, features, offsets, weights, gram(features, weights))


_State = dict[str, _Held]


def _sweep(
    sides: dict[str, Side],
    spec: WalsSpec,
    solver: Solver,
    on_sweep: Callable[[Factorization], str | None],
    start: Factorization | None,
) -> Factorization:
    state, losses, stopped = _initial(sides, spec, start), list(start.losses if start else []), None
    width = state["item"].features.shape[1]
    counts = [side.counts for side in sides.values()]
    chosen = solver, _ = choose_solver(solver, width, counts, spec.nonnegative)
    for iteration in range(len(losses) + 1, spec.iterations + 1):
        if stopped:
            break
        try:
            after, loss = _one_sweep(state, sides, spec, solver, iteration)
        except DivergenceError as error:
            if not losses:
                raise
            stopped = str(error)
            break
        if losses and loss.total > _DIVERGED * losses[-1].total:
            stopped = f"The loss rose to {loss.total:,.1f} in iteration {iteration}."
            break
        state, losses = after, [*losses, loss]
        stopped = on_sweep(_factorization(state, sides, losses, chosen))
    if spec.order == "users_first":
        state, _ = _half(state, "user", sides, spec, Solver())
    return replace(_factorization(state, sides, losses, chosen), stopped=stopped)


def _factorization(
    state: _State, sides: dict[str, Side], losses: list[Loss], chosen: tuple[Solver, str]
) -> Factorization:
    users, items = (Factors(sides[side].ids, state[side].vectors) for side in SIDES)
    solver, reason = chosen
    return Factorization(users, items, losses, solver=solver, reason=reason)


def _initial(sides: dict[str, Side], spec: WalsSpec, start: Factorization | None) -> _State:
    state = {}
    for side, own in sides.items():
        vectors = initial_factors(own.ids, spec, stream=SIDES.index(side))
        if spec.biases == "learned":
            vectors = with_bias(side, vectors, np.zeros(len(own.ids), np.float32))
        if start is not None:
            _overwrite_known(own.ids, vectors, getattr(start, side))
        state[side] = _hold(side, vectors, own.weights, spec)
    return state


def _overwrite_known(ids: Ids, vectors: Single, known: Factors) -> None:
    """Put known vectors in the place of those of the same ids."""
    if known.vectors.shape[1] != vectors.shape[1]:
        raise ConfigError(
            f"The factors to start from have {known.vectors.shape[1]} coordinates and the "
            f"objective asks for {vectors.shape[1]}; set objective.rank to that of the earlier "
            "model, or start afresh."
        )
    if len(known.ids):
        at = np.searchsorted(known.ids, ids).clip(max=len(known.ids) - 1)
        found = known.ids[at] == ids
        vectors[found] = known.vectors[at[found]]


def _one_sweep(
    state: _State, sides: dict[str, Side], spec: WalsSpec, solver: Solver, iteration: int
) -> tuple[_State, Loss]:
    first, second = SIDES if spec.order == "users_first" else SIDES[::-1]
    for step in solver.steps(state[first].features.shape[1]):
        state, before = _half(state, first, sides, spec, step)
        state, after = _half(state, second, sides, spec, step)
    # The sum of (xy)^2 over all pairs, each by its unobserved weight, from two small matrices.
    everywhere = spec.unobserved_weight * float(np.sum(state["user"].gram * state["item"].gram))
    unobserved = everywhere - after.shadowed
    return state, Loss(iteration, after.observed, unobserved, before.penalty + after.penalty)


def _half(
    state: _State, side: str, sides: dict[str, Side], spec: WalsSpec, solver: Solver
) -> tuple[_State, Solved]:
    """Solve one side, or a block of its coordinates; the state with its new vectors."""
    own, other = sides[side], "item" if side == "user" else "user"
    last = None
    if solver.method != "cholesky":
        last = solved_part(side, state[side].vectors, spec)
    fixed = state[other].as_fixed(spec, solver)
    solved = half_sweep(own.blocks, own.ids, fixed, own.terms, solver, last)
    vectors = from_solved(side, solved.factors, spec)
    return state | {side: _hold(side, vectors, own.weights, spec)}, solved
