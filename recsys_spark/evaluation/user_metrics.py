"""The table of users' metrics: packed where users are ranked, a binary value a user."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from recsys_spark.als.packed_interactions import Batches
from recsys_spark.arrow import arrow_schema, binary_array, binary_matrix, make_batch
from recsys_spark.evaluation.model_metrics import ALL_METRICS, BY_CUTOFF, Metrics, Values
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS
from recsys_spark.schema import per_user
from recsys_spark.workers import TaskRows

USER_METRICS = "metrics"


def pack_metrics(found: Metrics, models: Sequence[str], k: Sequence[int]) -> pa.BinaryArray:
    """Those of the whole truth of some models, a value a user, to be read by `metrics_of_users`."""
    users = len(next(iter(found.values()))[0].users)
    packed = np.full((users, len(models), _width(k)), np.nan)
    for at, name in enumerate(models):
        for rows in (own for own in found[name] if own.segment == ALL):
            names = RANK_METRICS if rows.k is None else BY_CUTOFF
            values = rows.of(names).reshape(int(rows.users.sum()), -1)
            part = slice(-len(RANK_METRICS), None) if rows.k is None else slice(-len(RANK_METRICS))
            packed[rows.users, at, part] = values
    return binary_array(packed.reshape(-1, 1), np.arange(users + 1) * (packed.size // users))


def _width(k: Sequence[int]) -> int:
    """Numbers of a user and model."""
    return len(k) * len(BY_CUTOFF) + len(RANK_METRICS)


def metrics_of_users(
    users: DataFrame, models: Sequence[str], k: Sequence[int], split: str
) -> TaskRows:
    """All metrics of every user and model (docs/metrics.md), each null where it is not defined.

    Parameters
    ----------
    users
        Columns user_id, and USER_METRICS from `pack_metrics`.
    models, k
        Those that were packed.
    split
        What the truth is called.

    Returns
    -------
    TaskRows
        The columns of `schema.per_user`: a row a user, model and cut-off; and a row without cut-off
        with the metrics of the full ranking, where there is one.
    """
    schema = per_user(users.schema["user_id"].dataType, ALL_METRICS)
    unpack = _unpack(tuple(models), tuple(k), split, schema)
    return TaskRows(users.select("user_id", USER_METRICS), unpack, schema)


def _unpack(
    models: tuple[str, ...], k: tuple[int, ...], split: str, schema: StructType
) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    target = arrow_schema(schema)

    def unpack(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in filter(len, batches):
            width = len(models) * _width(k)
            content = binary_matrix(batch.column(USER_METRICS), np.float64, width)
            values = content.reshape(len(batch), len(models), _width(k))
            for at, name in enumerate(models):
                named = {"model": name, "split": split, "segment": ALL}
                for columns in _tables(batch.column("user_id"), values[:, at], k):
                    size = len(columns["user_id"])
                    constants = {key: pa.repeat(value, size) for key, value in named.items()}
                    empty = dict.fromkeys(ALL_METRICS, pa.nulls(size, pa.float64()))
                    yield make_batch(target, empty | constants | columns)

    return unpack


def _tables(ids: pa.Array, values: Values, k: tuple[int, ...]) -> Iterator[dict[str, pa.Array]]:
    """Columns of the rows with cut-offs of a model, and of those without, if there are any."""
    by_cutoff = values[:, : -len(RANK_METRICS)].reshape(len(ids) * len(k), -1)
    users = pa.array(np.repeat(np.arange(len(ids)), len(k)))
    own = {"user_id": ids.take(users), "k": pa.array(np.tile(k, len(ids)))}
    yield own | _columns(BY_CUTOFF, by_cutoff)
    rank_metrics = values[:, -len(RANK_METRICS) :]
    ranked = ~np.isnan(rank_metrics).all(axis=1)
    if ranked.any():
        own = {"user_id": ids.filter(pa.array(ranked)), "k": pa.nulls(int(ranked.sum()))}
        yield own | _columns(RANK_METRICS, rank_metrics[ranked])


def _columns(names: Sequence[str], values: Values) -> dict[str, pa.Array]:
    return {name: pa.array(values[:, at], from_pandas=True) for at, name in enumerate(names)}
