"""What comes in: events, the rules they must keep, and the names of items."""

import codecs
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
TimeUnit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds", "iso"]
FilterOp = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "is_null", "not_null"]


# The keys of side tables that name a column.
_COLUMN_KEYS = ("column", "user", "item", "segment", "group", "since", "until")


class TableFile(Section):
    """A table that comes from outside, and how its files are written.

    Every such table is read by `io.tables`, with the same checks.
    """

    path: str | None = Field(None, description="File, folder or glob of the table.")
    format: FileFormat = Field(
        "csv", description="csv, jsonl (a JSON object a line) or parquet; text may be gz, bz2, zst."
    )
    separator: str = Field(",", description="One or two characters between csv fields; \\t is tab.")
    quote: str = Field('"', description="Quotation mark of csv fields; empty: none.")
    header: bool = Field(
        True, description="Whether csv files begin with a header; without: columns by position."
    )
    encoding: str = Field("utf-8", description="Encoding of text, such as latin-1 or cp1252.")

    def named_columns(self) -> dict[str, str | int | None]:
        """The columns that the section names, by their keys."""
        return {key: getattr(self, key) for key in _COLUMN_KEYS if hasattr(self, key)}

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

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError("is no known encoding; utf-8, latin-1 and cp1252 are common") from None

    @model_validator(mode="after")
    def _positions(self) -> "TableFile":
        if self.format == "csv" and not self.header:
            columns = self.named_columns().items()
            named = [key for key, value in columns if isinstance(value, str)]
            if named:
                raise ValueError(
                    "has header: false, so columns are positions counted from 0: set "
                    + ", ".join(named)
                )
        return self


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


class Source(TableFile):
    path: str | None = Field(
        None,
        description="File, folder or glob of the events (required). Folders are read with their "
        "sub-folders; of a zip the member that has the columns, or ARCHIVE.zip/MEMBER.",
    )
    decimal: Literal[".", ","] = Field(".", description="Decimal mark of values in text files.")
    columns: SourceColumns = SourceColumns()
    timestamp_unit: TimeUnit = Field(
        "seconds",
        description="Unit of numeric event times since 1970: seconds, milliseconds, microseconds "
        "or nanoseconds; iso for written dates.",
    )
    user_id_type: IdType = Field(
        "auto",
        description="long, string, or auto: long where all files are Parquet with numbers.",
    )
    item_id_type: IdType = Field("auto", description="The same for items.")

    def named_columns(self) -> dict[str, str | int | None]:
        """The columns that the section names, by their keys."""
        return {f"columns.{key}": value for key, value in self.columns.model_dump().items()}


class ValidationRules(Section):
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
    rules: ValidationRules = ValidationRules()
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
        if value and not any(value.values()):
            raise ValueError("every weight is 0, so that every value would be; set one above 0")
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
    item: str | int = Field("item_id", description="Column of the item id.")
    title: str | int = Field("title", description="Column of the name shown to people.")
    genres: str | int | None = Field(None, description="Column of the genres; null: none.")


class Items(TableFile):
    path: str | None = Field(None, description="Table of item names; null: ids are shown instead.")
    columns: ItemColumns = ItemColumns()
    genre_separator: str = Field("|", description="Between the genres of one item.")

    def named_columns(self) -> dict[str, str | int | None]:
        """The columns that the section names, by their keys."""
        return {f"columns.{key}": value for key, value in self.columns.model_dump().items()}
