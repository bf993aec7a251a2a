"""Wiring of train: the training rows to the factors of both sides."""

import time
from dataclasses import asdict
from math import isfinite

from pyspark.sql import DataFrame

from recsys_spark.kernels.spec import WalsSpec
from recsys_spark.kernels.weights import ratio_warning
from recsys_spark.pipeline.run import Run, Summary
from recsys_spark.schema import FACTORS
from recsys_spark.wals.fit import Factorization, fit_factors
from recsys_spark.wals.model import WALSModel
from recsys_spark.wals.sides import Plan
from recsys_spark.wals.weighting import ratio_of, weigh


def train(run: Run) -> Summary:
    """Run the sweeps and write both factor tables."""
    spec = run.config.objective.spec()
    solver = run.config.solver
    run.tracker.params({"preset": run.config.objective.preset, **asdict(spec)})
    rows = run.read("train")
    ratio = _weight_ratio(run, rows, spec)
    run.log.progress("building blocks")
    history: list[dict[str, float]] = []
    clock = time.monotonic()

    def on_sweep(state: Factorization) -> str | None:
        nonlocal clock
        loss = state.losses[-1]
        if state.reason and not history:
            run.log.info(f"solver.method: auto chose {state.reason}")
        seconds, clock = time.monotonic() - clock, time.monotonic()
        history.append(
            {
                "iteration": loss.iteration,
                "total": loss.total,
                "observed": loss.observed,
                "unobserved": loss.unobserved,
                "regularization": loss.regularization,
                "seconds": round(seconds, 3),
            }
        )
        terms = {f"loss.{k}": v for k, v in history[-1].items() if k != "iteration"}
        run.tracker.metrics(terms, step=loss.iteration)
        run.log.progress(
            f"iteration {loss.iteration} of {spec.iterations}: loss {loss.total:,.1f}, "
            f"{seconds:.1f} s",
            **history[-1],
        )
        return None

    rows_solver = run.config.solver_of_rows()
    plan = Plan(solver.blocks, solver.broadcast_budget_mb * 2**20, solver=rows_solver)
    trained = fit_factors(rows, spec, plan, on_sweep)
    types = FACTORS["id"].dataType
    model = WALSModel.from_factorization(run.spark, trained, types, types)
    for side, factors in (("user", model.userFactors), ("item", model.itemFactors)):
        renamed = factors.withColumnRenamed("features", "factors")
        ordered = renamed.repartitionByRange("id").sortWithinPartitions("id")
        run.write(ordered, f"{side}_factors", FACTORS)
    run.log.info(
        f"rank {spec.rank}, {spec.iterations} iterations, loss {history[0]['total']:,.1f} to "
        f"{history[-1]['total']:,.1f}"
    )
    return {
        "preset": run.config.objective.preset,
        "spec": asdict(spec),
        "weight_ratio": ratio,
        "losses": history,
        "solver": asdict(trained.solver),
        "users": len(trained.user.ids),
        "items": len(trained.item.ids),
    }


def _weight_ratio(run: Run, rows: DataFrame, spec: WalsSpec) -> float | None:
    """Weight that pulls to 1 over weight that pulls to 0, with a warning where it is far off.

    None where values are the targets, or where nothing pulls to 0.
    """
    if spec.explicit:
        return None
    run.log.progress("weighing the pairs")
    ratio = ratio_of(weigh(rows, spec), spec)
    warning = ratio_warning(ratio, spec)
    if warning is not None:
        run.log.warning(warning)
    if not isfinite(ratio):
        return None
    run.tracker.metrics({"weight_ratio": ratio})
    return ratio
