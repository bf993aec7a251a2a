"""Wiring of ingest: source files to interactions, rejects and the id dictionaries."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from recsys_spark.config import Ingest, Items, Source
from recsys_spark.errors import ContractError
from recsys_spark.ingest.duplicates import combine_duplicates
from recsys_spark.ingest.histograms import binned, tallies
from recsys_spark.ingest.ids import extend_sides
from recsys_spark.ingest.k_core import k_core
from recsys_spark.ingest.validation_rules import REASONS, apply_rules
from recsys_spark.io.events import Events
from recsys_spark.io.records import record_text
from recsys_spark.io.side_tables import read_items
from recsys_spark.kernels.als.spec import SIDES
from recsys_spark.kernels.metrics.exposure import lorenz_curve
from recsys_spark.pipeline.context import Keep, Run, Summary, Workspace
from recsys_spark.pipeline.side_tables import check_match, marked, with_given
from recsys_spark.schema import ID_TYPES, REJECTS, ids, interactions, items
from recsys_spark.storage.tables import Check

_REJECTED = "size(reasons) > 0"


@dataclass(frozen=True)
class Inputs:
    """What ingest starts from.

    types: of the ids, by side. before, known: the dictionaries of the newest run, and how many ids
    each has, by side; empty where there is no such run.
    """

    events: Events
    types: Mapping[str, DataType]
    before: Mapping[str, DataFrame]
    known: Mapping[str, int]


def ingest(run: Run, source: Events) -> Summary:
    """Check every row, keep the rejected ones apart, index the ids, write sorted pairs.

    Raises ContractError if the source is empty, too many rows are rejected, or none is left.
    """
    config, work, inputs = run.config.ingest, run.workspace, _read(run, source)
    types = inputs.types
    files = "a file" if source.files == 1 else f"{source.files:,} files"
    work.log.progress(f"reading and checking the rows of {files}")
    checked, counts = _checked(config, inputs, work.keep)
    run.write(checked.where(_REJECTED), "rejects", REJECTS)
    show = run.config.command(f"show rejects --run-id {run.run_id}")
    _enforce(config, counts, source, run.read("rejects"), show)

    work.log.progress("combining duplicates and filtering")
    pairs, counts["combined"] = _pairs(config, checked.where(f"NOT ({_REJECTED})"), work.keep)

    work.log.progress("indexing ids")
    new = {}
    for side, frame in _extended_ids(pairs, inputs).items():
        rows = run.write(frame, f"{side}_ids", ids(types[side])).rows
        new[side] = rows - inputs.known.get(side, 0)
    observed, values = _indexed(pairs, {side: run.read(f"{side}_ids") for side in types})
    run.write(observed, "interactions", interactions(types["user"], types["item"]))
    if run.config.items.path is not None:
        names, check = _items(run.config.items, run.read("item_ids").select("id"), work)
        run.write(names, "items", items(types["item"]), check)
    origin = {"source": source.source.path, "guessed": _guessed(config.source, types)}
    least, largest = values.get["least"], values.get["largest"]
    report = _report(run.read("interactions"), counts, [least, largest], new)
    work.log.info(_sentence(report))
    work.tracker.metrics({f"ingest.{k}": v for k, v in report.items() if isinstance(v, int)})
    return origin | report


def _read(run: Run, events: Events) -> Inputs:
    types = {side: _id_type(events, side) for side in SIDES}
    newest = run.runs.newest("ingest")
    if newest is None:
        return Inputs(events, types, {}, {})
    tables = {side: f"{side}_ids" for side in SIDES}
    before = {side: run.tables.read(table, newest.run_id) for side, table in tables.items()}
    known = {side: run.tables.version(table, newest.run_id).rows for side, table in tables.items()}
    for side, frame in before.items():
        _check_type(side, frame, types[side], newest.run_id)
    return Inputs(events, types, before, known)


def _check_type(side: str, known: DataFrame, id_type: DataType, run_id: str) -> None:
    """Raise ContractError where the ids of the root are of another type."""
    was = known.schema["id"].dataType
    if was != id_type:
        raise ContractError(
            f"The {side} ids of this root are {was.simpleString()} since "
            f"run {run_id} and {id_type.simpleString()} in this source; "
            f"set ingest.source.{side}_id_type, or use another paths.root."
        )


def _id_type(events: Events, side: str) -> DataType:
    source = events.source
    chosen = source.user_id_type if side == "user" else source.item_id_type
    if chosen == "auto":
        chosen = "long" if side in events.numeric else "string"
    return ID_TYPES[chosen]


def _guessed(source: Source, types: Mapping[str, DataType]) -> list[str]:
    """Settings of the source that are `auto`, with what was taken."""
    names = {kind: name for name, kind in ID_TYPES.items()}
    keys = {f"{side}_id_type": names[kind] for side, kind in types.items()}
    return [f"{key} is {name}" for key, name in keys.items() if getattr(source, key) == "auto"]


def _checked(config: Ingest, inputs: Inputs, keep: Keep) -> tuple[DataFrame, dict[str, int]]:
    """The rows that are kept or rejected, and counts of all; the source is read this once.

    Only rejected rows keep their text and file.
    """
    user_type, item_type = (inputs.types[side].simpleString() for side in SIDES)
    ruled = apply_rules(inputs.events.frame, config, user_type, item_type, datetime.now(UTC))
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
    kept = keep(observed.where(rejected | F.col("kept")).select(*origin, *columns), "checked")
    return kept, {name: int(value) for name, value in seen.get.items()}


def _enforce(
    config: Ingest, counts: dict[str, int], events: Events, rejects: DataFrame, show: str
) -> None:
    """Raise ContractError for more rejected rows than allowed. show: a command that shows them."""
    thresholds, path = config.thresholds, events.source.path
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
        hints = "".join(f"{hint}\n" for hint in _hints(counts, events, rejects))
        raise ContractError(
            f"{path} breaks its contract: {'; '.join(broken)}.\n{reason_table(counts)}\n{hints}"
            f"The rejected rows are kept: `{show}`. "
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


def _hints(counts: dict[str, int], events: Events, rejects: DataFrame) -> Iterator[str]:
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
        yield from _about_commas(_example(rejects, "bad_value"))
    if counts["malformed_row"] > read // 2 and source.format == "csv":
        yield _about_fields(source, _example(rejects, "malformed_row"))
    if counts["bad_encoding"]:
        yield f"Text is not {source.encoding}: set ingest.source.encoding, such as latin-1."


def _missing(events: Events) -> set[str | int]:
    """Columns that no key of the first JSON object is called."""
    named = {c for c in events.source.columns.model_dump().values() if c is not None}
    return named - set(events.keys) if events.keys else set()


def _example(rejects: DataFrame, reason: str) -> str:
    """A record that was rejected for this reason."""
    rejected = rejects.where(F.array_contains("reasons", reason))
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


def _pairs(config: Ingest, accepted: DataFrame, keep: Keep) -> tuple[DataFrame, int]:
    """One row a pair, filtered to the core; and how many duplicate rows were combined."""
    least = config.min_pair_value
    is_kept = F.lit(True) if least is None else F.col("value") >= least
    seen = Observation("pairs")
    observed = combine_duplicates(accepted, config.duplicates).observe(
        seen,
        F.sum(F.col("events") - 1).alias("combined"),
        F.count_if(F.col("events") > 1).alias("repeated"),
        F.count_if(is_kept).alias("kept"),
    )
    pairs, found = keep(observed.where(is_kept), "pairs"), seen.get
    if config.duplicates == "error" and found["repeated"]:
        raise ContractError(
            f"{found['repeated']:,} user-item pairs occur more than once and ingest.duplicates is "
            "error; choose last, max, sum, mean or count, or correct the source."
        )
    core = k_core(pairs, config.min_user_items, config.min_item_users, keep)
    if not found["kept"] or (core is not pairs and core.isEmpty()):
        raise ContractError(
            "No interaction is left after the rules and filters; look at ingest.filters, since, "
            "until, min_pair_value, min_user_items and min_item_users."
        )
    return core, int(found["combined"] or 0)


def _extended_ids(pairs: DataFrame, inputs: Inputs) -> dict[str, DataFrame]:
    """Both dictionaries, with the ids of earlier runs."""
    found = {side: pairs.select(F.col(f"{side}_id").alias("id")) for side in inputs.types}
    return extend_sides({side: (found[side], inputs.before.get(side)) for side in found})


def _indexed(pairs: DataFrame, ids: Mapping[str, DataFrame]) -> tuple[DataFrame, Observation]:
    """Sorted by user, a user's rows in one file, so that later stages read them together.

    ids: by side, columns id and index. What is observed: the least and the largest value.
    """
    indexed = pairs
    for side, known in ids.items():
        indexed = indexed.join(known.toDF(f"{side}_id", side), f"{side}_id")
    sorted_ = indexed.repartition("user").sortWithinPartitions("user", "item")
    seen = Observation("interactions")
    least, largest = F.min("value").alias("least"), F.max("value").alias("largest")
    return sorted_.observe(seen, least, largest), seen


def _items(config: Items, known: DataFrame, work: Workspace) -> tuple[DataFrame, Check]:
    """A row for each item of the file; refused if the interactions have none of them."""
    rows, seen = read_items(work.spark, config, work.log.warning), Observation("items")
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
        check_match(work.log, "items", "item_id", known, seen.get)
        return {}

    return names, check


def _named_once(rows: DataFrame) -> DataFrame:
    """A row an item: its first name, how many rows it has, and one of the ids as they are given."""
    return rows.groupBy("item_id").agg(
        F.min(F.struct("title", "genres")).alias("name"),
        F.count("*").alias("rows"),
        F.min("given").alias("given"),
    )


def _report(
    interactions: DataFrame, counts: dict[str, int], values: list[float], new: dict[str, int]
) -> Summary:
    found = tallies(interactions)
    total = {name: sum(tally.values()) for name, tally in found.items()}
    popularity = np.array(list(found["popularity"].items()), np.int64)
    return {
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
        "long_tail": lorenz_curve(*popularity.T),
        "histograms": {name: binned(found[name]) for name in ("values", "activity", "days")},
    }


def _sentence(report: Summary) -> str:
    return (
        f"{report['rows_read']:,} rows read, {report['rows_rejected']:,} rejected, "
        f"{report['duplicates_combined']:,} duplicates combined: {report['interactions']:,} "
        f"interactions of {report['users']:,} users with {report['items']:,} items"
    )
