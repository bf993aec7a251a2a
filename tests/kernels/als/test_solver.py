"""Which solver may be asked for, and which `auto` takes."""

from dataclasses import replace

import numpy as np
import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.kernels.als.solver import Solver, choose_solver, resolve_solver
from recsys_spark.kernels.als.spec import resolve_spec

AUTO = Solver("auto")
IMPLICIT, EXPLICIT = resolve_spec("ials"), resolve_spec("explicit")


def rows_of(mean, count=2000, skew=1.0):
    """Row lengths around a mean, with a long tail."""
    drawn = np.random.default_rng(0).lognormal(0, skew, count)
    return np.maximum(1, drawn * mean / drawn.mean()).astype(np.int64)


@pytest.mark.parametrize(
    ("rank", "lengths", "method"),
    [
        (64, [100, 100], "cholesky"),
        (64, [107, 555], "cholesky"),
        (16, [50, 2000], "cholesky"),
        (128, [16, 30], "cholesky"),
        (256, [16, 30], "cholesky"),
        (1024, [16, 30], "cholesky"),
        (256, [300, 300], "cg"),
        (256, [500, 500], "cg"),
        (512, [300, 900], "cg"),
        (1024, [1000, 1000], "cg"),
    ],
)
@pytest.mark.parametrize("skew", [0.0, 0.7])
def test_auto_is_exact_where_that_is_cheap(rank, lengths, method, skew):
    rows = [rows_of(mean, skew=skew) for mean in lengths]
    chosen, reason = choose_solver(AUTO, IMPLICIT, rank, rows)
    assert chosen.method == method
    assert reason.startswith(f"{method}: at rank {rank} ")


def test_auto_weighs_what_is_longest():
    """A few rows of a long tail may decide for all."""
    short, long = np.full(10_000, 10), np.full(300, 1000)
    assert choose_solver(AUTO, IMPLICIT, 512, [short, short])[0].method == "cholesky"
    assert choose_solver(AUTO, IMPLICIT, 512, [short, long])[0].method == "cg"


def test_auto_counts_the_steps():
    lengths = [rows_of(500)] * 2
    few, many = (Solver("auto", cg_steps=steps) for steps in (3, 30))
    assert choose_solver(few, IMPLICIT, 512, lengths)[0] == Solver("cg", cg_steps=3)
    assert choose_solver(many, IMPLICIT, 512, lengths)[0] == Solver("cholesky", cg_steps=30)


def test_auto_is_exact_without_unobserved_pairs():
    rows = [rows_of(1000), rows_of(1000)]
    assert choose_solver(AUTO, IMPLICIT, 1024, rows)[0].method == "cg"
    chosen, reason = choose_solver(AUTO, EXPLICIT, 1024, rows)
    assert (chosen.method, reason) == ("cholesky", "cholesky: no unobserved pair has weight")


def test_auto_with_nonnegative_factors_is_exact():
    nonnegative = replace(IMPLICIT, nonnegative=True)
    chosen, reason = choose_solver(AUTO, nonnegative, 256, [rows_of(500)])
    assert (chosen.method, reason[:9]) == ("cholesky", "cholesky:")


@pytest.mark.parametrize("method", ["cholesky", "cg", "subspace"])
def test_solver_methods_other_than_auto_are_kept(method):
    solver = Solver(method, 5, 32)
    assert choose_solver(solver, IMPLICIT, 1024, [rows_of(1000)]) == (solver, "")


def test_a_sweep_of_blocks_covers_every_coordinate_once():
    steps = Solver("subspace", subspace_block=3).steps(8)
    covered = [list(range(8))[step.coordinates(8)] for step in steps]
    assert covered == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert Solver("cg").steps(8) == [Solver("cg")]


def test_keys_reach_the_solver():
    spec = resolve_spec("ials")
    assert resolve_solver(spec) == AUTO
    assert resolve_solver(spec, "cg", cg_steps=5) == Solver("cg", cg_steps=5)
    assert resolve_solver(spec, "auto", cg_steps=5) == Solver("auto", cg_steps=5)
    assert resolve_solver(spec, "subspace", subspace_block=8) == Solver(
        "subspace", subspace_block=8
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"method": "qr"}, "method is 'qr'; choose one of auto, cholesky, cg, subspace."),
        (
            {"method": "cholesky", "cg_steps": 3},
            "cg_steps has no effect with method: cholesky; remove it.",
        ),
        ({"method": "subspace", "cg_steps": 3}, "cg_steps has no effect"),
        ({"method": "auto", "subspace_block": 8}, "subspace_block has no effect"),
        ({"method": "cg", "cg_steps": 0}, "cg_steps is 0; it must be 1 or more."),
        ({"method": "subspace", "subspace_block": 0}, "subspace_block is 0"),
    ],
)
def test_keys_without_effect_or_out_of_range_are_refused(keys, message):
    with pytest.raises(ConfigError) as refused:
        resolve_solver(resolve_spec("ials"), **keys)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("method", ["cg", "subspace"])
def test_iterative_solvers_of_nonnegative_factors_are_refused(method):
    spec = resolve_spec("ials", nonnegative=True)
    expected = rf"^method: {method} and nonnegative exclude each other"
    with pytest.raises(ConfigError, match=expected):
        resolve_solver(spec, method)
    assert resolve_solver(spec, "auto") == AUTO
    with pytest.raises(ConfigError, match=r"^cg_steps has no effect with nonnegative"):
        resolve_solver(spec, "auto", cg_steps=2)
