"""Wiring of split: interactions to train, validation, test (and fold_in)."""

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from recsys_spark.errors import ContractError
from recsys_spark.pipeline.context import Run, Summary
from recsys_spark.pipeline.published_split import given_candidates, given_parts
from recsys_spark.report.words import split_sentence
from recsys_spark.schema import PAIRS, RATINGS
from recsys_spark.splitting.overlap import overlap
from recsys_spark.splitting.split import PARTS, UNUSED
from recsys_spark.splitting.split import split as assign_parts


def split(run: Run) -> Summary:
    """Write the parts, after checking that they are disjoint and together the input.

    Those of a given split are what its files say, and may overlap.
    """
    config = run.config.split
    run.log.progress(f"splitting by {config.method}")
    summary = _undivided(run) if config.method == "none" else _divided(run)
    run.log.info(split_sentence(summary))
    run.tracker.metrics({f"split.{part}_rows": count for part, count in summary["rows"].items()})
    return summary


def _undivided(run: Run) -> Summary:
    """All interactions train; there is nothing to check."""
    tagged = assign_parts(run.read("interactions"), run.config.split)
    cold = dict.fromkeys(("users", "user_rows", "items", "item_rows"), 0)
    others = dict.fromkeys(("in_both", "older_than_training", "unused", "dropped"), 0)
    return {"method": "none", "rows": _write_parts(run, tagged), "cold": cold, **others}


def _divided(run: Run) -> Summary:
    config, given = run.config.split, run.config.split.method == "given"
    assigned = given_parts(run) if given else assign_parts(run.read("interactions"), config)
    tagged, counts = _keep_parts(run, assigned)
    row = overlap(tagged).first()
    assert row is not None
    found = row.asDict(recursive=True)
    pairs = found.pop("pairs")
    if not given:
        _check_complete(run.rows("interactions"), pairs, counts)
    _require_rows(counts)
    rows = _write_parts(run, tagged if not config.drop_cold else _without_cold(tagged))
    if config.given.negatives is not None:
        rows["negatives"] = run.write(given_candidates(run), "negatives", PAIRS).rows
    unused = counts.pop(UNUSED, 0)
    dropped = sum(counts[part] - rows[part] for part in counts)
    return {"method": config.method, "rows": rows, **found, "unused": unused, "dropped": dropped}


def _write_parts(run: Run, tagged: DataFrame) -> dict[str, int]:
    """How many rows each part has. tagged: interactions, with a column part."""
    rows = {}
    for part in PARTS:
        if part == "fold_in" and run.config.split.method != "user_holdout":
            continue
        ordered = tagged.where(F.col("part") == part).sortWithinPartitions("user", "item")
        rows[part] = run.write(ordered, part, RATINGS).rows
    return rows


def _keep_parts(run: Run, assigned: DataFrame) -> tuple[DataFrame, dict[str, int]]:
    """The rows, kept, and the number of those of each part that has some."""
    seen = Observation("parts")
    parts = (F.count_if(F.col("part") == part).alias(part) for part in (*PARTS, UNUSED))
    tagged = run.keep(assigned.observe(seen, *parts), "parts")
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
