"""What comes in: events, the rules they must keep, and the names of items."""

from datetime import datetime
from math import isfinite
from typing import Literal

from pydantic import Field, field_validator, model_validator

from recsys_spark.config.section import Fraction, Scalar, Section

Reason = Literal[
    "malformed_row",
    "bad_encoding",
    "empty_user",
    "bad_user",
    "long_user",
    "empty_item",
    "bad_item",
    "long_item",
    "missing_value",
    "bad_value",
    "nan_value",
    "infinite_value",
    "out_of_range",
    "unknown_event",
    "bad_timestamp",
    "future_timestamp",
]
IdType = Literal["auto", "string", "long"]
FileFormat = Literal["csv", "jsonl", "parquet"]
FilterOp = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "is_null", "not_null"]


class SourceColumns(Section):
    user: str | int = Field("user_id", description="Column of the user id: a name, or a position.")
    item: str | int = Field("item_id", description="Column of the item id.")
    value: str | int | None = Field(
        "rating", description="Column of the rating or count; null: every event counts 1."
    )
    timestamp: str | int | None = Field(
        "timestamp", description="Column of the event time; null: the events have none."
    )
    event: str | int | None = Field(
        None, description="Column of the event's type, weighed by event_weights; null: no types."
    )


class Source(Section):
    path: str | None = Field(None, description="File, folder or glob of the events (required).")
    format: FileFormat = Field("csv", description="csv (any separator), jsonl or parquet.")
    separator: str = Field(",", description="One or two characters between csv fields; \\t is tab.")
    quote: str = Field('"', description="Quotation mark of csv fields; empty: none.")
    header: bool = Field(
        True, description="Whether csv files begin with a header; without: columns by position."
    )
    columns: SourceColumns = SourceColumns()
    timestamp_unit: Literal["seconds", "milliseconds", "microseconds", "iso"] = Field(
        "seconds", description="Unit of the event time since 1970, or iso for written dates."
    )
    user_id_type: IdType = Field(
        "auto", description="auto: long where a Parquet source has whole numbers, else string."
    )
    item_id_type: IdType = Field("auto", description="The same for items.")

    @field_validator("separator")
    @classmethod
    def _separator(cls, value: str) -> str:
        value = value.replace("\\t", "\t")
        if not 1 <= len(value) <= 2:
            raise ValueError("needs one or two characters")
        return value

    @field_validator("quote")
    @classmethod
    def _quote(cls, value: str) -> str:
        if len(value) > 1:
            raise ValueError("needs one character, or none")
        return value

    @model_validator(mode="after")
    def _positions(self) -> "Source":
        if self.format == "csv" and not self.header:
            named = [
                key
                for key, value in self.columns.model_dump().items()
                if value is not None and not isinstance(value, int)
            ]
            if named:
                keys = ", ".join(f"columns.{key}" for key in named)
                raise ValueError(
                    f"has header: false, so columns are positions counted from 0: set {keys}"
                )
        return self


class Rules(Section):
    min_value: float | None = Field(None, description="Values below are rejected (out_of_range).")
    max_value: float | None = Field(None, description="Values above are rejected (out_of_range).")
    min_timestamp: datetime = Field(
        datetime(1990, 1, 1), description="Earlier events are rejected (bad_timestamp); UTC."
    )
    max_future_hours: float = Field(
        24.0, ge=0, description="Events later than now plus this are rejected (future_timestamp)."
    )
    max_id_bytes: int = Field(
        256, ge=1, description="Longer ids are rejected (long_user, long_item); bytes."
    )


class Limit(Section):
    fraction: Fraction | None = Field(None, ge=0, le=1, description="Share of the rows read.")
    rows: int | None = Field(None, ge=0, description="Number of rows.")


class Thresholds(Section):
    max_rejected_fraction: Fraction = Field(
        0.05, ge=0, le=1, description="A larger share of rejected rows stops the stage (code 3)."
    )
    max_rejected_rows: int | None = Field(
        None, ge=0, description="More rejected rows stop the stage (code 3)."
    )
    per_rule: dict[Reason, Limit] = Field(
        {}, description="Limits by reason, such as {bad_value: {fraction: 0.01, rows: 500}}."
    )


class Filter(Section):
    column: str = Field(..., description="Column of the source.")
    op: FilterOp = Field(..., description="eq ne lt le gt ge in not_in is_null not_null.")
    value: Scalar | list[Scalar] | None = Field(None, description="What is compared with.")

    @model_validator(mode="after")
    def _value_fits(self) -> "Filter":
        if self.op in ("in", "not_in") and not isinstance(self.value, list):
            raise ValueError(f"op {self.op} needs a list as its value")
        if self.op in ("eq", "ne", "lt", "le", "gt", "ge") and (
            self.value is None or isinstance(self.value, list)
        ):
            raise ValueError(f"op {self.op} needs one value")
        return self


class Ingest(Section):
    source: Source = Source()
    rules: Rules = Rules()
    thresholds: Thresholds = Thresholds()
    filters: list[Filter] = Field(
        [], description="Keep rows that fulfil all, such as [{column: event, op: eq, value: buy}]."
    )
    event_weights: dict[str, float] = Field(
        {},
        description="What the value is multiplied by for each type of event, before duplicates are "
        "combined, such as {view: 1, cart: 3, purchase: 10}; other types are rejected.",
    )
    since: datetime | None = Field(None, description="Keep events from this time on; UTC.")
    until: datetime | None = Field(None, description="Keep events before this time; UTC.")
    duplicates: Literal["last", "max", "sum", "mean", "count", "error"] = Field(
        "last", description="What becomes of several events of one user with one item."
    )
    min_pair_value: float | None = Field(
        None, description="Keep user-item pairs with at least this value, after duplicates."
    )
    min_user_items: int = Field(
        1, ge=1, description="Keep users with at least so many items (repeated to a fixpoint)."
    )
    min_item_users: int = Field(
        1, ge=1, description="Keep items with at least so many users (repeated to a fixpoint)."
    )

    @field_validator("event_weights")
    @classmethod
    def _finite(cls, value: dict[str, float]) -> dict[str, float]:
        if not all(isfinite(weight) for weight in value.values()):
            raise ValueError("weights are finite numbers")
        return value

    @model_validator(mode="after")
    def _weighed(self) -> "Ingest":
        named = self.source.columns.event is not None
        if named and not self.event_weights:
            raise ValueError("source.columns.event needs event_weights, such as {view: 1, buy: 10}")
        if self.event_weights and not named:
            raise ValueError(
                "event_weights has no effect without source.columns.event; name it or remove them"
            )
        if self.event_weights and self.duplicates == "count":
            raise ValueError("event_weights has no effect with duplicates: count; choose sum")
        return self


class ItemColumns(Section):
    item: str = Field("item_id", description="Column of the item id.")
    title: str = Field("title", description="Column of the name shown to people.")
    genres: str | None = Field(None, description="Column of the genres; null: none.")


class Items(Section):
    path: str | None = Field(None, description="Table of item names; null: ids are shown instead.")
    format: FileFormat = Field("csv", description="csv (with a header), jsonl or parquet.")
    separator: str = Field(",", description="Between csv fields; \\t is tab.")
    quote: str = Field('"', description="Quotation mark of csv fields; empty: none.")
    columns: ItemColumns = ItemColumns()
    genre_separator: str = Field("|", description="Between the genres of one item.")

    @field_validator("separator")
    @classmethod
    def _separator(cls, value: str) -> str:
        return value.replace("\\t", "\t")
