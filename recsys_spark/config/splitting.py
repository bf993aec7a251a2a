"""Which rows are held out."""

from datetime import datetime
from typing import Literal

from pydantic import Field, model_validator

from recsys_spark.config.section import Fraction, Section


class Predefined(Section):
    format: Literal["adjacency", "triples", "movielens"] = Field(
        "triples",
        description="adjacency: a user and all its items a line (LightGCN); triples: user, item "
        "and optionally value and time (NCF); movielens: the same with ratings (u1.base).",
    )
    train: str | None = Field(None, description="Training file; method predefined needs it.")
    test: str | None = Field(None, description="Test file; method predefined needs it.")
    negatives: str | None = Field(
        None,
        description="File of items that test items are also ranked among (NCF's test.negative).",
    )
    validation: Fraction = Field(
        0.0, ge=0, lt=1, description="Share of every user's training rows cut off to validate."
    )


class Split(Section):
    method: Literal[
        "random",
        "per_user",
        "leave_last_out",
        "global_time",
        "time_window",
        "k_fold",
        "user_holdout",
        "predefined",
        "none",
    ] = Field(
        "per_user",
        description="How test rows are chosen; none: there are none, and no evaluation. "
        "docs/pipeline.md compares the methods.",
    )
    predefined: Predefined = Predefined()
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
    train_until: datetime | None = Field(
        None, description="time_window: rows before this moment train; UTC."
    )
    test_days: float = Field(
        7.0, gt=0, description="time_window: days from then on that test; later rows are left out."
    )
    folds: int = Field(5, ge=2, description="k_fold: parts that the rows are dealt into.")
    fold: int = Field(0, ge=0, description="k_fold: the part in test, counted from 0.")
    drop_cold: bool = Field(
        False, description="Leave out test rows whose user or item is not in the training rows."
    )
    seed: int = Field(42, description="Changes which rows the hash chooses.")

    @model_validator(mode="after")
    def _consistent(self) -> "Split":
        if self.test_fraction + self.validation_fraction >= 1:
            raise ValueError("test_fraction + validation_fraction leave nothing to train on")
        if self.method == "time_window" and self.train_until is None:
            raise ValueError("method: time_window needs train_until, such as 2026-01-31")
        if self.fold >= self.folds:
            last = self.folds - 1
            raise ValueError(f"fold is {self.fold}, and the last of {self.folds} is {last}")
        for key in self._idle():
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} has no effect with method: {self.method}; remove it")
        return self

    def _idle(self) -> list[str]:
        """Keys that the method does not look at."""
        by_method = {
            "leave_last_out": ["test_last", "validation_last"],
            "time_window": ["train_until", "test_days"],
            "k_fold": ["folds", "fold"],
            "user_holdout": ["test_fraction", "validation_fraction", "fold_in_fraction"],
            "predefined": ["predefined"],
            "none": [],
        }
        shares = ["test_fraction", "validation_fraction"]
        used = by_method.get(self.method, shares)
        every = dict.fromkeys(key for keys in (shares, *by_method.values()) for key in keys)
        return [key for key in every if key not in used]
