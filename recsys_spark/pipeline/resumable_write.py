"""Wiring of slices: lists of users by ascending id, a part of them written at a time."""

from collections.abc import Callable, Iterator
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import Recommend
from recsys_spark.pipeline.context import Keep
from recsys_spark.pipeline.execution_plan import MB
from recsys_spark.runtime.log import Log
from recsys_spark.storage.partial_versions import Slices
from recsys_spark.topn.recommend import Lists
from recsys_spark.topn.request import Layout
from recsys_spark.workers import TaskRows

_ENTRY = 6  # bytes of an entry of a list in Parquet, about; measured 5.9


def plan_layout(config: Recommend, users: int, parallelism: int) -> Layout:
    """The files for the lists of at most so many users. parallelism: tasks at a time."""
    slices = max(1, -(-users // config.slice_users))
    files = -(-users * config.n * _ENTRY // (config.file_mb * MB * slices))
    return Layout(max(parallelism, files), slices, config.buckets)


def not_written(slices: Slices, frame: DataFrame) -> DataFrame:
    """The rows of users behind the slices that are written. frame: column user_id."""
    through = slices.progress.through
    return frame if through is None else frame.where(F.col("user_id") > F.lit(through))


def write_slices(
    slices: Slices,
    lists: Lists,
    complete: Callable[[TaskRows], TaskRows],
    kept: DataFrame | None,
    log: Log,
    keep: Keep,
) -> None:
    """Write the lists, and those of `kept`, slice by slice.

    lists: of users behind what is written already, with a layout, and with a tally, which is noted
    with each slice. complete: makes rows of the table of lists. kept: rows of the table that stay
    as they are. keep: of what several slices are taken from.
    """
    layout, tally = lists.request.layout, lists.tally
    assert layout is not None
    assert tally is not None
    for own, last in _parted(lists.rows, layout, keep):
        before = tally.counts()
        made = complete(lists.of(own))
        rows: DataFrame | TaskRows = made
        if kept is not None:
            some = not_written(slices, kept)
            some = some if last is None else some.where(F.col("user_id") <= F.lit(last))
            rows = made.frame().unionByName(layout.arrange(some) if layout.buckets else some)
        place = len(slices.progress.notes) + 1
        log.progress(f"making lists{f', slice {place}' if layout.slices > 1 else ''}")
        slices.write(rows)
        slices.finish(last, tally.since(before))


def _parted(rows: DataFrame, layout: Layout, keep: Keep) -> Iterator[tuple[DataFrame, Any]]:
    """The rows of each slice, and the last user id in it; None: it is the last slice.

    What several slices are taken from is computed once, and kept.
    """
    if layout.slices == 1:
        yield rows, None
        return
    total = layout.parts * layout.slices
    rows = keep(rows.repartitionById(total, F.col("part")), "rows")
    number = F.floor(F.col("part") / layout.parts)
    found = rows.groupBy(number.alias("slice")).agg(F.max("user_id").alias("last"))
    ends = sorted((row["slice"], row["last"]) for row in found.collect()) or [(0, None)]
    for place, (index, last) in enumerate(ends, start=1):
        inside = F.col("part").between(index * layout.parts, (index + 1) * layout.parts - 1)
        yield rows.where(inside), None if place == len(ends) else last
