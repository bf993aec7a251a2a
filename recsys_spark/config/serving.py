"""What is measured, and what is delivered."""

from typing import Literal

from pydantic import Field, field_validator

from recsys_spark.config.section import Section
from recsys_spark.config.sources import FileFormat


class Evaluate(Section):
    split: Literal["test", "validation"] = Field("test", description="Rows held as the truth.")
    k: list[int] = Field([5, 10, 20], min_length=1, description="Cut-offs of the ranking metrics.")
    min_relevant_value: float | None = Field(
        None, description="Truth rows below are not relevant; null: every row is."
    )
    baselines: list[Literal["popularity"]] = Field(
        ["popularity"], description="Simple recommenders measured beside the model."
    )

    @field_validator("k")
    @classmethod
    def _cutoffs(cls, value: list[int]) -> list[int]:
        if min(value) < 1:
            raise ValueError("cut-offs are 1 or more")
        return sorted(set(value))


class UserSubset(Section):
    path: str | None = Field(None, description="File of user ids; null: every known user.")
    format: FileFormat = Field("csv", description="csv (with a header), jsonl or parquet.")
    column: str = Field("user_id", description="Column of the user id.")


class Recommend(Section):
    n: int = Field(10, ge=1, description="Recommendations a user.")
    users: UserSubset = UserSubset()
    exclude_seen: bool = Field(True, description="Leave out what the user has interacted with.")
    backfill: bool = Field(True, description="Fill short lists with popular items.")
