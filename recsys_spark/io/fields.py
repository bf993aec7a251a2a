"""What is wanted of a table, and how the fields of a record become it, by format and type.

role    becomes
id      text, and `<key>_bad`: whether the field is there and no id. Whole numbers are written
        without a fraction, whatever their type; UUIDs and 16 bytes in their canonical form
number  text, as it stands, of text; a double of numbers; true and false are 1 and 0
time    a timestamp, or the text of one
text    text, as it stands
labels  text; the elements of a list of texts, with `separator` between them
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegralType,
    NumericType,
    StringType,
    TimestampType,
)

from recsys_spark.errors import ContractError

Role = Literal["id", "number", "time", "text", "labels"]
EXACT = float(2**53)  # doubles from here on do not distinguish neighbouring whole numbers
WHOLE = r"^-?\d+\z"
_UUID = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))  # digits: from, how many
_KINDS: dict[str, tuple[type[DataType], ...]] = {
    "id": (StringType, NumericType, BinaryType),
    "number": (StringType, NumericType, BooleanType),
    "time": (StringType, NumericType, TimestampType, DateType),
    "text": (StringType, NumericType, BooleanType, TimestampType, DateType),
    "labels": (StringType, ArrayType),
}
_EXPECTED = {
    "id": "ids are text, whole numbers or UUIDs",
    "number": "values are numbers",
    "time": "times are timestamps, dates, numbers or text",
    "text": "it has to be text, a number or a time",
    "labels": "it has to be text or a list of texts",
}


@dataclass(frozen=True)
class Wanted:
    """A column that is asked for. setting: the key that names it. column: its name or position."""

    column: str | int
    role: Role
    setting: str
    optional: bool = False
    separator: str = "|"

    @property
    def name(self) -> str:
        """The column as messages call it."""
        return str(self.column)


WantedColumns = Mapping[str, Wanted]


def locate(
    wanted: WantedColumns, names: list[str], where: str, hints: Iterable[str] = ()
) -> dict[str, int]:
    """The position of each wanted column among the names of a table.

    where: the file, for messages. Raises ContractError for a name that is not there, or twice.
    """
    return {key: _position(one, names, where, hints) for key, one in wanted.items()}


def _position(one: Wanted, names: list[str], where: str, hints: Iterable[str]) -> int:
    matching = [at for at, name in enumerate(names) if name.lower() == one.name.lower()]
    if len(matching) > 1:
        written = " and ".join(repr(names[at]) for at in matching)
        raise ContractError(
            f"Column {one.name!r} ({one.setting}) is there twice in {where}, as {written}: rename "
            "or remove one of them."
        )
    if matching and names[matching[0]] == one.name:
        return matching[0]
    columns = ", ".join(repr(name) for name in names)
    end = " (null if there is none)." if one.optional else "."
    found = [f"There is {names[at]!r}, written otherwise." for at in matching]
    raise ContractError(
        f"{where} has no column {one.name!r} ({one.setting}); its columns are {columns}. "
        + "".join(f"{hint} " for hint in [*found, *hints])
        + f"Correct the header or set {one.setting}{end}"
    )


def check_kind(one: Wanted, kind: DataType, where: str) -> None:
    """Raise ContractError if no field of this type can be what is wanted."""
    if not isinstance(kind, _KINDS[one.role]):
        raise ContractError(
            f"Column {one.name!r} ({one.setting}) of {where} is {kind.simpleString()}; "
            f"{_EXPECTED[one.role]}."
        )


def typed_fields(one: Wanted, key: str, value: Column, kind: DataType) -> list[Column]:
    """The wanted columns of a field of a column with a type."""
    if one.role == "id":
        text, bad = _id_of(value, kind)
        return [text.alias(key), bad.alias(f"{key}_bad")]
    if one.role == "labels" and isinstance(kind, ArrayType):
        return [F.array_join(value, one.separator).alias(key)]
    if one.role == "time" and isinstance(kind, TimestampType | DateType):
        return [value.cast("timestamp").alias(key)]
    if one.role == "number":
        number = value.cast("int") if isinstance(kind, BooleanType) else value
        return [(value if isinstance(kind, StringType) else number.cast("double")).alias(key)]
    return [_number_text(value, kind).alias(key)]


def text_fields(one: Wanted, key: str, text: Column) -> list[Column]:
    """The wanted columns of a field that is text and nothing else."""
    if one.role == "id":
        return [text.alias(key), F.lit(False).alias(f"{key}_bad")]
    if one.role == "number":
        return [as_number(text).alias(key)]
    return [text.alias(key)]


def as_number(text: Column) -> Column:
    """true and false as 1 and 0, any other text as it is."""
    # Not `lower`, for which Spark first makes a table of all characters, in a second.
    lower = F.translate(F.trim(text), "AEFLRSTU", "aeflrstu")
    return F.when(lower == "true", F.lit("1")).when(lower == "false", F.lit("0")).otherwise(text)


def _id_of(value: Column, kind: DataType) -> tuple[Column, Column]:
    """The text of an id, and whether the field is no id."""
    if isinstance(kind, BinaryType):
        digits, sixteen = F.lower(F.hex(value)), F.octet_length(value) == 16
        parts = [F.substring(digits, at, length) for at, length in _UUID]
        return F.when(sixteen, F.concat_ws("-", *parts)), value.isNotNull() & ~sixteen
    text = _number_text(value, kind)
    if isinstance(kind, StringType | IntegralType):
        return text, F.lit(False)
    return F.when(text.rlike(WHOLE), text), value.isNotNull() & ~text.rlike(WHOLE)


def _number_text(value: Column, kind: DataType) -> Column:
    """Text of a field; a whole number has no fraction and no exponent."""
    if isinstance(kind, DecimalType):
        return F.regexp_replace(value.cast("string"), r"\.0+$", "")
    if not isinstance(kind, DoubleType):
        return value.cast("string")
    exact = (value == F.floor(value)) & (F.abs(value) < F.lit(EXACT))
    return F.when(exact, value.try_cast("bigint").cast("string")).otherwise(value.cast("string"))
