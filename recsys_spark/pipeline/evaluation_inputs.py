"""What evaluating starts from: every table that it reads, once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.evaluation.segments import activity
from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.pipeline.context import Run
from recsys_spark.pipeline.genres import item_genres
from recsys_spark.pipeline.train import trained_spec
from recsys_spark.pipeline.validation import relevant_rows
from recsys_spark.topn.catalog import Catalogue
from recsys_spark.topn.recommend import read_catalogue

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EvaluationInputs:
    """Tables, and what is known of them before anything is ranked.

    run: what is written, kept and said goes through it. spec: of the trained model. train: the
    rows that every model learns from. folded: rows to fold in, of users held out whole; None: there
    are none. known: columns user, item, what users are known to have beside their history. truth:
    the held-out rows, columns user, item, value. user_ids, item_ids: the dictionaries. items:
    titles and genres. negatives: those of a given split. catalogue: the items of the training rows,
    named by index. counts: (items,) training rows of each. n: length of the lists. median: of the
    rows of evaluated users who are not cold.
    """

    run: Run
    spec: WalsSpec
    train: DataFrame
    folded: DataFrame | None
    known: DataFrame | None
    truth: DataFrame
    user_ids: DataFrame
    item_ids: DataFrame
    items: DataFrame | None
    negatives: DataFrame | None
    catalogue: Catalogue
    counts: Whole
    n: int
    median: float

    @property
    def history(self) -> DataFrame:
        """Columns user, item, value: the training rows, and those to fold in."""
        rows = self.train.select("user", "item", "value")
        return rows if self.folded is None else rows.unionByName(self.folded.select(rows.columns))

    @property
    def users(self) -> DataFrame:
        """Column user: those that get lists."""
        return self.truth.select("user").distinct()

    @property
    def item_counts(self) -> DataFrame:
        """Columns item and rows of the training rows."""
        table = pa.table({"item": self.catalogue.index, "rows": self.counts})
        return self.run.spark.createDataFrame(table)

    @cached_property
    def genres(self) -> pa.Table | None:
        """Columns item and genres, each once; None where items have none."""
        found = item_genres(self.run.config.items, self.items, self.item_ids)
        if found is None:
            return None
        return found.select("item", F.array_distinct("genres").alias("genres")).toArrow()


def read_inputs(run: Run) -> EvaluationInputs:
    """Read everything. Raises ContractError if no held-out row is relevant."""
    config = run.config.evaluate
    truth, train, folded = relevant_rows(run, config.split), run.read("train"), run.find("fold_in")
    users, median = activity(train, truth, folded, config.cold_below)
    item_ids = run.read("item_ids")
    catalogue = read_catalogue(train, item_ids, "index", users=users)
    is_test = config.split == "test"  # for which the validation rows are known by then
    return EvaluationInputs(
        run,
        trained_spec(run),
        train,
        folded,
        run.read("validation").select("user", "item") if is_test else None,
        truth,
        run.read("user_ids"),
        item_ids,
        run.find("items"),
        run.find("negatives"),
        catalogue,
        np.rint(catalogue.popularity * users).astype(np.int64),
        max(config.k),
        median,
    )
