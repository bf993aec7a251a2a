"""Wiring of slices: lists of users by ascending id, of whom a part is written at a time."""

from collections.abc import Callable, Iterator
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.pipeline.run import Run
from recsys_spark.runtime.slices import Slices
from recsys_spark.topn.catalog import Tally
from recsys_spark.topn.recommend import Layout

MB = 2**20
_ENTRY = 6  # bytes of an entry of a list in Parquet, about; measured 5.9


def plan_layout(run: Run, users: int) -> Layout:
    """The files for the lists of at most so many users."""
    config = run.config.recommend
    slices = max(1, -(-users // config.slice_users))
    files = -(-users * config.n * _ENTRY // (config.file_mb * MB * slices))
    parts = max(run.spark.sparkContext.defaultParallelism, files)
    return Layout(parts, slices, config.buckets)


def not_written(slices: Slices, frame: DataFrame) -> DataFrame:
    """The rows of users behind the slices that are written. frame: column user_id."""
    through = slices.progress.through
    return frame if through is None else frame.where(F.col("user_id") > F.lit(through))


def write_slices(
    run: Run,
    slices: Slices,
    layout: Layout,
    rows: DataFrame,
    rank: Callable[[DataFrame], DataFrame],
    kept: DataFrame | None,
    tally: Tally,
) -> None:
    """Write the lists of `rows`, which are from `gather`, and those of `kept`, slice by slice.

    rows, kept: of users behind what is written already. rank: makes lists of rows. kept: lists that
    stay as they are. tally: of what `rank` does; it is noted with each slice.
    """
    for own, last in _parted(run, rows, layout):
        before = tally.counts()
        lists = rank(own)
        if kept is not None:
            some = not_written(slices, kept)
            some = some if last is None else some.where(F.col("user_id") <= F.lit(last))
            lists = lists.unionByName(layout.arrange(some) if layout.buckets else some)
        place = len(slices.progress.notes) + 1
        run.log.progress(f"making lists{f', slice {place}' if layout.slices > 1 else ''}")
        slices.write(lists)
        slices.finish(last, tally.since(before))


def _parted(run: Run, rows: DataFrame, layout: Layout) -> Iterator[tuple[DataFrame, Any]]:
    """The rows of each slice, and the last user id in it; None: nobody follows.

    What several slices are taken from is computed once, and kept as long as the stage lasts.
    """
    if layout.slices == 1:
        yield rows, None
        return
    total = layout.parts * layout.slices
    rows = run.keep(rows.repartitionById(total, F.col("part")), "rows")
    number = F.floor(F.col("part") / layout.parts)
    found = rows.groupBy(number.alias("slice")).agg(F.max("user_id").alias("last"))
    ends = sorted((row["slice"], row["last"]) for row in found.collect()) or [(0, None)]
    for place, (index, last) in enumerate(ends, start=1):
        inside = F.col("part").between(index * layout.parts, (index + 1) * layout.parts - 1)
        yield rows.where(inside), None if place == len(ends) else last
