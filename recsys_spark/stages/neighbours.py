"""Neighbourhood recommenders, by similar items or by similar users, as distributed products.

Similarities are a product of the interactions with themselves, of which each row keeps its
nearest; scores are a product of histories with similar items, or of similar users with their
histories. Rows are dealt out to blocks, and each block is sent what it needs of the other factor.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, StructField, StructType
from scipy import sparse

from recsys_spark.arrow import arrow_schema, list_array, make_batch
from recsys_spark.config import Neighbours
from recsys_spark.kernels.neighbours import Scale, Similarity, top_of_product
from recsys_spark.kernels.spec import other_side
from recsys_spark.schema import recommendation_list
from recsys_spark.workers import cogroup_in_arrow

_K1, _B = 1.2, 0.75  # as in BM25Recommender of implicit
_ROWS_A_BLOCK = 2_000
_LISTS = StructType(
    [
        StructField("row", IntegerType()),
        StructField("recommendations", recommendation_list(IntegerType())),
    ]
)
_Whole = npt.NDArray[np.int64]


def recommend_by_neighbours(
    users: DataFrame,
    history: DataFrame,
    seen: DataFrame,
    side: str,
    config: Neighbours,
    n: int,
) -> DataFrame:
    """Columns user_id, recommendations: what is like a user's items, or what like users have.

    users: columns user_id, user. history: columns user, item, no pair twice. seen: columns user,
    item, left out. side: item or user, whose `config.neighbours` nearest count. An item scores the
    sum of its similarities to the user's items, or of those of its users to the user. Lists name
    items by index; equal scores are in the order of it.
    """
    wanted = users.select("user").distinct()
    weighed = _weighed(history, config)
    own = weighed if side == "item" else weighed.join(wanted, "user", "left_semi")
    similar = _similar(own, weighed, side, config)
    mine = history.join(wanted, "user", "left_semi")
    if side == "item":
        left = _entries(mine, row="user", middle="item")
        right = _entries(similar, "weight", middle="one", column="other")
    else:
        left = _entries(similar, "weight", row="one", middle="other")
        right = _entries(history, middle="user", column="item")
    left_out = seen.join(wanted, "user", "left_semi").selectExpr("user row", "item column")
    lists = _top_of_product(left, right, left_out, n)
    named = users.join(lists.withColumnRenamed("row", "user"), "user", "left")
    none = F.array().cast(_LISTS["recommendations"].dataType)
    return named.select("user_id", F.coalesce("recommendations", none).alias("recommendations"))


def multiplications(users: DataFrame, history: DataFrame, side: str) -> int:
    """How many the similarities take, the part that grows fastest."""
    counts = history.groupBy(other_side(side)).agg(F.count("*").alias("rows"))
    own = history if side == "item" else history.join(users.select("user"), "user", "left_semi")
    total = own.join(counts, other_side(side)).agg(F.sum("rows").alias("rows")).first()
    return int(total["rows"] or 0) if total else 0


def _entries(frame: DataFrame, weight: str | None = None, **names: str) -> DataFrame:
    """Columns of a sparse matrix by their new names, and weight, by default 1."""
    columns = [F.col(old).alias(new) for new, old in names.items()]
    value = F.col(weight) if weight else F.lit(1.0)
    return frame.select(*columns, value.alias("weight"))


def _weighed(history: DataFrame, config: Neighbours) -> DataFrame:
    """Columns user, item, weight: 1, or the weight of BM25 with items as documents."""
    if config.similarity != "bm25":
        return _entries(history, user="user", item="item")
    items = history.groupBy("item").agg(F.count("*").alias("length"))
    users = history.groupBy("user").agg(F.count("*").alias("frequency"))
    row = items.agg(F.count("*").alias("items"), F.avg("length").alias("mean")).first()
    assert row is not None
    norm = 1 - _B + _B * F.col("length") / (row["mean"] or 1.0)
    rarity = F.log(F.lit(float(row["items"]))) - F.log1p("frequency")
    weight = (_K1 + 1) / (_K1 * norm + 1) * rarity
    return (
        history.join(items, "item")
        .join(users, "user")
        .select("user", "item", weight.alias("weight"))
    )


def _similar(own: DataFrame, every: DataFrame, side: str, config: Neighbours) -> DataFrame:
    """Columns one, other, weight: the nearest others of each `side` in own, among all of every."""
    near = _nearest(own, every, side, config)
    return near.select("row", F.inline("recommendations")).selectExpr(
        "row one", "item_id other", "cast(score as double) weight"
    )


def _nearest(own: DataFrame, every: DataFrame, side: str, config: Neighbours) -> DataFrame:
    """Columns row, recommendations: the same as lists."""
    left = _entries(own, "weight", row=side, middle=other_side(side))
    right = _entries(every, "weight", middle=other_side(side), column=side)
    itself = left.select("row").distinct().selectExpr("row", "row column")
    kind: Similarity = "dot" if config.similarity == "bm25" else config.similarity
    return _top_of_product(left, right, itself, config.neighbours, kind, config.shrinkage)


def _top_of_product(
    left: DataFrame,
    right: DataFrame,
    left_out: DataFrame,
    n: int,
    similarity: Similarity = "dot",
    shrinkage: float = 0.0,
) -> DataFrame:
    """Columns row, recommendations: the n largest entries of each row of a product, scaled.

    left: columns row, middle, weight. right: columns middle, column, weight. left_out: columns
    row, column.
    """
    rows = left.groupBy("row").agg(F.collect_list(F.struct("middle", "weight")).alias("entries"))
    skipped = left_out.groupBy("row").agg(F.collect_list("column").alias("left_out"))
    blocks = max(1, -(-rows.count() // _ROWS_A_BLOCK))
    dealt = rows.join(skipped, "row", "left").withColumn("block", _block("row", blocks))
    needed = left.select(_block("row", blocks).alias("block"), "middle").distinct()
    lengths = right.groupBy("column").agg(F.sum(F.col("weight") * F.col("weight")).alias("length"))
    measured = (
        right.join(lengths, "column")
        if similarity != "dot"
        else right.withColumn("length", F.lit(1.0))
    )
    entry = F.struct("column", "weight", "length")
    lists = measured.groupBy("middle").agg(F.collect_list(entry).alias("entries"))
    sent = needed.join(lists, "middle")
    multiply = _multiply(n, similarity, shrinkage)
    return cogroup_in_arrow(dealt, sent, "block", multiply, _LISTS)


def _block(row: str, blocks: int) -> Column:
    return F.pmod(F.xxhash64(row), F.lit(blocks))


def _multiply(
    n: int, similarity: Similarity, shrinkage: float
) -> Callable[[pa.Table, pa.Table], pa.Table]:
    target = arrow_schema(_LISTS)

    def multiply(dealt: pa.Table, sent: pa.Table) -> pa.Table:
        left, skipped, right, columns, lengths = _matrices(dealt, sent)
        own = np.asarray((left * left).sum(axis=1))
        scale = Scale(similarity, own, lengths, shrinkage)
        bounds, found, values = top_of_product(left, right, skipped, n, scale)
        ranks = np.arange(len(found)) - np.repeat(bounds[:-1], np.diff(bounds)) + 1
        entries = pa.StructArray.from_arrays(
            [pa.array(columns[found]), pa.array(values), pa.array(ranks)],
            names=["item_id", "score", "rank"],
        )
        lists = list_array(bounds, entries)
        content = {"row": dealt["row"], "recommendations": lists}
        return pa.Table.from_batches([make_batch(target, content)])

    return multiply


def _matrices(
    dealt: pa.Table, sent: pa.Table
) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array, _Whole, npt.NDArray[np.float64]]:
    """Both factors of a block and what is left out, over the middles and columns that it meets.

    The fourth holds the columns' ids, the fifth their squared lengths.
    """
    own, other = _flat(dealt["entries"]), _flat(sent["entries"])
    middles, columns = np.unique(sent["middle"].to_numpy()), np.unique(other["column"])
    of_sent = np.searchsorted(middles, sent["middle"].to_numpy())
    right = _matrix(
        of_sent[other["list"]], np.searchsorted(columns, other["column"]), other["weight"],
        (len(middles), len(columns)),
    )  # fmt: skip
    met = np.isin(own["middle"], middles)
    left = _matrix(
        own["list"][met], np.searchsorted(middles, own["middle"][met]), own["weight"][met],
        (len(dealt), len(middles)),
    )  # fmt: skip
    ids = dealt["left_out"].combine_chunks()
    rows = np.repeat(np.arange(len(dealt)), ids.value_lengths().fill_null(0).to_numpy())
    flat = ids.flatten().to_numpy()
    inside = np.isin(flat, columns)
    places = np.searchsorted(columns, flat[inside])
    skipped = _matrix(rows[inside], places, np.ones(len(places)), (len(dealt), len(columns)))
    lengths = np.zeros(len(columns))
    lengths[np.searchsorted(columns, other["column"])] = other["length"]
    return left, skipped, right, columns, lengths


def _flat(column: pa.ChunkedArray) -> dict[str, npt.NDArray[Any]]:
    """The fields of lists of structs, one after the other, and the list that each belongs to."""
    lists = column.combine_chunks()
    entries = lists.flatten()
    counts = lists.value_lengths().fill_null(0).to_numpy()
    fields = {field.name: entries.field(at).to_numpy() for at, field in enumerate(entries.type)}
    return fields | {"list": np.repeat(np.arange(len(lists)), counts)}


def _matrix(
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    shape: tuple[int, int],
) -> sparse.csr_array:
    matrix = sparse.coo_array((weights, (rows, columns)), shape=shape).tocsr()
    matrix.sort_indices()
    return matrix
