"""The columns that a user names: found whatever their names, and of types that can be used.

Ids are whole numbers of any numeric type: what StringIndexer makes are doubles. Every other type,
and what is no whole number, is refused with the cure.
"""

from datetime import UTC, datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegralType,
    LongType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from recsys_spark.errors import ContractError
from recsys_spark.schema import quoted, require_spark

_EXACT: dict[type[DataType], float] = {
    DoubleType: 2.0**53,
    FloatType: 2.0**24,
}  # above these not every whole number exists
_MARGIN = timedelta(days=1)
_UNITS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_TIMES = (TimestampType, TimestampNTZType, DateType, StringType)


def column(dataset: DataFrame, name: str) -> Column:
    """A column by its name, which may have dots and backticks.

    Raises ContractError if it is not there, or is there twice, also up to case where Spark's names
    do not depend on it.
    """
    require_spark(dataset, "dataset")
    if name not in dataset.columns:
        raise ContractError(f"The data has no column {name}; it has {', '.join(dataset.columns)}.")
    sensitive = dataset.sparkSession.conf.get("spark.sql.caseSensitive") == "true"
    fold = str if sensitive else str.lower
    same = [own for own in dataset.columns if fold(own) == fold(name)]
    if len(same) > 1:
        raise ContractError(
            f"The data has the column {name} twice ({', '.join(same)}): rename or drop one of them."
        )
    return F.col(quoted(name))


def id_type(kind: DataType) -> DataType:
    """The type of the ids in a model of such a column: its own if integral, else bigint."""
    return kind if isinstance(kind, IntegralType) else LongType()


def whole_ids(dataset: DataFrame, name: str) -> Column:
    """The ids of a column, null where they are no whole numbers.

    Raises ContractError if the column is not numeric.
    """
    ids, kind = column(dataset, name), dataset.schema[name].dataType
    if isinstance(kind, IntegralType):
        return ids
    if not isinstance(kind, NumericType):
        raise ContractError(
            f"Column {name} is {kind.simpleString()}; ids must be whole numbers. Index them with "
            "StringIndexer, or use the pipeline's ingest stage."
        )
    exact = _EXACT.get(type(kind))
    whole = ids.try_cast("bigint")
    usable = whole == ids if exact is None else (whole == ids) & (F.abs(ids) < exact)
    return F.when(usable, whole)


def refuse_fractions(dataset: DataFrame, *names: str) -> None:
    """Raise ContractError, with an example, for ids that are no whole numbers.

    Only of columns that are not integral, which are read once for it.
    """
    names = tuple(n for n in names if not isinstance(dataset.schema[n].dataType, IntegralType))
    for name in names:
        bad = dataset.where(whole_ids(dataset, name).isNull())
        row = bad.select(column(dataset, name).cast("string")).first()
        if row is not None:
            raise ContractError(
                f"Column {name} is {dataset.schema[name].dataType.simpleString()} and has "
                f"{row[0] or 'null'}; ids must be whole numbers, which this type holds exactly up "
                "to 2^53 (float: 2^24). Correct these rows, or cast the ids to bigint at their "
                "source."
            )


def numbers(dataset: DataFrame, name: str) -> Column:
    """A numeric column in double precision; true counts 1 and false 0.

    Raises ContractError for another type.
    """
    values, kind = column(dataset, name), dataset.schema[name].dataType
    if not isinstance(kind, NumericType | BooleanType):
        raise ContractError(
            f"Column {name} is {kind.simpleString()}; it must be numbers. Cast it, for instance by "
            f"try_cast({quoted(name)} as double), and filter out what becomes null."
        )
    return values.cast("double")


def times(dataset: DataFrame, name: str) -> Column:
    """A column of times, null where there is none; numbers are seconds since 1970.

    Raises ContractError for another type, and, naming the unit that was probably meant, for times
    later than a day from now: the column is read once for it.
    """
    values, kind = column(dataset, name), dataset.schema[name].dataType
    if not isinstance(kind, (NumericType, *_TIMES)):
        raise ContractError(
            f"Column {name} is {kind.simpleString()}; times are timestamps, dates, or seconds "
            "since 1970."
        )
    seconds = values.cast("double")
    if not isinstance(kind, NumericType):
        values = values.try_cast("timestamp")
        seconds = F.unix_micros(values) / 1e6
    latest = (datetime.now(UTC) + _MARGIN).timestamp()
    row = dataset.select(seconds.alias("at")).where((F.col("at") > latest) & ~F.isnan("at")).agg(
        F.count("*").alias("rows"), F.max("at").alias("latest")
    ).first()  # fmt: skip
    if row is not None and row["rows"]:
        raise ContractError(_too_late(name, row["rows"], row["latest"], latest, kind))
    if not isinstance(kind, NumericType):
        return values
    return F.when(F.abs(seconds) < float("inf"), seconds)


def _too_late(name: str, rows: int, newest: float, latest: float, kind: DataType) -> str:
    found = f"{rows:,} rows have a time in column {name} that is later than a day from now"
    if not isinstance(kind, NumericType):
        return f"{found}; correct them."
    for unit, scale in _UNITS.items():
        if newest / scale <= latest:
            return (
                f"{found}: numbers are read as seconds since 1970, and {newest:.0f} looks like "
                f"{unit}. Divide by {scale:,.0f}, or cast the column to timestamp."
            )
    return f"{found}: numbers are read as seconds since 1970, up to {newest:g}; correct them."
