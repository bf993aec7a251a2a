"""The one pass over users: lists of all models, their metrics, and what these add up to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DoubleType,
    IntegerType,
    StructField,
    StructType,
)

from recsys_spark.als.packed_interactions import Batches
from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.evaluation.model_exposure import (
    LISTS_TOTAL,
    PATTERNS_TOTAL,
    Listed,
    finish_lists,
    finish_patterns,
    total_lists,
    total_patterns,
)
from recsys_spark.evaluation.model_lists import LISTS, Ranking, first_items, rank_batch
from recsys_spark.evaluation.model_means import (
    METRICS_TOTAL,
    PAIRS_TOTAL,
    Means,
    finish_means,
    finish_pairs,
    total_metrics,
)
from recsys_spark.evaluation.model_metrics import Measures, measure_batch
from recsys_spark.evaluation.totals import TOTAL, TOTAL_FIELD, Adding, Ranked, Totals, finish_totals
from recsys_spark.evaluation.user_metrics import USER_METRICS, metrics_of_users, pack_metrics
from recsys_spark.evaluation.user_rows import PACKED, unpacked
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.topn.blocks import factor_column, nearest_columns, segment_columns
from recsys_spark.workers import TaskRows, map_in_arrow


@dataclass(frozen=True)
class Wanted:
    """What is wanted of the pass.

    ranking: how lists are made. measures: of them. means: of these metrics over users. listed:
    whose lists are counted by item. shown: the cut-off at which lists are compared with one
    another. items: so many of every list stay in the rows. kept: models whose users' metrics stay
    in the rows. left_out: whether what lists leave out stays in the rows.
    """

    ranking: Ranking
    measures: Measures
    means: Means
    listed: Listed
    shown: int
    items: int
    kept: tuple[str, ...] = ()
    left_out: bool = False

    @property
    def totals(self) -> list[Totals]:
        """What tasks add up over their users."""
        models = len(self.measures.models)
        return [
            total_metrics(self.means),
            total_lists(self.listed),
            total_patterns(models, self.shown),
        ]


def pass_over_users(rows: DataFrame, wanted: Wanted) -> DataFrame:
    """Rank every user's items by all models, each score computed once, and measure the lists.

    Parameters
    ----------
    rows
        From `gather_users`, with columns user_id and segments (array<string>), which the user is in
        beside that of all; for each model that a scorer needs, the user factors,
        `topn.blocks.factor_column`, unless they are drawn. Others stay as they are.
    wanted
        Sent to every worker.

    Returns
    -------
    DataFrame
        Without factors, but with columns truth and values, see `user_rows.unpacked`; lists,
        array<array<int>>: for each model, in their order, internal ids of its first items, best
        first; and metrics, which `users_metrics` reads. With `left_out` also history and known. And
        with a column total, null for users, and rows of totals: see `users_of` and `finish`.
    """
    taken = [factor_column(name) for name in wanted.ranking.ranks]
    taken += [*PACKED, *nearest_columns(rows.columns), *segment_columns(rows.columns)]
    left_out = ("history", "known") if wanted.left_out else ()
    schema = StructType(
        [
            *(  # null in the rows of totals
                StructField(column.name, column.dataType)
                for column in rows.schema.fields
                if column.name not in taken
            ),
            *(StructField(name, ArrayType(IntegerType())) for name in (*left_out, "truth")),
            StructField("values", ArrayType(DoubleType())),
            StructField(LISTS, ArrayType(ArrayType(IntegerType()))),
            StructField(USER_METRICS, BinaryType()),
            TOTAL_FIELD,
        ]
    )
    broadcast = rows.sparkSession.sparkContext.broadcast(wanted)
    hashed = rows.withColumn("hash", F.xxhash64("user_id"))
    return map_in_arrow(hashed, _pass(broadcast, schema), schema)


def _pass(
    broadcast: "Broadcast[Wanted]", schema: StructType
) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    target = arrow_schema(schema)

    def pass_over(batches: Batches) -> Iterator[pa.RecordBatch]:
        wanted = broadcast.value
        adding = Adding(wanted.totals)
        with single_threaded():
            for ranked in _ranked(batches, wanted):
                adding.add(ranked)
                yield make_batch(target, _kept(ranked, wanted, target.names))
            rows = adding.rows(target.field(TOTAL).type)
        nothing = {name: pa.nulls(len(rows)) for name in target.names}
        yield make_batch(target, nothing | {TOTAL: rows})

    return pass_over


def _ranked(batches: Batches, wanted: Wanted) -> Iterator[Ranked]:
    """The users, as many at once as the weights of their resamples allow."""
    for batch in batches:
        for first in range(0, len(batch), wanted.means.users_at_once):
            users = unpacked(batch.slice(first, wanted.means.users_at_once))
            for name, column in rank_batch(users, wanted.ranking).items():
                users = users.append_column(name, column)
            yield Ranked(users, measure_batch(users, wanted.measures))


def _kept(ranked: Ranked, wanted: Wanted, names: list[str]) -> dict[str, pa.Array]:
    """The columns of the rows that stay."""
    batch = ranked.batch
    return {name: batch.column(name) for name in names if name in batch.schema.names} | {
        LISTS: first_items(batch.column(LISTS), wanted.items),
        USER_METRICS: pack_metrics(ranked.metrics, wanted.kept, wanted.measures.k),
        TOTAL: pa.nulls(len(batch)),
    }


def users_of(passed: DataFrame) -> DataFrame:
    """The rows of users, without the totals."""
    return passed.where(F.col(TOTAL).isNull()).drop(TOTAL)


def users_metrics(users: DataFrame, wanted: Wanted) -> TaskRows:
    """The table of users' metrics, of the models that are kept: see `metrics_of_users`."""
    return metrics_of_users(users, wanted.kept, wanted.measures.k, wanted.measures.split)


def finish(passed: DataFrame, wanted: Wanted, run_id: str) -> dict[str, pa.Table]:
    """What the totals of all tasks add up to; one job.

    Returns
    -------
    dict
        METRICS_TOTAL: rows of the table of metrics, of run_id. LISTS_TOTAL: for
        `exposure_of_models`. PATTERNS_TOTAL: for `count_patterns`. PAIRS_TOTAL, where models are
        compared: a row for each other model.
    """
    split, paired = wanted.measures.split, wanted.means.paired
    results = {
        METRICS_TOTAL: finish_means(run_id, split),
        LISTS_TOTAL: finish_lists(wanted.listed),
        PATTERNS_TOTAL: finish_patterns(),
    }
    if paired is not None:
        results[PAIRS_TOTAL] = finish_pairs(paired, split)
    return finish_totals(passed, results)
