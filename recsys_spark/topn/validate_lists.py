"""What a table of lists has to be, looked up in the files themselves."""

from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.errors import AuditError


def audit(
    table: DataFrame, key: str, lists: str, n: int, ordered: Column, entry: str = "item_id"
) -> dict[str, Any]:
    """Numbers of lists, of those shorter than n, and of empty ones; by source, if there is one.

    key: column of whose lists they are. lists: column of the lists. ordered: which rows' scores
    have to descend. entry: what stands on the lists.

    Raises AuditError, with how many are at fault, unless every key stands once, ranks are 1, 2, 3
    and so on up to n at most, no list has an item twice or none, scores are finite, and those of
    `ordered` descend.
    """
    size, items, scores = F.size(lists), F.col(f"{lists}.{entry}"), F.col(f"{lists}.score")
    ranks = F.sequence(F.lit(1), size)
    faults = {
        "are missing": F.isnull(lists),
        "are not ranked 1, 2, 3": (size > 0) & ~F.col(f"{lists}.rank").eqNullSafe(ranks),
        f"have more than {n} items": size > n,
        "have an item twice or none": F.size(F.array_distinct(F.array_compact(items))) != size,
        "have scores that are not finite": ~_finite(scores, size),
        "have scores out of order": ordered & ~F.sort_array(scores, False).eqNullSafe(scores),
    }
    counts = [F.count_if(fault).alias(name) for name, fault in faults.items()]
    source = F.col("source") if "source" in table.columns else F.lit("all")
    rows = table.groupBy(source.alias("source")).agg(
        F.count("*").alias("lists"),
        F.count_if(size < n).alias("short"),
        F.count_if(size == 0).alias("empty"),
        *counts,
    )
    found = sorted(rows.collect())
    total = sum(row["lists"] for row in found)
    at_fault = {name: sum(row[name] for row in found) for name in faults}
    at_fault["are for a user who has another"] = total - table.select(key).distinct().count()
    if any(at_fault.values()):
        named = "; ".join(f"{count:,} {name}" for name, count in at_fault.items() if count)
        raise AuditError(f"Of {total:,} lists that were written, {named}. They are not kept.")
    return {
        "lists": total,
        "short": sum(row["short"] for row in found),
        "empty": sum(row["empty"] for row in found),
        "sources": {row["source"]: row["lists"] for row in found},
    }


def _finite(scores: Column, size: Column) -> Column:
    """NaN is the largest of all numbers here, and nulls are left out."""
    bounds = (F.array_min(scores) > -F.lit(float("inf"))) & (F.array_max(scores) < float("inf"))
    return (size == 0) | (bounds & (F.size(F.array_compact(scores)) == size))
