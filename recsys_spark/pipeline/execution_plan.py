"""How the configuration asks for factors to be computed."""

from recsys_spark.als.execution_plan import Plan
from recsys_spark.config import Config

MB = 2**20


def make_plan(config: Config, folder: str | None = None, name: str | None = None) -> Plan:
    """The plan of a weighted ALS: that of objective, or of the model of this name.

    folder: where blocks are kept.
    """
    solver = config.solver
    return Plan(
        solver.blocks,
        broadcast_budget_bytes=solver.broadcast_budget_mb * 2**20,
        split_above=solver.split_rows_above,
        solver=config.solver_of_rows(name),
        placement=solver.placement,
        folder=folder,
    )
