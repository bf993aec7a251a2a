"""Wiring of ingest: source files to interactions, rejects and the id dictionaries."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from recsys_spark.config import Source
from recsys_spark.errors import ContractError
from recsys_spark.ingest.duplicates import combine_duplicates
from recsys_spark.ingest.histograms import binned, tallies
from recsys_spark.ingest.ids import extend_sides
from recsys_spark.ingest.k_core import k_core
from recsys_spark.ingest.validation_rules import REASONS, apply_rules
from recsys_spark.io.events import Events
from recsys_spark.io.records import record_text
from recsys_spark.io.side_tables import read_items
from recsys_spark.kernels.metrics.exposure import lorenz_curve
from recsys_spark.pipeline.context import Run, Summary
from recsys_spark.pipeline.side_tables import check_match, marked, with_given
from recsys_spark.schema import ID_TYPES, REJECTS, ids, interactions, items

_REJECTED = "size(reasons) > 0"


def ingest(run: Run, source: Events) -> Summary:
    """Check every row, keep the rejected ones apart, index the ids, write sorted pairs.

    Raises ContractError if the source is empty, too many rows are rejected, or none is left.
    """
    config = run.config.ingest
    types = {side: _id_type(source, side) for side in ("user", "item")}
    user_type, item_type = types["user"].simpleString(), types["item"].simpleString()
    files = "a file" if source.files == 1 else f"{source.files:,} files"
    run.log.progress(f"reading and checking the rows of {files}")
    ruled = apply_rules(source.frame, config, user_type, item_type, datetime.now(UTC))
    checked, counts = _checked(run, ruled)
    run.write(checked.where(_REJECTED), "rejects", REJECTS)
    _enforce(run, counts, source)

    run.log.progress("combining duplicates and filtering")
    pairs, counts["combined"] = _pairs(run, checked.where(f"NOT ({_REJECTED})"))

    run.log.progress("indexing ids")
    new = _write_ids(run, pairs, types)
    values = _write_interactions(run, pairs, types)
    if run.config.items.path is not None:
        _write_items(run, types["item"])
    origin = {"source": source.source.path, "guessed": _guessed(run, types)}
    return origin | _report(run, counts, values, new)


def _id_type(events: Events, side: str) -> DataType:
    source = events.source
    chosen = source.user_id_type if side == "user" else source.item_id_type
    if chosen == "auto":
        chosen = "long" if side in events.numeric else "string"
    return ID_TYPES[chosen]


def _guessed(run: Run, types: dict[str, DataType]) -> list[str]:
    """Settings of the source that are `auto`, with what was taken."""
    source, names = run.config.ingest.source, {kind: name for name, kind in ID_TYPES.items()}
    keys = {f"{side}_id_type": names[kind] for side, kind in types.items()}
    return [f"{key} is {name}" for key, name in keys.items() if getattr(source, key) == "auto"]


def _checked(run: Run, ruled: DataFrame) -> tuple[DataFrame, dict[str, int]]:
    """The rows that are kept or rejected, and counts of all; the source is read this once.

    Only rejected rows keep their text and file.
    """
    seen, rejected = Observation("ingest"), F.expr(_REJECTED)
    observed = ruled.observe(
        seen,
        F.count(F.lit(1)).alias("read"),
        F.count_if(rejected).alias("rejected"),
        F.count_if(~rejected & ~F.col("kept")).alias("filtered"),
        *(F.count_if(F.array_contains("reasons", r)).alias(r) for r in REASONS),
    )
    texts = {"raw": record_text(observed), "source_file": F.col("source_file")}
    origin = [F.when(rejected, text).alias(name) for name, text in texts.items()]
    columns = ("reasons", "user_id", "item_id", "value", "timestamp")
    kept = run.keep(observed.where(rejected | F.col("kept")).select(*origin, *columns), "checked")
    return kept, {name: int(value) for name, value in seen.get.items()}


def _enforce(run: Run, counts: dict[str, int], events: Events) -> None:
    thresholds, path = run.config.ingest.thresholds, events.source.path
    if counts["read"] == 0:
        raise ContractError(f"{path} holds no rows: it is empty, or has a header alone.")
    broken = [
        text
        for text in (
            _over(
                "rows",
                counts["rejected"],
                counts["read"],
                thresholds.max_rejected_fraction,
                thresholds.max_rejected_rows,
            ),
            *(
                _over(reason, counts.get(reason, 0), counts["read"], limit.fraction, limit.rows)
                for reason, limit in thresholds.per_rule.items()
            ),
        )
        if text
    ]
    if counts["rejected"] == counts["read"] and not broken:
        broken = [f"all {counts['read']:,} rows rejected"]
    if broken:
        command = run.config.command(f"show rejects --run-id {run.run_id}")
        hints = "".join(f"{hint}\n" for hint in _hints(run, counts, events))
        raise ContractError(
            f"{path} breaks its contract: {'; '.join(broken)}.\n{reason_table(counts)}\n{hints}"
            f"The rejected rows are kept: `{command}`. "
            "Correct the source or the mapping under ingest.source, or raise ingest.thresholds."
        )


def _over(
    what: str, rejected: int, read: int, fraction: float | None, rows: int | None
) -> str | None:
    share = rejected / read
    if fraction is not None and share > fraction:
        return f"{rejected:,} of {read:,} {what} rejected ({share:.1%}, allowed {fraction:.1%})"
    if rows is not None and rejected > rows:
        return f"{rejected:,} {what} rejected (allowed {rows:,})"
    return None


def _hints(run: Run, counts: dict[str, int], events: Events) -> Iterator[str]:
    """What rules that reject all rows, or most of them, point at."""
    source, read = events.source, counts["read"]
    columns, unit = source.columns, source.timestamp_unit
    if counts["future_timestamp"] == read:
        yield f"All times lie in the future: ingest.source.timestamp_unit is {unit}; is it finer?"
    if counts["bad_timestamp"] == read and columns.timestamp not in _missing(events):
        yield (
            f"No time can be read, or all are before 1990: ingest.source.timestamp_unit is {unit}; "
            "iso reads 2024-01-31 and 2024-01-31T10:00:00Z, the others numbers since 1970."
        )
    for key, column in columns.model_dump().items():
        if column in _missing(events):
            keys = ", ".join(repr(name) for name in events.keys)
            yield f"ingest.source.columns.{key} is {column!r}; the first object has {keys}."
    if counts["bad_value"] > read // 2 and source.decimal == ".":
        yield from _about_commas(_example(run, "bad_value"))
    if counts["malformed_row"] > read // 2 and source.format == "csv":
        yield _about_fields(source, _example(run, "malformed_row"))
    if counts["bad_encoding"]:
        yield f"Text is not {source.encoding}: set ingest.source.encoding, such as latin-1."


def _missing(events: Events) -> set[str | int]:
    """Columns that no key of the first JSON object is called."""
    named = {c for c in events.source.columns.model_dump().values() if c is not None}
    return named - set(events.keys) if events.keys else set()


def _example(run: Run, reason: str) -> str:
    """A record that was rejected for this reason."""
    rejected = run.read("rejects").where(F.array_contains("reasons", reason))
    row = rejected.agg(F.min("raw").alias("raw")).first()
    return str(row["raw"]) if row else ""


def _about_commas(raw: str) -> Iterator[str]:
    """What commas inside numbers may be: before three digits they may part thousands."""
    if re.search(r"\d,(?!\d{3}(?!\d))\d", raw):
        yield "Values have decimal commas: set ingest.source.decimal: ','."
    elif re.search(r"\d,\d", raw):
        yield f"Values have commas, as in {raw[:60]!r}: marks of thousands are not read."


def _about_fields(source: Source, raw: str) -> str:
    if source.quote and source.quote in raw:
        return (
            f"A csv record is a line: where a quotation is not closed on it, as in {raw[:60]!r}, "
            "all lines up to the next mark are malformed. If marks are text, set "
            "ingest.source.quote: ''."
        )
    return f"Rows have another number of fields than the first line, as in {raw[:60]!r}."


def reason_table(counts: dict[str, Any]) -> str:
    """The reasons that occurred, most frequent first, a line each."""
    found = sorted(((counts.get(r, 0), r) for r in REASONS if counts.get(r)), reverse=True)
    return "\n".join(f"  {reason:<17} {count:>12,}" for count, reason in found)


def _pairs(run: Run, accepted: DataFrame) -> tuple[DataFrame, int]:
    """One row a pair, filtered to the core; and how many duplicate rows were combined."""
    config, least = run.config.ingest, run.config.ingest.min_pair_value
    is_kept = F.lit(True) if least is None else F.col("value") >= least
    seen = Observation("pairs")
    observed = combine_duplicates(accepted, config.duplicates).observe(
        seen,
        F.sum(F.col("events") - 1).alias("combined"),
        F.count_if(F.col("events") > 1).alias("repeated"),
        F.count_if(is_kept).alias("kept"),
    )
    pairs, found = run.keep(observed.where(is_kept), "pairs"), seen.get
    if config.duplicates == "error" and found["repeated"]:
        raise ContractError(
            f"{found['repeated']:,} user-item pairs occur more than once and ingest.duplicates is "
            "error; choose last, max, sum, mean or count, or correct the source."
        )
    core = k_core(pairs, config.min_user_items, config.min_item_users, run.keep)
    if not found["kept"] or (core is not pairs and core.isEmpty()):
        raise ContractError(
            "No interaction is left after the rules and filters; look at ingest.filters, since, "
            "until, min_pair_value, min_user_items and min_item_users."
        )
    return core, int(found["combined"] or 0)


def _write_ids(run: Run, pairs: DataFrame, types: dict[str, DataType]) -> dict[str, int]:
    """Both dictionaries, with the ids of earlier runs; and how many ids are new, by side."""
    newest = run.runs.newest("ingest")
    before = newest.run_id if newest else None
    known = {side: _known_ids(run, side, types[side], before) for side in types}
    found = {side: pairs.select(F.col(f"{side}_id").alias("id")) for side in types}
    extended = extend_sides({side: (found[side], known[side]) for side in types})
    new = {}
    for side, frame in extended.items():
        rows = run.write(frame, f"{side}_ids", ids(types[side])).rows
        new[side] = rows - (run.tables.version(f"{side}_ids", before).rows if before else 0)
    return new


def _known_ids(run: Run, side: str, id_type: DataType, before: str | None) -> DataFrame | None:
    """The dictionary of the last run, if there is one and its ids are of the same type."""
    if before is None:
        return None
    known = run.tables.read(f"{side}_ids", before)
    if known.schema["id"].dataType != id_type:
        raise ContractError(
            f"The {side} ids of this root are {known.schema['id'].dataType.simpleString()} since "
            f"run {before} and {id_type.simpleString()} in this source; "
            f"set ingest.source.{side}_id_type, or use another paths.root."
        )
    return known


def _write_interactions(run: Run, pairs: DataFrame, types: dict[str, DataType]) -> list[float]:
    """Sorted by user, a user's rows in one file, so that later stages read them together.

    The least and the largest value.
    """
    indexed = pairs
    for side in ("user", "item"):
        index = run.read(f"{side}_ids").toDF(f"{side}_id", side)
        indexed = indexed.join(index, f"{side}_id")
    sorted_ = indexed.repartition("user").sortWithinPartitions("user", "item")
    seen = Observation("interactions")
    least, largest = F.min("value").alias("least"), F.max("value").alias("largest")
    observed = sorted_.observe(seen, least, largest)
    run.write(observed, "interactions", interactions(types["user"], types["item"]))
    return [seen.get["least"], seen.get["largest"]]


def _write_items(run: Run, item_type: DataType) -> None:
    """A row for each item of the file; refused if the interactions have none of them."""
    config, known = run.config.items, run.read("item_ids").select("id")
    rows, seen = read_items(run.spark, config, run.log.warning), Observation("items")
    named = _named_once(with_given(rows, "item_id", known))
    observed = named.join(marked(known, "item_id"), "item_id", "left").observe(
        seen,
        F.sum("rows").alias("rows"),
        F.sum(F.when(F.col("found"), F.col("rows"))).alias("good"),
        F.min("given").alias("given"),
    )
    genres = F.split("name.genres", f"\\Q{config.genre_separator}\\E").alias("genres")
    names = observed.dropna(subset=["item_id"]).select("item_id", "name.title", genres)

    def check(_: DataFrame) -> dict[str, Any]:
        check_match(run.log, "items", "item_id", known, seen.get)
        return {}

    run.write(names, "items", items(item_type), check)


def _named_once(rows: DataFrame) -> DataFrame:
    """A row an item: its first name, how many rows it has, and one of the ids as they are given."""
    return rows.groupBy("item_id").agg(
        F.min(F.struct("title", "genres")).alias("name"),
        F.count("*").alias("rows"),
        F.min("given").alias("given"),
    )


def _report(run: Run, counts: dict[str, int], values: list[float], new: dict[str, int]) -> Summary:
    found = tallies(run.read("interactions"))
    total = {name: sum(tally.values()) for name, tally in found.items()}
    summary: Summary = {
        "rows_read": counts["read"],
        "rows_rejected": counts["rejected"],
        "rows_filtered": counts["filtered"],
        "reasons": {r: counts[r] for r in REASONS if counts[r]},
        "duplicates_combined": counts["combined"],
        "interactions": total["values"],
        "users": total["activity"],
        "items": total["popularity"],
        "values": values,
        "new_users": new["user"],
        "new_items": new["item"],
    }
    run.log.info(
        f"{counts['read']:,} rows read, {counts['rejected']:,} rejected, "
        f"{counts['combined']:,} duplicates combined: {total['values']:,} interactions of "
        f"{total['activity']:,} users with {total['popularity']:,} items"
    )
    run.tracker.metrics({f"ingest.{k}": v for k, v in summary.items() if isinstance(v, int)})
    popularity = np.array(list(found["popularity"].items()), np.int64)
    spread = {name: binned(found[name]) for name in ("values", "activity", "days")}
    return summary | {"long_tail": lorenz_curve(*popularity.T), "histograms": spread}
