"""The sweep loop: from ratings to the factors of both sides.

Every half-sweep is one job over blocks that were built once, so the plan does not grow with the
iterations. The subspace solver takes a pair of half-sweeps for each block of coordinates in turn.
After the last sweep of a users-first objective the users are solved once more, exactly whatever
the solver, so that their factors answer to the final item factors as those of folded-in users do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.als.bias_factors import Baseline, from_solved, learn_baseline
from recsys_spark.als.blocks import block_ranges, build_blocks
from recsys_spark.als.driver import OnDriver, StoredBlock, held_sides
from recsys_spark.als.execution_plan import Plan, Sizes
from recsys_spark.als.factors import Factors, SideFactors
from recsys_spark.als.half_sweep import Sums, column_weights, half_sweep
from recsys_spark.als.packed_interactions import index_sides, packed
from recsys_spark.als.replicated import Broadcasting, hold
from recsys_spark.als.sharded.trainer import routing
from recsys_spark.als.training_data import (
    Rows,
    Side,
    built_sides,
    row_terms,
    shared_arrays,
    with_terms,
)
from recsys_spark.als.training_statistics import needed_rows, training_counts
from recsys_spark.als.weighting import weigh
from recsys_spark.errors import ConfigError, DivergenceError, SolveError, setting
from recsys_spark.kernels.als.solver import Solver, choose_solver
from recsys_spark.kernels.als.spec import SIDES, WalsSpec, other_side

# What an objective may change without another weight or target of a pair.
_FREE = (
    *("rank", "iterations", "unobserved_weight", "nu", "beta", "order", "init", "init_scale"),
    *("regularization", "user_regularization", "item_regularization", "seed"),
)
_FOLDED_ENTRIES = 250_000  # pairs of a block of rows that are folded in
_DIVERGED = 0.01  # exact solves never raise the loss; rounding and truncated ones do by less
_NOTHING = float(np.finfo(np.float32).tiny) ** 2  # of scores that are 0 in single precision
_ROUNDING = 1e-6  # of the first loss: what a loss close to 0 changes by, in single precision


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

    @property
    def size(self) -> float:
        """The total of the terms' magnitudes: the scale of a change, whatever the signs."""
        return abs(self.observed) + abs(self.unobserved) + abs(self.regularization)


@dataclass(frozen=True)
class Factorization:
    """The factors and the loss of every sweep so far.

    solver: the one in use, and of method `auto` the reason why. stopped: why before the last
    iteration. baseline: what is not in the factors yet.
    """

    user: SideFactors
    item: SideFactors
    losses: list[Loss] = field(default_factory=list)
    stopped: str | None = None
    solver: Solver = field(default_factory=Solver)
    reason: str = ""
    baseline: Baseline = field(default_factory=Baseline)

    def restored(self) -> "Factorization":
        """With the factors as they are published, in which the biases are complete."""
        users, items = (self.baseline.restore(side, getattr(self, side)) for side in SIDES)
        return replace(self, user=users, item=items, baseline=Baseline())


def fit_factors(
    ratings: DataFrame,
    spec: WalsSpec,
    plan: Plan,
    on_sweep: Callable[[Factorization], str | None] = lambda _: None,
    start: Factorization | None = None,
    on_sizes: Callable[[Sizes], None] = lambda _: None,
) -> Factorization:
    """Train on columns user, item (whole numbers) and value.

    Several rows of a pair all count, as in MLlib: their weights a and b add up, each counts in n,
    and the pair's unobserved weight is there once.

    on_sweep: sees the state after every sweep; what it returns, if anything, is the reason to
    stop. start: published factors to begin with, by id: those of ids without a row are dropped,
    new ids are initialised; or, with its losses, a state of an interrupted run that goes on where
    it was. on_sizes: called with the sizes of the data before the blocks are built.

    Raises ContractError for null, NaN or infinite input, ConfigError if a side's factors exceed
    the broadcast budget, SolveError for a singular row, for scores that are all 0, or for numbers
    that are no longer finite in the first sweep; in a later one the last good factors are kept.
    """
    if start is not None:
        _require_widths(start, spec)
    with prepared(ratings, spec, plan, on_sizes) as data:
        return data.fit(spec, on_sweep, start)


@contextmanager
def prepared(
    ratings: DataFrame,
    spec: WalsSpec,
    plan: Plan,
    on_sizes: Callable[[Sizes], None] = lambda _: None,
) -> Iterator["Prepared"]:
    """The training data in blocks, to fit one objective or several that weigh the pairs equally.

    Arguments and errors are those of `fit_factors`.
    """
    baseline = learn_baseline(ratings, spec)
    weighed = weigh(baseline.join_to(ratings), spec)
    spark = ratings.sparkSession
    if held := held_sides(ratings, weighed, spec, plan, on_sizes):
        rows, blocks = held
        yield Prepared(spark, rows, False, baseline, spec, plan, blocks)
        return
    with packed(weighed) as pairs, built_sides(pairs, spec, plan, on_sizes) as (sides, sharded):
        yield Prepared(spark, sides, sharded, baseline, spec, plan)


@dataclass(frozen=True)
class Prepared:
    """Blocks, and the objective that they were built for. blocks: those of the driver, if it has.

    sides: of the class Side, where it has none.
    """

    spark: SparkSession
    sides: Mapping[str, Rows]
    sharded: bool
    baseline: Baseline
    spec: WalsSpec
    plan: Plan
    blocks: Mapping[str, Sequence[StoredBlock]] | None = None

    def serves(self, spec: WalsSpec) -> bool:
        """Whether another objective gives the pairs the same weights and targets.

        Routed blocks hold more of the objective, and serve none but their own; longer vectors than
        were planned for might not fit.
        """
        if self.sharded or spec.width > self.spec.width:
            return spec == self.spec
        free = set(_FREE)
        if (spec.confidence, spec.target) != ("extra", "weight"):
            free.remove("unobserved_weight")
        return spec == replace(self.spec, **{key: getattr(spec, key) for key in free})

    def fit(
        self,
        spec: WalsSpec,
        on_sweep: Callable[[Factorization], str | None] = lambda _: None,
        start: Factorization | None = None,
    ) -> Factorization:
        """Train, as `fit_factors` does, an objective that the blocks serve."""
        if start is not None:
            start = _without_baseline(start, self.baseline, spec)
        sides, plan, baseline = with_terms(self.sides, spec), self.plan, self.baseline
        if not self.sharded:
            strategy = (
                OnDriver(sides, spec, self.blocks) if self.blocks else Broadcasting(sides, spec)
            )
            return _fit(strategy, sides, spec, plan, on_sweep, start, baseline)
        assert plan.folder is not None
        in_blocks = {side: own for side, own in sides.items() if isinstance(own, Side)}
        with routing(self.spark, in_blocks, spec, plan.folder) as sharded:
            return _fit(sharded, sides, spec, plan, on_sweep, start, baseline)


def solve_side(
    ratings: DataFrame,
    row: str,
    fixed: Factors,
    spec: WalsSpec,
    plan: Plan,
    training: DataFrame | None = None,
) -> Factors:
    """Fold-in: factors for the ids in column `row` from their ratings, the other side fixed.

    They solve what training's last half-sweep would, were `fixed` held: an id's own frequencies and
    bias are those of its `ratings`, and all other statistics those of training.

    ratings, training: columns as of `fit_factors`; ratings with ids that `fixed` does not know are
    left out, and so are rows with no others. training: the rows that `fixed` was trained on.

    Raises ConfigError if the objective has statistics (`settings_with_statistics`) and no training
    rows are given, ContractError if they are not those of `fixed`, else what `fit_factors` does.
    """
    training = needed_rows(training, spec, row)
    known = ratings.sparkSession.createDataFrame(pa.table({other_side(row): fixed.ids}))
    inside = ratings.join(known, other_side(row), "left_semi")
    if inside.isEmpty():
        return Factors(np.empty(0, np.int64), np.empty((0, spec.width), np.float32))
    learnt = Baseline() if training is None else learn_baseline(training, spec)
    baseline = learnt.folded(row, inside, spec)
    held = baseline.remove(other_side(row), fixed).arrays()
    weighed = weigh(baseline.join_to(inside), spec, training, row)
    solved = _solve_rows(weighed, row, held, spec, plan, training)
    return baseline.restore(row, solved).arrays()


def _solve_rows(
    weighed: DataFrame,
    row: str,
    fixed: Factors,
    spec: WalsSpec,
    plan: Plan,
    training: DataFrame | None,
) -> Factors:
    """One exact half-sweep over all rows of a side, in blocks of their own."""
    other = other_side(row)
    with packed(weighed) as pairs:
        index = index_sides(pairs.records, [row])[row]
        # Without statistics of training nothing but the number of fixed rows matters.
        counts = {row: index.counts, other: np.ones_like(fixed.ids)}
        if training is not None:
            counts = training_counts(training, fixed.ids, row)
        terms = row_terms(index.counts, counts, spec, row)
        theirs = row_terms(counts[other], counts, spec, other)
        weights = column_weights(other, theirs.unobserved, spec)
        seen = hold(other, fixed.vectors, weights, spec)
        ranges = block_ranges(index.counts, _FOLDED_ENTRIES, plan.split_above)
        with shared_arrays(pairs.records, {row: index.ids, other: fixed.ids}) as ids:
            blocks = build_blocks(pairs.records, ids, {row: ranges})
            exact = Solver()
            solved = half_sweep(blocks, index.ids, seen.as_fixed(spec, exact), terms, exact)
    return Factors(index.ids, from_solved(row, solved.factors, spec))


class _Held(Protocol):
    """A side between half-sweeps. gram: (width, width) of what the other side's rows see of it."""

    @property
    def gram(self) -> npt.NDArray[np.float64]: ...


_Side = TypeVar("_Side", bound=_Held)
_OnSweep = Callable[[Factorization], str | None]


class _Strategy(Protocol[_Side]):
    """Where the factors are between half-sweeps, and how the rows get to see them."""

    def begin(self, side: str, known: SideFactors | None) -> _Side:
        """The initial vectors, with known ones in the place of those of the same ids."""

    def half(
        self, side: str, own: _Side, other: _Side, solver: Solver, loss: bool
    ) -> tuple[_Side, Sums]:
        """Solve a side, or a block of its coordinates, against the other.

        Without `loss` its observed and shadowed sums mean nothing.
        """

    def factors(self, side: str, held: _Side) -> SideFactors:
        """A side's factors, until other states are kept."""

    def keep(self, state: Mapping[str, _Side]) -> None:
        """Forget every state but this."""

    def finished(self, side: str, factors: SideFactors) -> SideFactors:
        """The factors where they outlast the training."""


def _fit(
    strategy: _Strategy[_Side], sides: Mapping[str, Rows], spec: WalsSpec, plan: Plan,
    on_sweep: _OnSweep, start: Factorization | None, baseline: Baseline,
) -> Factorization:  # fmt: skip
    def seen(state: Factorization) -> str | None:
        return on_sweep(replace(state, baseline=baseline))

    trained = _sweep(strategy, sides, spec, plan.solver, seen, start)
    trained = replace(trained, baseline=baseline).restored()
    users, items = (strategy.finished(side, getattr(trained, side)) for side in SIDES)
    return replace(trained, user=users, item=items)


def _require_widths(start: Factorization, spec: WalsSpec) -> None:
    for factors in (start.user, start.item):
        _require_width(factors, spec.trained_width if start.losses else spec.width)


def _without_baseline(start: Factorization, baseline: Baseline, spec: WalsSpec) -> Factorization:
    """The factors as they are trained; those of an interrupted run are."""
    if start.losses:
        return start
    users, items = (baseline.remove(side, getattr(start, side)) for side in SIDES)
    return replace(start, user=users, item=items)


def _sweep(
    strategy: _Strategy[_Side], sides: Mapping[str, Rows], spec: WalsSpec, solver: Solver,
    on_sweep: _OnSweep, start: Factorization | None,
) -> Factorization:  # fmt: skip
    state, stopped = _initial(strategy, spec, start), None
    losses = list(start.losses) if start else []
    counts = [side.counts for side in sides.values()]
    chosen = solver, _ = choose_solver(solver, spec, len(state["item"].gram), counts)
    for iteration in range(len(losses) + 1, spec.iterations + 1):
        if stopped:
            break
        try:
            after, loss = _one_sweep(strategy, state, spec, solver, iteration)
        except DivergenceError as error:
            if not losses:
                raise
            stopped = str(error)
            break
        if losses and _has_risen(loss, losses):
            stopped = f"The loss rose to {loss.total:,.1f} in iteration {iteration}."
            break
        state, losses = after, [*losses, loss]
        strategy.keep(state)
        stopped = on_sweep(_factorization(strategy, state, losses, chosen))
    if spec.order == "users_first":
        state, _ = _half(strategy, state, "user", Solver(), loss=False)
    return replace(_factorization(strategy, state, losses, chosen), stopped=stopped)


def _has_risen(loss: Loss, before: list[Loss]) -> bool:
    """Whether the loss rose by more than rounding and truncated solves make it."""
    allowed = max(_DIVERGED * before[-1].size, _ROUNDING * before[0].size)
    return loss.total - before[-1].total > allowed


def _factorization(
    strategy: _Strategy[_Side],
    state: dict[str, _Side],
    losses: list[Loss],
    chosen: tuple[Solver, str],
) -> Factorization:
    users, items = (strategy.factors(side, state[side]) for side in SIDES)
    solver, reason = chosen
    return Factorization(users, items, losses, solver=solver, reason=reason)


def _initial(
    strategy: _Strategy[_Side], spec: WalsSpec, start: Factorization | None
) -> dict[str, _Side]:
    return {side: strategy.begin(side, getattr(start, side, None)) for side in SIDES}


def _require_width(known: SideFactors, width: int) -> None:
    if known.width != width:
        raise ConfigError(
            f"The factors to start from have {known.width} coordinates and the objective asks for "
            f"{width}; set {setting('rank')} to that of the earlier model, or start without it."
        )


def _one_sweep(
    strategy: _Strategy[_Side],
    state: dict[str, _Side],
    spec: WalsSpec,
    solver: Solver,
    iteration: int,
) -> tuple[dict[str, _Side], Loss]:
    first, second = SIDES if spec.order == "users_first" else SIDES[::-1]
    for step in solver.steps(len(state[first].gram)):
        state, before = _half(strategy, state, first, step, loss=False)
        state, after = _half(strategy, state, second, step)
    # The sum of (xy)^2 over all pairs, each by its unobserved weight, from two small matrices.
    squares = float(np.sum(state["user"].gram * state["item"].gram))
    if spec.biases == "none" and squares < _NOTHING:
        raise SolveError(_without_scores(spec, iteration))
    unobserved = spec.unobserved_weight * squares - after.shadowed
    return state, Loss(iteration, after.observed, unobserved, before.penalty + after.penalty)


def _without_scores(spec: WalsSpec, iteration: int) -> str:
    likes = "" if spec.explicit else f" that counts as a like ({setting('min_positive_value')})"
    return (
        f"Every score is 0 after iteration {iteration}, so that there is nothing to rank by: no "
        f"training row has a value{likes} and a weight above 0 ({setting('weighting')}), or the "
        f"penalty is too strong; lower {setting('regularization')}."
    )


def _half(
    strategy: _Strategy[_Side],
    state: dict[str, _Side],
    side: str,
    solver: Solver,
    loss: bool = True,
) -> tuple[dict[str, _Side], Sums]:
    """Solve one side, or a block of its coordinates; the state with its new vectors."""
    solved, sums = strategy.half(side, state[side], state[other_side(side)], solver, loss)
    return state | {side: solved}, sums
