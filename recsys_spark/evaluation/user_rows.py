"""One row a user with all that evaluating needs: its history, what else is known, what is true."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrow import list_array, list_parts
from recsys_spark.topn.blocks import WEIGHTS

_HISTORY, _KNOWN, _TRUTH = range(3)
_KINDS = 4  # a code is that many times the item, and its kind
PACKED = "codes", "code_values"
UNPACKED = "history", "known", "truth"
_CODES, _VALUES = PACKED

Mask = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]


def gather_users(
    history: DataFrame,
    known: DataFrame | None,
    truth: DataFrame,
    columns: Mapping[str, DataFrame],
) -> DataFrame:
    """A row for each user of the truth, by one grouping of all rows.

    Lists of numbers are collected, not of pairs: those cost Spark twice the time.

    Parameters
    ----------
    history
        Columns user, item and optionally value, each pair once: what models know of users.
    known
        Columns user, item, of further pairs that lists leave out; None: there are none.
    truth
        Columns user, item, value.
    columns
        Further columns by name, from frames whose first column is the user and whose second is
        the value, each user once.

    Returns
    -------
    DataFrame
        Columns user, what `unpacked` takes, size, the number of rows of the history, and the
        further ones, null where a user has none.
    """
    weighed = F.col("value") if "value" in history.columns else None
    rows = _coded(history, _HISTORY, weighed).unionByName(_coded(truth, _TRUTH, F.col("value")))
    if known is not None:
        rows = rows.unionByName(_coded(known, _KNOWN, None))
    kind = F.col("code") % _KINDS
    grouped = rows.groupBy("user").agg(
        F.collect_list("code").alias(_CODES),
        F.collect_list("value").alias(_VALUES),
        F.count_if(kind == _HISTORY).alias("size"),
        F.count_if(kind == _TRUTH).alias("held_out"),
    )
    found = grouped.where("held_out > 0").drop("held_out")
    for name, frame in columns.items():
        found = found.join(frame.toDF("user", name), "user", "left")
    return found


def _coded(rows: DataFrame, kind: int, value: Column | None) -> DataFrame:
    """Columns user, code and value; where the kind has values, a value for every row."""
    given = F.lit(None) if value is None else F.coalesce(value, F.lit(np.nan))
    code = F.col("item").cast("bigint") * _KINDS + kind
    return rows.select(
        F.col("user").cast("int"), code.alias("code"), given.cast("double").alias("value")
    )


def unpacked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of the rows of `gather_users`, by lists of each kind.

    Columns history, known and truth (list<int32>), seen, which is history and known, values
    (list<double>, parallel to truth), history_weights (parallel to history, if there are any), and
    what the batch has beside them.
    """
    bounds, codes = list_parts(batch.column(_CODES), np.int64)
    rows = np.repeat(np.arange(batch.num_rows), np.diff(bounds))
    kinds, items = codes % _KINDS, (codes // _KINDS).astype(np.int32)
    values = list_parts(batch.column(_VALUES), np.float64)[1]
    weighed = len(values) > (kinds == _TRUTH).sum()
    has_value = (kinds == _TRUTH) | (weighed & (kinds == _HISTORY))
    of, valued = rows[has_value], kinds[has_value]
    masks = {name: kinds == kind for kind, name in enumerate(UNPACKED)}
    masks["seen"] = kinds != _TRUTH
    found = {name: _lists(rows, own, items, batch.num_rows) for name, own in masks.items()}
    found["values"] = _lists(of, valued == _TRUTH, values, batch.num_rows)
    if weighed:
        found[WEIGHTS] = _lists(of, valued == _HISTORY, values, batch.num_rows)
    others = [name for name in batch.schema.names if name not in PACKED]
    return pa.RecordBatch.from_pydict({name: batch.column(name) for name in others} | found)


def _lists(rows: Whole, inside: Mask, content: npt.NDArray[Any], users: int) -> pa.ListArray:
    """Content chosen by a mask, of ascending rows, as a list for each user."""
    bounds = np.searchsorted(rows[inside], np.arange(users + 1))
    return list_array(bounds, pa.array(content[inside]))
