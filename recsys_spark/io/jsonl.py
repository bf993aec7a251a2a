"""JSON lines: an object a line.

A line is parsed inside two arrays, so that what follows its first value shows: `[[LINE], 0]`.
"""

import json

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from recsys_spark.errors import ContractError
from recsys_spark.io.fields import EXACT, WHOLE, Wanted, WantedColumns, as_number
from recsys_spark.io.files import SourceFile
from recsys_spark.io.lines import TextFiles, read_lines
from recsys_spark.io.records import Records, partition_column

_PLAIN = ("STRING", "BIGINT", "DOUBLE", "DECIMAL", "BOOLEAN", "FLOAT")


def read_jsonl(spark: SparkSession, text: TextFiles, wanted: WantedColumns) -> Records:
    """The records of JSON lines; blank lines are none.

    Raises ContractError for files that hold other JSON: an array, or objects over several lines.
    """
    for file in text.found.files[:1]:
        _check_first(text, file)
    partitions = set(text.found.files[0].partitions)
    lines = read_lines(spark, text).where(F.trim("raw") != "")
    whole = F.try_parse_json(F.concat(F.lit("[["), "raw", F.lit("],0]")))
    parsed = lines.withColumn("parsed", whole)
    malformed = ~F.coalesce(_is_one_object(), F.lit(False))
    columns = [c for key, one in wanted.items() for c in _columns(key, one, partitions)]
    return Records(parsed.select("raw", "source_file", malformed.alias("malformed"), *columns))


def keys_of(text: TextFiles) -> list[str]:
    """The keys of the first object, for messages."""
    try:
        found = json.loads(text.head(text.found.files[0], 1)[0])
    except (ValueError, IndexError):
        return []
    return list(found) if isinstance(found, dict) else []


def _check_first(text: TextFiles, file: SourceFile) -> None:
    lines = text.head(file, 1)
    if not lines:
        raise ContractError(f"{file.name} ({text.found.key}) is empty: there is no row.")
    first = lines[0].strip()
    if first.startswith("{") and first.endswith("}"):
        return
    what = f"begins with {first[:40]!r}"
    if first.startswith("["):
        what = "is one JSON array"
    elif first in ("{", '{"') or first.endswith((",", "{")):
        what = "has JSON objects that go over several lines"
    if first.startswith(("[", "{")):
        raise ContractError(
            f"{file.name} ({text.found.key}) {what}: write an object a line (JSON lines), for "
            f"example with `jq -c '.[]'` for an array or `jq -c .` for objects."
        )
    if not first.startswith("{"):
        raise ContractError(
            f"{file.name} ({text.found.key}) {what}, which is no JSON object: JSON lines have an "
            f"object a line; for another format set {text.section}.format."
        )


def _is_one_object() -> Column:
    parsed = F.col("parsed")
    kind = F.schema_of_variant(F.try_variant_get(parsed, "$[0][0]", "variant"))
    end = F.try_variant_get(parsed, "$[1]", "string")
    more = F.try_variant_get(parsed, "$[0][1]", "variant")
    return kind.startswith("OBJECT") & (end == "0") & more.isNull()


def _columns(key: str, one: Wanted, partitions: set[str]) -> list[Column]:
    if one.name in partitions:
        text = partition_column(one.name)
        bad = [F.lit(False).alias(f"{key}_bad")] if one.role == "id" else []
        return [text.alias(key), *bad]
    path = "$[0][0]" + _step(one.name)
    field = F.try_variant_get(F.col("parsed"), path, "variant")
    text, kind = F.try_variant_get(F.col("parsed"), path, "string"), F.schema_of_variant(field)
    if one.role == "id":
        return _id(key, text, kind)
    if one.role == "labels":
        listed = F.try_variant_get(F.col("parsed"), path, "array<string>")
        joined = F.array_join(listed, one.separator)
        return [F.when(kind.startswith("ARRAY"), joined).otherwise(text).alias(key)]
    return [(as_number(text) if one.role == "number" else text).alias(key)]


def _step(name: str) -> str:
    mark = '"' if "'" in name else "'"
    return f"[{mark}{name}{mark}]"


def _id(key: str, text: Column, kind: Column) -> list[Column]:
    """Whole numbers by their digits; texts as they are; true, lists and objects are no ids."""
    exact = F.abs(text.try_cast("double")) < F.lit(EXACT)
    floating = F.when(exact, text.try_cast("decimal(38,6)").cast("string")).otherwise(text)
    number = F.regexp_replace(F.when(kind == "DOUBLE", floating).otherwise(text), r"\.0+$", "")
    is_number = kind.startswith("DECIMAL") | kind.isin("BIGINT", "DOUBLE", "FLOAT")
    whole = F.when(number.rlike(WHOLE), number)
    value = F.when(kind == "STRING", text).when(is_number, whole)
    return [value.alias(key), (text.isNotNull() & value.isNull()).alias(f"{key}_bad")]
