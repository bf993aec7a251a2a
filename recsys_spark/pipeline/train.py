"""Wiring of train: the training rows to the factors of both sides."""

import time
from dataclasses import asdict

from recsys_spark.pipeline.run import Run, Summary
from recsys_spark.schema import FACTORS
from recsys_spark.wals.fit import Loss, Plan, fit_factors
from recsys_spark.wals.model import WALSModel


def train(run: Run) -> Summary:
    """Run the sweeps and write both factor tables."""
    spec = run.config.objective.spec()
    solver = run.config.solver
    run.tracker.params({"preset": run.config.objective.preset, **asdict(spec)})
    run.log.progress("building blocks")
    history: list[dict[str, float]] = []
    clock = time.monotonic()

    def on_sweep(loss: Loss) -> None:
        nonlocal clock
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

    plan = Plan(solver.blocks, solver.broadcast_budget_mb * 2**20)
    trained = fit_factors(run.read("train"), spec, plan, on_sweep)
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
        "losses": history,
        "users": len(trained.user.ids),
        "items": len(trained.item.ids),
    }
