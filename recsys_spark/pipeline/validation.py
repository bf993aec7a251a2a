"""How well factors rank the validation rows, while training or tuning."""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.factors import factors_frame
from recsys_spark.als.trainer import Factorization
from recsys_spark.errors import ContractError
from recsys_spark.evaluation import measure_ranking, summarise
from recsys_spark.pipeline.context import Workspace
from recsys_spark.schema import FACTORS
from recsys_spark.topn.catalog import with_factors
from recsys_spark.topn.recommend import make_lists, read_catalog, with_seen
from recsys_spark.topn.request import ByFactors, ByScorers, Request


@dataclass(frozen=True)
class ValidationTables:
    """What validation starts from.

    train: the rows that models learn from. rows: those that are held out. count: how many. least:
    the smallest value of a relevant row; None: all are. user_ids, item_ids: the dictionaries.
    """

    train: DataFrame
    rows: DataFrame
    count: int
    least: float | None
    user_ids: DataFrame
    item_ids: DataFrame


class Validation:
    """The validation users and the catalog, prepared once and ranked for again and again.

    Raises ContractError if no validation row is relevant.
    most_users: of which so many are chosen, by a hash of their index, always the same.
    """

    def __init__(
        self, tables: ValidationTables, work: Workspace, most_users: int | None = None
    ) -> None:
        self._spark, keep = work.spark, work.keep
        self.truth = keep(_truth(tables, most_users), "validation/truth")
        users = self.truth.select("user_id", "user").distinct()
        known = tables.train.join(users.select("user"), "user", "left_semi")
        self.history = keep(known.select("user", "item", "value"), "validation/history")
        self.users = keep(with_seen(users, self.history), "validation/users")
        self.catalog = read_catalog(tables.train, tables.item_ids, "index")

    def metric(self, state: Factorization, metric: str, k: int) -> float:
        """A ranking metric of the users' lists, their training rows left out."""
        users, items = self.factors(state)
        catalog = with_factors(self.catalog, items)
        return self._mean(Request(self.users, catalog, k, ranked_by=ByFactors(users)), metric)

    def metric_of(self, ranked: ByScorers, metric: str, k: int) -> float:
        """The same of lists that scorers rank."""
        return self._mean(Request(self.users, self.catalog, k, ranked_by=ranked), metric)

    def factors(self, state: Factorization) -> tuple[DataFrame, DataFrame]:
        """Columns id, factors, of both sides."""
        restored, kind = state.restored(), FACTORS["id"].dataType
        users, items = (
            factors_frame(self._spark, side, kind).toDF("id", "factors")
            for side in (restored.user, restored.item)
        )
        return users, items

    def _mean(self, request: Request, metric: str) -> float:
        measured = measure_ranking(make_lists(request).every(), self.truth, [request.n])
        rows = summarise(measured, "", resamples=0)
        row = rows.where(F.col("metric") == metric).first()
        return float(row["value"]) if row else 0.0


def relevant_rows(rows: DataFrame, count: int, split: str, least: float | None) -> DataFrame:
    """The held-out rows that count as hits; raises ContractError if there are none.

    count: of the rows. split: what they are called. least: the smallest value of a relevant row;
    None: all are.
    """
    relevant = rows if least is None else rows.where(F.col("value") >= least)
    if not count or (least is not None and relevant.isEmpty()):
        raise ContractError(
            f"There are no relevant {split} rows to evaluate; look at split.{split}_fraction and "
            "evaluate.min_relevant_value."
        )
    return relevant


def _truth(tables: ValidationTables, most_users: int | None) -> DataFrame:
    rows = relevant_rows(tables.rows, tables.count, "validation", tables.least)
    if most_users is not None:
        every = rows.select("user").distinct()
        chosen = every.orderBy(F.xxhash64("user"), "user").limit(most_users)
        rows = rows.join(chosen, "user", "left_semi")
    named = rows.join(tables.user_ids.toDF("user_id", "user"), "user")
    return named.select("user_id", "user", F.col("item").alias("item_id"))
