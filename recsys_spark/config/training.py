"""What is minimised, how, and for how long."""

from datetime import datetime
from typing import Literal

from pydantic import Field, model_validator

from recsys_spark.config.section import Section
from recsys_spark.kernels.als import solver as solvers
from recsys_spark.kernels.als.spec import (
    Biases,
    Confidence,
    Counted,
    Init,
    Order,
    PresetName,
    Target,
    WalsSpec,
    Weighting,
    resolve_spec,
)


class Objective(Section):
    preset: PresetName = Field(
        "ials",
        description="ials, hu2008, mllib, mllib_explicit (or explicit), implicit, irspack, "
        "lenskit, lenskit_explicit or tf_wals; null keys take its value (docs/objectives.md).",
    )
    rank: int | None = Field(None, description="Length of a factor vector (64).")
    iterations: int | None = Field(None, description="Sweeps over both sides (15).")
    unobserved_weight: float | None = Field(None, description="Weight w0 of unobserved pairs.")
    user_unobserved_exponent: float | None = Field(
        None, description="w0 grows with this power of the user's frequency; its mean stays."
    )
    item_unobserved_exponent: float | None = Field(
        None, description="The same for items, as in eALS, where it is 0.4 to 0.5."
    )
    weighting: Weighting | None = Field(
        None,
        description="Confidence c of value r. binary: 1; linear: alpha*r; log: alpha*ln(1 + "
        "r/epsilon); power: alpha*r^exponent; bm25, tfidf: alpha times implicit's of that name.",
    )
    alpha: float | None = Field(None, description="Scale of every weighting but binary.")
    epsilon: float | None = Field(None, description="Scale of r in log weights.")
    exponent: float | None = Field(None, description="Power of r in power weights (0.5).")
    bm25_k1: float | None = Field(None, description="Where bm25 weights level off (100).")
    bm25_b: float | None = Field(
        None, description="How much bm25 discounts frequent items, 0 to 1 (0.8)."
    )
    user_frequency_exponent: float | None = Field(
        None, description="c grows with this power of the user's frequency; its mean stays."
    )
    item_frequency_exponent: float | None = Field(
        None, description="The same for items; below 0, popular items count less."
    )
    half_life_days: float | None = Field(
        None, description="Age at which c has fallen to a half; days; null: no decay."
    )
    decay_reference: datetime | None = Field(
        None, description="Time from which ages are counted; UTC; null: the newest training row."
    )
    min_positive_value: float | None = Field(
        None,
        description="Values below are dislikes, with target 0; null: those of 0 or below are.",
    )
    negative_alpha: float | None = Field(
        None, description="Scale of c for dislikes, 0: as if unobserved; null: as for likes."
    )
    confidence: Confidence | None = Field(
        None,
        description="extra: c on top of w0; total: c is all the weight of a pair (implicit).",
    )
    target: Target | None = Field(
        None, description="weight: b = a (Google iALS); unit: target 1 (Hu); value: target r."
    )
    regularization: float | None = Field(None, description="Strength lambda of the L2 penalty.")
    user_regularization: float | None = Field(
        None, description="lambda of the users; null: regularization."
    )
    item_regularization: float | None = Field(
        None, description="lambda of the items; null: regularization."
    )
    nu: float | None = Field(None, description="Exponent of the penalty in the row's length.")
    beta: float | None = Field(
        None, description="Share of the other side's size counted into the row's length."
    )
    counted: Counted | None = Field(
        None, description="The row's length: all rows, positive values, or the sum of weights."
    )
    nu_star: float | None = Field(
        None, description="Rescale lambda to mean what it would at this nu; null: do not."
    )
    biases: Biases | None = Field(
        None,
        description="Of ratings. none; learned: with the factors; means: halfway between the means "
        "of user and item; damped: LensKit's. The last two are subtracted before training.",
    )
    bias_damping: float | None = Field(
        None, description="Number of average ratings that damped biases begin with (5)."
    )
    clip: tuple[float, float] | None = Field(
        None, description="Range [low, high] that predicted ratings are held in."
    )
    order: Order | None = Field(None, description="users_first or items_first in a sweep.")
    init: Init | None = Field(
        None, description="Initial factors: normal, unit_norm, uniform or squared_normal."
    )
    init_scale: float | None = Field(
        None,
        description="normal: standard deviation times sqrt(rank); uniform: upper end; "
        "squared_normal: standard deviation before squaring.",
    )
    nonnegative: bool | None = Field(None, description="Keep every factor at 0 or above.")
    seed: int | None = Field(None, description="Seed of the initial factors (42).")

    @model_validator(mode="after")
    def _resolves(self) -> "Objective":
        self.spec()
        return self

    def spec(self) -> WalsSpec:
        """The complete objective, the preset's values filled in."""
        given = self.model_dump()
        if self.decay_reference is not None:
            given["decay_reference"] = self.decay_reference.isoformat()
        return resolve_spec(**given)


class Solver(Section):
    method: solvers.Method = Field(
        "auto",
        description="cholesky: exact; cg: conjugate gradients; subspace: blocks of coordinates "
        "(iALS++); auto: cholesky or cg, whichever pays by rank and rows (docs/objectives.md).",
    )
    cg_steps: int | None = Field(None, description="Steps a row of cg (3).")
    subspace_block: int | None = Field(None, description="Coordinates a block of subspace (64).")
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
