"""Repeated evaluation, and the search for settings."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from recsys_spark.config.section import Scalar, Section
from recsys_spark.config.training import Objective


class Backtest(Section):
    method: Literal["rolling", "folds"] = Field(
        "rolling", description="rolling: train up to several moments; folds: each part tests once."
    )
    origins: int = Field(
        3, ge=2, description="rolling: moments; the window of the last one ends with the data."
    )
    days: float = Field(7.0, gt=0, description="rolling: days that each moment is tested on.")
    folds: int = Field(5, ge=2, description="folds: parts that the rows are dealt into.")

    @model_validator(mode="after")
    def _effective(self) -> "Backtest":
        idle = ["folds"] if self.method == "rolling" else ["origins", "days"]
        for key in idle:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} has no effect with method: {self.method}; remove it")
        return self


class Range(Section):
    low: float = Field(..., description="Least value.")
    high: float = Field(..., description="Largest value.")
    log: bool = Field(False, description="Whether factors count rather than differences.")
    whole: bool = Field(False, description="Whether only whole numbers are tried.")

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low > self.high:
            raise ValueError("low is above high")
        if self.log and self.low <= 0:
            raise ValueError("a range with log: true begins above 0")
        return self


TunedMetric = Literal["ndcg", "recall", "recall_min", "precision", "map", "mrr", "hit_rate"]


class Tune(Section):
    method: Literal["grid", "random", "tpe"] = Field(
        "random",
        description="grid: every combination of lists; random; tpe: learns from earlier trials "
        "(needs the extra: pip install 'recsys-spark[tune]').",
    )
    space: dict[str, list[Scalar] | Range] = Field(
        {},
        description="Keys of objective, or in full those of models (models.walks.beta), with a "
        "list of values or a range, such as {rank: [32, 64], regularization: {low: 0.0003, high: "
        "0.03, log: true}}; empty: a guided search, which begins with the configuration.",
    )
    metric: TunedMetric = Field(
        "ndcg", description="Ranking metric of the validation rows that is maximised."
    )
    k: int = Field(10, ge=1, description="Its cut-off.")
    users: int | None = Field(
        20_000,
        ge=1,
        description="Validation users whose lists are measured, at most, the same in every trial; "
        "null: all of them.",
    )
    trials: int = Field(20, ge=1, description="At most so many, but for grid.")
    minutes: float | None = Field(
        None, gt=0, description="No trial but the first begins later than this; null: no limit."
    )
    warm_start: bool = Field(
        False,
        description="A trial begins with the factors of the one before it, if that has no larger "
        "rank: list ranks from small to large. The first of each command starts from random "
        "factors.",
    )
    seed: int = Field(42, description="Changes what random and tpe try.")

    @field_validator("space")
    @classmethod
    def _known(cls, space: dict[str, list[Scalar] | Range]) -> dict[str, list[Scalar] | Range]:
        for key, values in space.items():
            if key not in Objective.model_fields and not key.startswith("models."):
                raise ValueError(f"{key} is no key of objective, and none of models.NAME.KEY")
            if isinstance(values, list) and not values:
                raise ValueError(f"{key} has no values")
        return space

    @model_validator(mode="after")
    def _countable(self) -> "Tune":
        ranges = [key for key, values in self.space.items() if isinstance(values, Range)]
        if self.method == "grid" and ranges:
            raise ValueError(f"a grid needs lists of values, not ranges: {', '.join(ranges)}")
        return self
