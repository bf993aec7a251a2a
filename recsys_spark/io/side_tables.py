"""The tables beside the events: names, attributes, and lists of users, items and pairs.

A row that cannot be read is refused, since a list that is read in part would be kept in part; in
the table of names it is left out, with a warning. Ids are text here; `pipeline.side_tables` gives
them the type of the interactions.
"""

from collections.abc import Callable

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys_spark.config import Items, TableFile, UserAttributes, Windows
from recsys_spark.errors import ContractError
from recsys_spark.io.fields import Role, Wanted
from recsys_spark.io.records import with_text
from recsys_spark.io.tables import open_table


def read_rows(
    spark: SparkSession, section: str, table: TableFile, names: dict[str, tuple[str, Role]]
) -> DataFrame:
    """The wanted columns of a table, each row checked. names: key of the column to name and role.

    Raises ContractError for a row that is no record, is not UTF-8, or has no id.
    """
    columns = table.named_columns()
    wanted = {
        name: Wanted(
            _named(columns, key), role, f"{section}.{key.split('.')[0]}"
        )  # of lists: whole
        for key, (name, role) in names.items()
    }
    frame = with_text(open_table(spark, section, table, wanted).frame)
    ids = [name for name, one in wanted.items() if one.role == "id"]
    problems = _unreadable() | {
        what: test
        for name in ids
        for what, test in (
            (f"have no {name}", F.col(f"`{name}`").isNull() & ~F.col(f"`{name}_bad`")),
            (f"have a {name} that is no id", F.col(f"`{name}_bad`")),
        )
    }
    if problem := next(iter(_problems(frame, problems).values()), None):
        raise ContractError(f"{table.path} ({section}.path): {problem}. {_cure(problem, section)}.")
    return frame.select(*(F.col(f"`{name}`") for name in wanted))


def _named(columns: dict[str, str | int | None], key: str) -> str | int:
    column = columns[key]
    assert column is not None
    return column


def _cure(problem: str, section: str) -> str:
    if "UTF-8" in problem:
        return f"Set {section}.encoding, such as latin-1"
    return f"Correct the file or the columns of {section}"


def _unreadable() -> dict[str, Column]:
    encoded = F.is_valid_utf8("raw")
    return {
        "are not UTF-8 or not in the encoding": ~encoded,
        "have more or fewer fields than the header, or are no JSON object": encoded
        & F.col("malformed"),
    }


def _problems(frame: DataFrame, problems: dict[str, Column]) -> dict[str, str]:
    """Of the problems those that rows have, with their number and an example; one job."""
    counts = (
        F.struct(F.count_if(test).alias("rows"), F.min(F.when(test, F.col("raw"))).alias("raw"))
        for test in problems.values()
    )
    row = frame.agg(F.array(*counts).alias("found"), F.count(F.lit(1)).alias("rows")).first()
    assert row is not None
    return {
        what: f"{found['rows']:,} of {row['rows']:,} rows {what}, such as {found['raw'][:80]!r}"
        for what, found in zip(problems, row["found"], strict=True)
        if found["rows"]
    }


def read_items(spark: SparkSession, items: Items, warn: Callable[[str], None]) -> DataFrame:
    """The columns item_id, title, genres (text) of the table of names."""
    columns = items.named_columns()
    roles: dict[str, tuple[str, Role]] = {
        "columns.item": ("item_id", "id"),
        "columns.title": ("title", "text"),
        "columns.genres": ("genres", "labels"),
    }
    wanted = {
        name: Wanted(column, role, f"items.{key}", key.endswith("genres"), items.genre_separator)
        for key, (name, role) in roles.items()
        if (column := columns[key]) is not None
    }
    frame = with_text(open_table(spark, "items", items, wanted).frame)
    encoding, broken = _unreadable()
    problems = _problems(frame, _unreadable())
    if encoding in problems:
        raise ContractError(f"{items.path} (items.path): {problems[encoding]}. Set items.encoding.")
    if broken in problems:
        warn(f"{items.path} (items.path): {problems[broken]}; they are left out")
    if "genres" not in wanted:
        frame = frame.withColumn("genres", F.lit(None).cast("string"))
    return frame.where(~F.col("malformed")).select("item_id", "title", "genres")


def read_user_attributes(spark: SparkSession, users: UserAttributes) -> DataFrame:
    """Columns user_id and the wanted attributes of a table of users, as text."""
    names: dict[str, tuple[str, Role]] = {"user": ("user_id", "id")}
    names |= {f"columns.{name}": (name, "text") for name in users.columns}
    return read_rows(spark, "evaluate.users", users, names)


def read_windows(spark: SparkSession, section: str, table: Windows) -> DataFrame:
    """Columns item_id (text), since and until (times; null: open) of when items are available."""
    names: dict[str, tuple[str, Role]] = {
        "item": ("item_id", "id"),
        "since": ("since", "time"),
        "until": ("until", "time"),
    }
    frame = read_rows(spark, section, table, names)
    times = {name: _written_time(frame, name) for name in ("since", "until")}
    unread = [F.col(name).isNotNull() & time.isNull() for name, time in times.items()]
    if row := frame.where(unread[0] | unread[1]).first():
        raise ContractError(
            f"{table.path} ({section}) has a time that cannot be read, in {row.asDict()}: write "
            "it as 2024-01-31 or 2024-01-31T10:00:00Z."
        )
    if row := frame.where(times["until"] <= times["since"]).first():
        raise ContractError(
            f"{table.path} ({section}) has a window that ends before it begins: {row.asDict()}."
        )
    return frame.select("item_id", *(time.alias(name) for name, time in times.items()))


def _written_time(frame: DataFrame, name: str) -> Column:
    """The time of a text; a whole number is one of seconds since 1970."""
    if frame.schema[name].dataType.simpleString() == "timestamp":
        return F.col(name)
    seconds = F.timestamp_seconds(F.col(name).try_cast("decimal(20,6)"))
    return F.coalesce(F.try_to_timestamp(name), seconds)
