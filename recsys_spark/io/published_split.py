"""Opening splits that others have published: their files as records of one shape.

Every line becomes one or more records of two to four fields between tabs, user, item, value and
time, so that the events of a predefined split pass the same rules as any others. What separates the
fields, how many there are, and whether a first line names them, is read off the first two lines.
"""

import re
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.config import Filter, Source
from recsys_spark.config.splitting import Predefined
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.io.csv import parse_lines
from recsys_spark.io.events import Events, event_fields, wanted_columns
from recsys_spark.io.fields import locate
from recsys_spark.io.files import find_files, fingerprint
from recsys_spark.io.lines import look_at, read_lines

_COLUMNS = ("user", "item", "value", "timestamp")
_SEPARATORS = ("::", "\t", ",", ";")
_SPACE = r"\s+"
_LOOKED_AT = 20  # lines
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def open_predefined(
    spark: SparkSession, predefined: Predefined, source: Source, filters: list[Filter]
) -> dict[str, Events]:
    """The events of train and test; of `source` the types of the ids are kept.

    Raises ConfigError for a path that is not set or names nothing, ContractError for an empty file
    or lines without two fields.
    """
    lines = {part: _lines(spark, predefined, part) for part in ("train", "test")}
    shapes = {part: _look(frame, f"split.predefined.{part}") for part, frame in lines.items()}
    if predefined.format == "adjacency":
        parts, fields = {part: _adjacent(lines[part], shapes[part]) for part in lines}, 2
    else:
        fields = min(len(shape.fields) for shape in shapes.values())
        if fields == 4 and not all(_is_number(shape.fields[3]) for shape in shapes.values()):
            fields = 3
        parts = {part: _listed(lines[part], shapes[part], fields) for part in lines}
    paths = {name: getattr(predefined, name) for name in ("train", "test", "negatives")}
    read = {f"split.predefined.{name}": path for name, path in paths.items() if path}
    prints = [predefined.format, *(fingerprint(*named, lambda: spark) for named in read.items())]
    shape = _source(predefined, source, fields)
    return {
        part: Events(shape, _fields(records, shape, fields, filters), fingerprint="|".join(prints))
        for part, records in parts.items()
    }


def _fields(records: DataFrame, source: Source, fields: int, filters: list[Filter]) -> DataFrame:
    """The records as the rules judge them."""
    wanted, filtered = wanted_columns(source, filters)
    at = locate(wanted, [str(place) for place in range(fields)], "split.predefined")
    lines = records.withColumn("open", F.lit(False))
    return event_fields(parse_lines(lines, source, fields, wanted, at, {}), source, filtered)


def open_negatives(spark: SparkSession, predefined: Predefined) -> DataFrame:
    """Columns user and item, as text: the items that a user's test items are ranked among.

    A line names the user, or in parentheses the user and the test item, and then the negatives.
    """
    lines = _lines(spark, predefined, "negatives")
    shape = _look(lines, "split.predefined.negatives")
    fields = F.split(F.trim("raw"), shape.pattern)
    user = F.regexp_replace(fields[0], r"^\(\s*([^,]+?)\s*,.*\)$", "$1")
    pairs = lines.select(
        user.alias("user"), F.explode(F.slice(fields, 2, F.size(fields))).alias("item")
    )
    return pairs.where("item != ''")


@dataclass(frozen=True)
class _Shape:
    """pattern: a regular expression of what stands between fields. fields: of the first row.

    header: the line that names the fields, if there is one.
    """

    pattern: str
    fields: list[str]
    header: str | None


def _lines(spark: SparkSession, predefined: Predefined, part: str) -> DataFrame:
    path = getattr(predefined, part)
    if path is None:
        raise ConfigError(f"split.predefined.{part} is not set: name the {part} file of the split.")
    text = look_at(
        find_files(f"split.predefined.{part}", path, lambda: spark), "split.predefined", "utf-8"
    )
    return read_lines(spark, text).drop("block").where("trim(raw) != ''")


def _look(lines: DataFrame, key: str) -> _Shape:
    rows = [row["raw"] for row in lines.limit(_LOOKED_AT).collect()]
    if not rows:
        raise ContractError(f"The file of {key} is empty.")
    marks = (mark for mark in _SEPARATORS if any(mark in row.strip() for row in rows))
    pattern = next((re.escape(mark) for mark in marks), _SPACE)
    split = [(row, re.split(pattern, row.strip())[:4]) for row in rows]
    paired = [(row, fields) for row, fields in split if len(fields) > 1]
    if not paired:
        raise ContractError(
            f"The lines of {key} begin with {rows[0][:60]!r}, which has no second field; they need "
            "a user and an item, between tabs, commas, '::' or spaces."
        )
    (first, one), (_, two) = paired[0], paired[min(1, len(paired) - 1)]
    named = any(_is_number(b) and not _is_number(a) for a, b in zip(one, two, strict=False))
    return _Shape(pattern, two, first) if named else _Shape(pattern, one, None)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _adjacent(lines: DataFrame, shape: _Shape) -> DataFrame:
    """A record for each item behind a user; a user without items gives none."""
    fields = F.split(F.trim("raw"), shape.pattern)
    items = lines.select(
        fields[0].alias("user"),
        F.explode(F.slice(fields, 2, F.size(fields))).alias("item"),
        "source_file",
    )
    record = F.concat_ws("\t", "user", "item").alias("raw")
    return items.where("item != ''").select(record, "source_file")


def _listed(lines: DataFrame, shape: _Shape, fields: int) -> DataFrame:
    """The first fields of each line; too few of them make a record that the rules reject."""
    rows = lines if shape.header is None else lines.where(F.col("raw") != shape.header)
    kept = F.slice(F.split(F.trim("raw"), shape.pattern), 1, fields)
    return rows.select(F.concat_ws("\t", kept).alias("raw"), "source_file")


def _source(predefined: Predefined, source: Source, fields: int) -> Source:
    columns = {name: at if at < fields else None for at, name in enumerate(_COLUMNS)}
    types = source.model_dump(include={"user_id_type", "item_id_type"})
    shape = {"format": "csv", "separator": "\t", "quote": "", "header": False}
    return Source.model_validate({"path": predefined.train, "columns": columns, **shape, **types})
