"""What evaluating starts from: every table that it reads, once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.config import Config
from recsys_spark.evaluation.segments import by_popularity
from recsys_spark.io.side_tables import read_user_attributes
from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.pipeline.context import Workspace
from recsys_spark.pipeline.fitted_tables import FittedTables
from recsys_spark.pipeline.genres import item_genres
from recsys_spark.topn.catalog import Catalog

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EvaluationInputs:
    """Tables, and what is known of them before anything is ranked.

    fitted: the models, with factors of users held out whole. folded: the rows of these users;
    None: there are none. known: columns user, item, what users have interacted with beside their
    history. truth: the held-out rows, columns user, item, value. user_ids, item_ids: the
    dictionaries. items: titles and genres. negatives: those of a predefined split. catalog: the
    items of the training rows, named by index; model_catalog: the same with the factors of the
    weighted ALS. counts: (items,) training rows of each. n: length of the lists. median: of the
    rows of evaluated users who are not cold.
    """

    config: Config
    work: Workspace
    run_id: str
    fitted: FittedTables
    folded: DataFrame | None
    known: DataFrame | None
    truth: DataFrame
    user_ids: DataFrame
    item_ids: DataFrame
    items: DataFrame | None
    negatives: DataFrame | None
    catalog: Catalog
    model_catalog: Catalog
    counts: Whole
    n: int
    median: float

    @property
    def spec(self) -> WalsSpec:
        """The objective of the weighted ALS."""
        return self.fitted.spec

    @property
    def train(self) -> DataFrame:
        """The rows that every model learns from."""
        return self.fitted.rows

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
        table = pa.table({"item": self.catalog.index, "rows": self.counts})
        return self.work.spark.createDataFrame(table)

    @cached_property
    def popularity_part(self) -> Whole:
        """(items,), in which of `BY_POPULARITY` each is."""
        return by_popularity(self.counts)

    @cached_property
    def attributes(self) -> DataFrame | None:
        """Columns user_id and those of evaluate.users, as text; None: there is no such file."""
        section = self.config.evaluate.users
        return None if section.path is None else read_user_attributes(self.work.spark, section)

    @cached_property
    def genres(self) -> pa.Table | None:
        """Columns item and genres, each once; None where items have none."""
        found = item_genres(self.config.items, self.items, self.item_ids)
        if found is None:
            return None
        return found.select("item", F.array_distinct("genres").alias("genres")).toArrow()
