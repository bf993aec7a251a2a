"""Which way rows are solved: what may be asked for, and what `auto` takes.

`kernels.als.solve` does the solving; docs/objectives.md compares the methods.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from recsys_spark.errors import ConfigError, setting
from recsys_spark.kernels.als.keys import key, keys_of
from recsys_spark.kernels.als.spec import WalsSpec

Double = npt.NDArray[np.float64]
Method = Literal["auto", "cholesky", "cg", "subspace"]
_USED_BY = {"cg_steps": ("cg", "auto"), "subspace_block": ("subspace",)}


@dataclass(frozen=True)
class Solver:
    """How rows are solved.

    method: `cholesky`, exact; `cg`, conjugate gradients from the row's last factors; `subspace`,
    exact for one block of coordinates at a time; `auto`, one of the first two by `choose_solver`,
    which must be called before rows are solved. cg_steps: steps a row. subspace_block: coordinates
    a block. first: where the block of the next step begins.
    """

    method: Method = field(
        default="cholesky",
        metadata=key(
            "cholesky: exact; cg: conjugate gradients; subspace: blocks of coordinates (iALS++); "
            "auto: cholesky or cg, whichever pays by rank and rows (docs/objectives.md).",
            parameter="solver",
        ),
    )
    cg_steps: int = field(default=3, metadata=key("Steps a row of cg ({default}).", least=1))
    subspace_block: int = field(
        default=64, metadata=key("Coordinates a block of subspace ({default}).", least=1)
    )
    first: int = 0

    def steps(self, rank: int) -> list["Solver"]:
        """The solver of each half-step of a side within one sweep."""
        if self.method != "subspace":
            return [self]
        return [replace(self, first=first) for first in range(0, rank, self.subspace_block)]

    def rotates(self, spec: WalsSpec) -> bool:
        """Whether rows are solved in the basis of the eigenvectors of the fixed side's Gram matrix.

        Some solvers are bound to coordinates, and without unobserved pairs there is nothing to
        make diagonal.
        """
        bound = spec.nonnegative or self.method == "subspace"
        return spec.unobserved_weight > 0 and not bound

    def coordinates(self, rank: int) -> slice:
        """Those that the next step changes."""
        if self.method != "subspace":
            return slice(0, rank)
        return slice(self.first, min(self.first + self.subspace_block, rank))


def resolve_solver(
    spec: WalsSpec,
    method: str = "auto",
    cg_steps: int | None = None,
    subspace_block: int | None = None,
) -> Solver:
    """The solver of these keys; None stands for the default.

    Raises ConfigError for an unknown method, a value out of range, a key without effect, or a
    method that cannot solve this objective.
    """
    keys = keys_of(Solver)
    keys["method"].check(method)
    given = {"cg_steps": cg_steps, "subspace_block": subspace_block}
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        if method not in _USED_BY[name]:
            without = f"with {setting('method')}: {method}"
            raise ConfigError(f"{setting(name)} has no effect {without}; remove it.")
        keys[name].check(value)
    _refuse_nonnegative(spec, method, changes)
    return replace(Solver(method), **changes)  # type: ignore[arg-type]


def _refuse_nonnegative(spec: WalsSpec, method: str, changes: Mapping[str, int]) -> None:
    """Raise ConfigError for what cannot keep factors at 0 or above, where they are to be."""
    if spec.nonnegative and method in ("cg", "subspace"):
        raise ConfigError(
            f"{setting('method')}: {method} and {setting('nonnegative')} exclude each other, since "
            "only the exact solver keeps factors at 0 or above; set "
            f"{setting('method')}: cholesky, or remove one of the two."
        )
    if spec.nonnegative and "cg_steps" in changes:
        raise ConfigError(
            f"{setting('cg_steps')} has no effect with {setting('nonnegative')}; remove it."
        )


# Seconds of one core in single precision, fitted to what `benchmarks/solvers.py` measures. Only
# their ratios matter here, which differ less between machines than they do.
_ENTRY = 0.45e-9  # a coordinate of an entry: gathered, scaled, added to the right side
_PRODUCT = 6.8e-12  # an addition of products
_PIVOT, _SYSTEM = 30e-9, 3.4e-12  # a pivot, for which all else waits; of size^3
_EACH, _ROW = 0.6e-6, 22e-9  # a row, and a coordinate of it
# The same of conjugate gradients, a pass over the entries; longer rows are gathered in each pass.
_CG_PASS, _CG_ROW, _HELD = 0.2e-9, 16e-9, 1024

# How much faster conjugate gradients have to be: in the basis of the Gram matrix three steps lower
# the loss as far as an exact sweep does (to 0.1 % after a few sweeps), but what a sweep costs
# besides the rows' solution stays.
_WORTH_IT = 1.5


def choose_solver(
    solver: Solver, spec: WalsSpec, rank: int, lengths: Sequence[npt.NDArray[np.int64]]
) -> tuple[Solver, str]:
    """What `auto` stands for, and a sentence that says why; other methods stay, without a word.

    rank: coordinates of a row. lengths: of each side, (rows,) entries of every row. Conjugate
    gradients are taken where an exact sweep is estimated at more than 1.5 times their cost; never
    without unobserved pairs, where they lower the loss less than an exact sweep.
    """
    if solver.method != "auto":
        return solver, ""
    if spec.nonnegative:
        return replace(solver, method="cholesky"), "cholesky: factors are to be 0 or above"
    if spec.unobserved_weight == 0:
        return replace(solver, method="cholesky"), "cholesky: no unobserved pair has weight"
    exact, by_cg = (
        sum(float(row_seconds(replace(solver, method=method), rank, x).sum()) for x in lengths)
        for method in ("cholesky", "cg")
    )
    method: Method = "cg" if exact > _WORTH_IT * by_cg else "cholesky"
    return replace(solver, method=method), (
        f"{method}: at rank {rank} a sweep over these rows is estimated at {exact:.2g} core "
        f"seconds by cholesky and {by_cg:.2g} by {solver.cg_steps} steps of cg, which is taken "
        f"from {_WORTH_IT:g} times faster on"
    )


def row_seconds(solver: Solver, rank: int, lengths: npt.NDArray[np.int64]) -> Double:
    """Estimated seconds of one core for a row of each length, (rows,); `cholesky` or `cg`.

    `benchmarks/solvers.py` holds them against measurements.
    """
    entries = lengths * float(rank)
    if solver.method == "cg":  # a pass for the right side, one for the residual, and one a step
        passes = (2 + solver.cg_steps) * np.where(lengths > _HELD, 2, 1)
        return np.asarray(_CG_PASS * passes * entries + _CG_ROW * rank + _EACH, np.float64)
    short, long = np.minimum(lengths, rank) * 1.0, np.maximum(lengths, rank) * 1.0
    work = _ENTRY * entries + _PRODUCT * short**2 * long + _PIVOT * short + _SYSTEM * short**3
    return np.asarray(work + _ROW * rank + _EACH, np.float64)
