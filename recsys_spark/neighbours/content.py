"""Similar items by their terms, also of items without interactions."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys_spark.neighbours.fit import INTERACTIONS_BUDGET, nearest_rows
from recsys_spark.neighbours.formulas import Worded
from recsys_spark.neighbours.spec import ContentKnn
from recsys_spark.schema import require


def content_matrix(
    texts: DataFrame, spec: ContentKnn, budget_bytes: int = INTERACTIONS_BUDGET
) -> DataFrame:
    """The nearest items of each item by the cosine of TF-IDF.

    Parameters
    ----------
    texts
        Columns item int, terms array<string>, a row an item; a term may occur more than once.
        Items without terms, null or empty, count as documents and have no neighbours.
    spec
        The model.
    budget_bytes
        As of `fit.fit_items`, with 24 bytes for each distinct term of each item.

    Returns
    -------
    Columns item int, neighbours array<int> in ascending order, weights array<float>.
    """
    require(texts, ["item", "terms"], "texts")
    terms = texts.select("item", F.explode("terms").alias("term")).where("term is not null")
    counts = terms.groupBy("item", "term").agg(F.count("*").cast("double").alias("value"))
    # One task sorts the vocabulary: numbers in the order of terms are the same in every run.
    number = F.row_number().over(Window.orderBy("term")).alias("middle")
    numbered = counts.join(counts.select("term").distinct().select("term", number), "term")
    entries = numbered.select(F.col("item").alias("row"), "middle", "value")
    rows = nearest_rows(entries, Worded(spec, texts.count()), budget_bytes)
    return rows.withColumnRenamed("row", "item")
