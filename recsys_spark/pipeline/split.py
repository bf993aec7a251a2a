"""Wiring of split: interactions to train, validation, test (and fold_in)."""

from collections.abc import Callable

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from recsys_spark.config import Split
from recsys_spark.errors import ContractError
from recsys_spark.kernels.als.spec import SIDES
from recsys_spark.pipeline.context import Keep, Run, Summary, Workspace
from recsys_spark.pipeline.published_split import (
    PublishedSplit,
    predefined_candidates,
    predefined_parts,
)
from recsys_spark.report.words import split_sentence
from recsys_spark.schema import PAIRS, RATINGS
from recsys_spark.splitting.overlap import overlap
from recsys_spark.splitting.split import PARTS, UNUSED
from recsys_spark.splitting.split import split as assign_parts

# Writes a frame as a table of the run: how many rows it has.
Write = Callable[[DataFrame, str, StructType], int]


def split(run: Run) -> Summary:
    """Write the parts, after checking that they are disjoint and together the input.

    Those of a predefined split are what its files say, and may overlap.
    """
    config, work, interactions = run.config, run.workspace, run.read("interactions")
    method = config.split.method
    work.log.progress(f"splitting by {method}")

    def write(frame: DataFrame, table: str, schema: StructType) -> int:
        return run.write(frame, table, schema).rows

    if method == "none":
        summary = _undivided(config.split, interactions, write)
    elif method == "predefined":
        ids = {side: run.read(f"{side}_ids") for side in SIDES}
        published = PublishedSplit(config, work.spark, interactions, ids)
        summary = _divided(config.split, predefined_parts(published), work, write)
        if config.split.predefined.negatives is not None:
            candidates = predefined_candidates(published)
            summary["rows"]["negatives"] = write(candidates, "negatives", PAIRS)
    else:
        assigned, rows = assign_parts(interactions, config.split), run.rows("interactions")
        summary = _divided(config.split, assigned, work, write, rows)
    work.log.info(split_sentence(summary))
    work.tracker.metrics({f"split.{part}_rows": count for part, count in summary["rows"].items()})
    return summary


def _undivided(config: Split, interactions: DataFrame, write: Write) -> Summary:
    """All interactions train; there is nothing to check."""
    tagged = assign_parts(interactions, config)
    cold = dict.fromkeys(("users", "user_rows", "items", "item_rows"), 0)
    others = dict.fromkeys(("in_both", "older_than_training", "unused", "dropped"), 0)
    return {"method": "none", "rows": _write_parts(config, tagged, write), "cold": cold, **others}


def _divided(
    config: Split, assigned: DataFrame, work: Workspace, write: Write, complete: int | None = None
) -> Summary:
    """assigned: interactions, with a column part. complete: how many pairs there have to be."""
    tagged, counts = _keep_parts(assigned, work.keep)
    row = overlap(tagged).first()
    assert row is not None
    found = row.asDict(recursive=True)
    pairs = found.pop("pairs")
    if complete is not None:
        _check_complete(complete, pairs, counts)
    _require_rows(counts)
    kept = _without_cold(tagged) if config.drop_cold else tagged
    rows = _write_parts(config, kept, write)
    unused = counts.pop(UNUSED, 0)
    dropped = sum(counts[part] - rows[part] for part in counts)
    return {"method": config.method, "rows": rows, **found, "unused": unused, "dropped": dropped}


def _write_parts(config: Split, tagged: DataFrame, write: Write) -> dict[str, int]:
    """How many rows each part has. tagged: interactions, with a column part."""
    rows = {}
    for part in PARTS:
        if part == "fold_in" and config.method != "user_holdout":
            continue
        ordered = tagged.where(F.col("part") == part).sortWithinPartitions("user", "item")
        rows[part] = write(ordered, part, RATINGS)
    return rows


def _keep_parts(assigned: DataFrame, keep: Keep) -> tuple[DataFrame, dict[str, int]]:
    """The rows, kept, and the number of those of each part that has some."""
    seen = Observation("parts")
    parts = (F.count_if(F.col("part") == part).alias(part) for part in (*PARTS, UNUSED))
    tagged = keep(assigned.observe(seen, *parts), "parts")
    return tagged, {part: count for part, count in seen.get.items() if count}


def _check_complete(rows: int, pairs: int, counts: dict[str, int]) -> None:
    """Every interaction in exactly one part."""
    if not sum(counts.values()) == rows == pairs:
        raise RuntimeError(f"The parts {counts} are not a partition of {rows} rows ({pairs} pairs)")


def _require_rows(counts: dict[str, int]) -> None:
    for part in ("train", "test"):
        if not counts.get(part):
            raise ContractError(
                f"The split leaves no {part} rows of {sum(counts.values()):,}; change split.method "
                "or its shares."
            )


def _known(tagged: DataFrame, side: str) -> DataFrame:
    parts = ("train", "fold_in") if side == "user" else ("train",)
    return tagged.where(F.col("part").isin(*parts)).select(side).distinct()


def _without_cold(tagged: DataFrame) -> DataFrame:
    tested = tagged.where(F.col("part").isin("test", "validation"))
    for side in ("user", "item"):
        tested = tested.join(_known(tagged, side), side, "left_semi")
    rest = tagged.where(~F.col("part").isin("test", "validation"))
    return rest.unionByName(tested)
