"""Which rows are held out."""

from typing import Literal

from pydantic import Field, model_validator

from recsys_spark.config.section import Fraction, Section


class Split(Section):
    method: Literal["random", "per_user", "leave_last_out", "global_time", "user_holdout"] = Field(
        "per_user", description="How test rows are chosen; docs/pipeline.md compares the methods."
    )
    test_fraction: Fraction = Field(
        0.2, gt=0, lt=1, description="Share of the rows (of the users, for user_holdout) in test."
    )
    validation_fraction: Fraction = Field(
        0.0, ge=0, lt=1, description="Share of the rows (of the users) in validation."
    )
    test_last: int = Field(1, ge=1, description="leave_last_out: last rows of a user in test.")
    validation_last: int = Field(
        0, ge=0, description="leave_last_out: rows of a user before those, in validation."
    )
    fold_in_fraction: Fraction = Field(
        0.8, gt=0, lt=1, description="user_holdout: share of a held-out user's rows to fold in."
    )
    drop_cold: bool = Field(
        False, description="Leave out test rows whose user or item is not in the training rows."
    )
    seed: int = Field(42, description="Changes which rows the hash chooses.")

    @model_validator(mode="after")
    def _consistent(self) -> "Split":
        if self.test_fraction + self.validation_fraction >= 1:
            raise ValueError("test_fraction + validation_fraction leave nothing to train on")
        last = self.method == "leave_last_out"
        idle = ["test_fraction", "validation_fraction"] if last else ["test_last"]
        idle += [] if last else ["validation_last"]
        idle += [] if self.method == "user_holdout" else ["fold_in_fraction"]
        for key in idle:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} has no effect with method: {self.method}; remove it")
        return self
