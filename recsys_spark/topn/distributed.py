"""Distributed exact top-N: users in partitions, the catalog broadcast, no cross join."""

from collections.abc import Callable

from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StringType, StructField, StructType

from recsys_spark.als.packed_interactions import Batches
from recsys_spark.arrow import arrow_schema, make_batch
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.schema import recommendation_list
from recsys_spark.topn.blocks import block_columns
from recsys_spark.topn.catalog import MODEL, Listing, Tally
from recsys_spark.topn.list_builder import EXTRAS, Lister, basis_of
from recsys_spark.workers import TaskRows


def recommend_top_n(
    users: DataFrame, key: str, listing: Listing, tally: Tally | None = None
) -> TaskRows:
    """A list for each row of `users`: columns `key`, recommendations, source.

    users: column `key`, factors array<float> (null: not known to the model), seen array<long>
    (internal ids left out; null: none), and optionally source, what the list of these factors is
    called (by default, model), and segment (null: none). Scores of filled items are shares of
    users; the model's are its predictions. Rows keep their order and partitions. A column ranked,
    in place of factors, has entries of lists that are in it with positions in the catalog.

    interacted array<long> and interacted_at array<timestamp>, if there: items of the user and the
    times of the last interactions, which entries are marked with. known array<long>, a and b
    array<float>, if the listing has an explainer: what users have, and its weights. members
    array<id>, if there: the users of a group in the order of their factors, whose scores entries
    have. With scorers, in place of factors, what `blocks.read_block` takes.
    """
    optional = {"source": F.lit(MODEL), "segment": F.lit(None).cast("string")}
    missing = {name: value for name, value in optional.items() if name not in users.columns}
    extras = [name for name in EXTRAS if name in users.columns]
    basis = [] if listing.scorers else [basis_of(users.columns)]
    basis += block_columns(listing.ranks, users.columns)
    rows = users.withColumns(missing).select(key, *basis, "seen", *optional, *extras)
    marked, explained = "interacted" in users.columns, listing.reasons > 0
    members = users.schema["members"].dataType if "members" in users.columns else None
    ids = members.elementType if isinstance(members, ArrayType) else None
    lists = recommendation_list(listing.catalog.item_type, marked, explained, members=ids)
    schema = StructType(
        [
            StructField(key, users.schema[key].dataType),
            StructField("recommendations", lists),
            StructField("source", StringType()),
        ]
    )
    broadcast = users.sparkSession.sparkContext.broadcast(listing)
    return TaskRows(rows, _recommend(key, broadcast, tally, schema), schema)


def _recommend(
    key: str, broadcast: "Broadcast[Listing]", tally: Tally | None, schema: StructType
) -> Callable[[Batches], Batches]:
    target = arrow_schema(schema)

    def recommend(batches: Batches) -> Batches:
        with single_threaded():
            lister = Lister(broadcast.value, tally)
            for batch in batches:
                if batch.num_rows:
                    lists, source = lister.lists(batch)
                    columns = {key: batch.column(key), "recommendations": lists, "source": source}
                    yield make_batch(target, columns)

    return recommend
