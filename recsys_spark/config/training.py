"""What is minimised, how, and for how long."""

from typing import Literal

from pydantic import Field, model_validator

from recsys_spark.config.names import KEYS
from recsys_spark.config.section import Section, with_keys_of
from recsys_spark.errors import settings_named
from recsys_spark.kernels.als import solver as solvers
from recsys_spark.kernels.als.keys import keys_of
from recsys_spark.kernels.als.spec import PresetName, WalsSpec, resolve_spec

_PRESET = Field(
    "ials",
    description="ials, hu2008, mllib, mllib_explicit (or explicit), implicit, irspack, "
    "lenskit, lenskit_explicit or tf_wals; null keys take its value (docs/objectives.md).",
)
_METHOD = Field("auto", description=keys_of(solvers.Solver)["method"].text)


class Objective(with_keys_of(WalsSpec, preset=(PresetName, _PRESET)), Section):  # type: ignore[misc]
    """The keys of `WalsSpec`, of which `resolve_spec` checks the ranges."""

    @model_validator(mode="after")
    def _resolves(self) -> "Objective":
        self.spec()
        return self

    @settings_named(KEYS)
    def spec(self) -> WalsSpec:
        """The complete objective, the preset's values filled in."""
        given = self.model_dump()
        if self.decay_reference is not None:
            given["decay_reference"] = self.decay_reference.isoformat()
        return resolve_spec(**given)


class Solver(with_keys_of(solvers.Solver, method=(solvers.Method, _METHOD)), Section):  # type: ignore[misc]
    """The keys of `kernels.als.solver.Solver`, and those of how the work is placed."""

    placement: Literal["auto", "replicated", "sharded", "driver"] = Field(
        "auto",
        description="replicated: each host receives the whole fixed side; sharded: each task "
        "receives the rows it needs; driver: the driver holds the interactions, too, and solves "
        "all rows; auto: driver in local mode and for small data, else replicated while both sides "
        "fit broadcast_budget_mb.",
    )
    blocks: int | None = Field(
        None,
        ge=1,
        description="Blocks a side; null: three a task slot, of at most 2,000,000 interactions.",
    )
    checkpoint_seconds: float | None = Field(
        60.0, ge=0, description="Keep the factors at most this often, to resume; null: never."
    )
    split_rows_above: int = Field(
        1_000_000, ge=1, description="Longer rows are split over several blocks; interactions."
    )
    broadcast_budget_mb: int = Field(
        2048, ge=1, description="Largest factor matrix that may be broadcast; MiB."
    )


class Train(Section):
    warm_start: bool = Field(
        False, description="Begin with the factors of the newest trained model, by id."
    )
    early_stopping: Literal["none", "loss", "ndcg"] = Field(
        "none", description="What ends training early: the loss, or NDCG of validation rows."
    )
    tolerance: float = Field(
        0.001, ge=0, description="A sweep that improves by a smaller share does not count."
    )
    patience: int = Field(2, ge=1, description="Sweeps without improvement after which it ends.")
    validation_users: int = Field(
        2000, ge=1, description="Users of the validation rows whose lists ndcg is measured on."
    )
    refit: bool = Field(
        True,
        description="Once evaluated, fit the model on all interactions, held-out rows included, "
        "with as many sweeps; lists come from that. false: from the evaluated model.",
    )

    @model_validator(mode="after")
    def _effective(self) -> "Train":
        idle = ["tolerance", "patience"] if self.early_stopping == "none" else []
        idle += [] if self.early_stopping == "ndcg" else ["validation_users"]
        for key in idle:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} has no effect with early_stopping: {self.early_stopping}")
        return self
