"""Rules for events: each broken rule is a reason code; a row with a reason is rejected.

reason            what is wrong
malformed_row     too few or too many fields, or not JSON; no other rule is asked
bad_encoding      bytes that are not UTF-8
empty_user/item   the id is missing or blank
bad_user/item     control characters, a field that is no id (a fraction, a list, true), or not a
                  whole number where the id type is long
long_user/item    more bytes than ingest.rules.max_id_bytes
missing_value     no value
bad_value         not a number
nan_value         NaN
infinite_value    infinite
out_of_range      outside ingest.rules.min_value and max_value
unknown_event     a type of event without a weight, or none
bad_timestamp     missing, not a time, or before ingest.rules.min_timestamp
future_timestamp  later than now and ingest.rules.max_future_hours
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import get_args

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, StringType, StructType

from recsys_spark.config import Filter, Ingest, Reason, Scalar, ValidationRules
from recsys_spark.schema import typed_id

REASONS: tuple[str, ...] = get_args(Reason)
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_NAN = r"(?i)^\s*[+-]?nan\s*$"
_INFINITE = r"(?i)^\s*[+-]?inf(inity)?\s*$"
_CONTROL = r"[\x00-\x1F\x7F]"


def apply_rules(
    parsed: DataFrame, ingest: Ingest, user_type: str, item_type: str, now: datetime
) -> DataFrame:
    """Columns raw, source_file, reasons, kept, user_id, item_id, value, timestamp.

    parsed: from `io.events`. kept: accepted by the filters and inside the event window.
    Ids have their final type, string or bigint. The value is multiplied by its event's weight.
    """
    value = _value(isinstance(parsed.schema["value"].dataType, DoubleType))
    encoded, raw = _encoding(parsed)
    weight = _event_weight(ingest.event_weights)
    broken = F.array_compact(
        F.array(
            F.when(~encoded, F.lit("bad_encoding")),
            *_broken(ingest.rules, value, weight, user_type, item_type, now),
        )
    )
    reasons = F.when(F.col("malformed"), F.array(F.lit("malformed_row"))).otherwise(broken)
    return parsed.select(
        raw.alias("raw"),
        "source_file",
        reasons.alias("reasons"),
        _kept(ingest).alias("kept"),
        typed_id(F.col("user"), user_type).alias("user_id"),
        typed_id(F.col("item"), item_type).alias("item_id"),
        (value.number * weight).alias("value"),
        "timestamp",
    )


@dataclass(frozen=True)
class _Value:
    """A row's value. number: null unless it is a finite one, or a text of digits."""

    number: Column
    missing: Column
    nan: Column
    infinite: Column


def _value(is_double: bool) -> _Value:
    value, infinity = F.col("value"), F.lit(float("inf"))
    if is_double:  # NaN is the largest one
        number = F.when(F.abs(value) < infinity, value)
        return _Value(number, value.isNull(), F.isnan(value), F.abs(value) == infinity)
    number = F.when(value.rlike(_NUMBER), F.trim(value).try_cast("double"))
    other = number.isNull()  # spares the expressions of most rows
    missing = value.isNull() | (F.trim(value) == "")
    return _Value(number, missing, other & value.rlike(_NAN), other & value.rlike(_INFINITE))


def _encoding(parsed: DataFrame) -> tuple[Column, Column]:
    """Whether all text of a record is UTF-8, and the record; a line is made valid."""
    raw, kind = F.col("raw"), parsed.schema["raw"].dataType
    if not isinstance(kind, StructType):
        return F.is_valid_utf8(raw), F.make_valid_utf8(raw)
    texts = [raw.getField(f.name) for f in kind.fields if isinstance(f.dataType, StringType)]
    valid = [F.coalesce(F.is_valid_utf8(text), F.lit(True)) for text in texts]
    return reduce(Column.__and__, valid, F.lit(True)), raw


def _event_weight(weights: dict[str, float]) -> Column:
    """The weight of the row's event, null for a type that has none; 1 without types."""
    if not weights:
        return F.lit(1.0)
    event = F.trim("event")
    cases = [F.when(event == name, F.lit(float(weight))) for name, weight in weights.items()]
    return F.coalesce(*cases)


def _broken(
    rules: ValidationRules,
    value: _Value,
    weight: Column,
    user_type: str,
    item_type: str,
    now: datetime,
) -> list[Column]:
    checks = {
        **_id_checks("user", user_type, rules.max_id_bytes),
        **_id_checks("item", item_type, rules.max_id_bytes),
        **_value_checks(value, value.number * weight, rules),
        "unknown_event": weight.isNull(),
        **_time_checks(rules, now),
    }
    return [F.when(check, F.lit(reason)) for reason, check in checks.items()]


def _id_checks(side: str, kind: str, max_bytes: int) -> dict[str, Column]:
    text, no_id = F.col(side), F.col(f"{side}_bad")
    empty = ~no_id & (text.isNull() | (F.trim(text) == ""))
    wrong = typed_id(text, kind).isNull() if kind == "bigint" else text.rlike(_CONTROL)
    return {
        f"empty_{side}": empty,
        f"bad_{side}": no_id | (~empty & wrong),
        f"long_{side}": F.octet_length(text) > max_bytes,
    }


def _value_checks(value: _Value, weighed: Column, rules: ValidationRules) -> dict[str, Column]:
    number = value.number
    overflow = F.coalesce(weighed, number).isin(float("inf"), float("-inf"))
    limits = [number < rules.min_value] if rules.min_value is not None else []
    limits += [number > rules.max_value] if rules.max_value is not None else []
    return {
        "missing_value": value.missing,
        "bad_value": ~value.missing & ~value.nan & ~value.infinite & number.isNull(),
        "nan_value": value.nan,
        "infinite_value": value.infinite | overflow,
        "out_of_range": reduce(Column.__or__, limits, F.lit(False)),
    }


def _time_checks(rules: ValidationRules, now: datetime) -> dict[str, Column]:
    time = F.col("timestamp")
    too_old = time < _utc(rules.min_timestamp)
    return {
        "bad_timestamp": F.col("has_timestamp") & (time.isNull() | too_old),
        "future_timestamp": time > _utc(now + timedelta(hours=rules.max_future_hours)),
    }


def _utc(time: datetime) -> Column:
    """A literal of the session's time zone, which is UTC; a naive time is meant in UTC."""
    if time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    return F.lit(time.isoformat(sep=" ")).cast("timestamp")


def _kept(ingest: Ingest) -> Column:
    conditions = [_fulfils(f) for f in ingest.filters]
    if ingest.since is not None:
        conditions.append(F.col("timestamp") >= _utc(ingest.since))
    if ingest.until is not None:
        conditions.append(F.col("timestamp") < _utc(ingest.until))
    return F.coalesce(reduce(Column.__and__, conditions, F.lit(True)), F.lit(False))


def _fulfils(condition: Filter) -> Column:
    text = F.col("filtered_on").getField(condition.column)
    value = condition.value
    if condition.op in ("is_null", "not_null"):
        return text.isNull() if condition.op == "is_null" else text.isNotNull()
    if isinstance(value, list):
        among = reduce(Column.__or__, [_equal(text, one) for one in value], F.lit(False))
        return among if condition.op == "in" else ~among
    assert value is not None
    if condition.op in ("eq", "ne"):
        return _equal(text, value) if condition.op == "eq" else ~_equal(text, value)
    comparable = text if isinstance(value, str) else text.try_cast("double")
    compare = {"lt": Column.__lt__, "le": Column.__le__, "gt": Column.__gt__, "ge": Column.__ge__}
    return compare[condition.op](comparable, value)


def _equal(text: Column, value: Scalar) -> Column:
    if isinstance(value, bool):
        return F.lower(text) == str(value).lower()
    return text == value if isinstance(value, str) else text.try_cast("double") == value
